# SPDX-License-Identifier: Apache-2.0
"""How the phases after regions were found use them: what their roles are told from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sgxlens.recording.bitmaps import Bitmaps, Integers, popcount, total_by, union
from sgxlens.recording.region_map import NO_REGION, RegionMap

Columns = Mapping[str, Any]

LINE_BYTES = 64
#: What an operator of ONNX Runtime reads and somebody writes beside tensors; measured: 4 to 10 KiB.
_STRUCTURES_BYTES = 16 << 10
_PRODUCTS = ("FusedGemm", "FusedMatMul", "Gemm", "MatMul")
#: Kernels of ONNX Runtime that pack parameters whose sizes do not follow from the shapes alone.
_PACKING = (
    "Attention",
    "ConvTranspose",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "GRU",
    "LSTM",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QAttention",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
)
_ITEM_BYTES = {"bfloat16": 2, "double": 8, "float": 4, "float16": 2}
#: A size that the framework does not tell.
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class OperatorSizes:
    """Columns of the operators; sizes in bytes, `UNKNOWN` where the framework tells none.

    ``parameter_bytes`` includes the matrices that ONNX Runtime has packed beforehand, as far as
    shapes tell; ``may_pack`` says whether there may be more, because the kernel packs parameters,
    which ONNX Runtime's figures then leave out.
    """

    number: Integers
    name: list[str]
    parameter_bytes: Integers
    activation_bytes: Integers
    output_bytes: Integers
    may_pack: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, columns: Columns | None) -> OperatorSizes:
        """Those of the table ``operators``."""
        if columns is None:
            nothing = np.zeros(0, dtype=np.int64)
            return cls(nothing, [], nothing, nothing, nothing, nothing.astype(bool))
        kinds = texts(columns["type"])
        packed = [
            packed_matrix_bytes(kind, inputs, outputs)
            for kind, inputs, outputs in zip(
                kinds, texts(columns["input_shapes"]), texts(columns["output_shapes"]), strict=True
            )
        ]
        told = integers(columns["parameter_bytes"])
        return cls(
            number=integers(columns["operator"]),
            name=[
                name or kind
                for name, kind in zip(texts(columns["name"]), texts(columns["type"]), strict=True)
            ],
            parameter_bytes=np.where(told == UNKNOWN, UNKNOWN, told + np.array(packed, dtype=int)),
            activation_bytes=integers(columns["activation_bytes"]),
            output_bytes=integers(columns["output_bytes"]),
            may_pack=np.array([kind in _PACKING for kind in kinds], dtype=bool),
        )


def packed_matrix_bytes(kind: str, input_shapes: str, output_shapes: str) -> int:
    """Size of the matrix that a matrix product multiplies with and that is not among its inputs.

    ONNX Runtime packs a constant one when it loads the model, and forgets the original: shapes and
    sizes in its profile are without it. It has as many rows as the input has columns, and as many
    columns as the output. 0 where there is no such matrix, or shapes do not tell.
    """
    if kind not in _PRODUCTS:
        return 0
    try:
        inputs, outputs = json.loads(input_shapes), json.loads(output_shapes)
        (item_type, first), *others = [next(iter(tensor.items())) for tensor in inputs]
        (_, output), *_ = [next(iter(tensor.items())) for tensor in outputs]
        if any(len(shape) > 1 for _, shape in others):
            return 0
        return int(first[-1]) * int(output[-1]) * _ITEM_BYTES.get(item_type, 4)
    except (ValueError, TypeError, AttributeError, LookupError, StopIteration):
        return 0


@dataclass(frozen=True, eq=False)
class RegionUse:
    """How one phase uses a region; ``operator`` and the arrays beside it have one length.

    Attributes:
        has_operators: whether the phase has any.
        line_count: distinct lines used.
        written_count: those of them written.
        operator: operators that use it, by their index; -1: between operators.
        read_only: lines that each of them reads and does not write.
        written: lines that each of them writes.
        flows: lines by who writes and who only reads them, as numbered by `FLOWS`.
        produced_read: of each operator there is, lines of any region that it reads and does not
            write, and that are written in the phase.
    """

    has_operators: bool
    line_count: int
    written_count: int
    operator: Integers
    read_only: Integers
    written: Integers
    flows: Integers
    produced_read: Integers

    @property
    def size_bytes(self) -> int:
        """Size of the lines used, in bytes."""
        return self.line_count * LINE_BYTES

    def constant_inputs(self, operator: int, operators: OperatorSizes) -> int:
        """Bytes of an operator's inputs where the inference does not produce them; 0: it does."""
        inputs = int(operators.activation_bytes[operator])
        # The runtime's own structures are read, too. An input that is added to is not only read.
        produced = int(self.produced_read[operator]) * LINE_BYTES - _STRUCTURES_BYTES
        return max(inputs, 0) if produced * 10 < inputs else 0


#: Lines by their use: written by an operator and only read by another; written by an operator and
#: only read outside of operators; written outside and only read by an operator; written by
#: operators and by nobody only read; written and read outside only.
FLOWS = ("between_operators", "to_outside", "from_outside", "within_operators", "outside")


class PhaseUse:
    """How one phase uses each region.

    Args:
        operator: index of the operator that uses some lines of a page; -1: between operators.
        region: the region of these lines.
        page: the page, in any numbering from 0.
        lines: the lines.
        written: those of them that are written.
        region_count: regions there are.
        operator_count: operators there are.
    """

    def __init__(
        self,
        *,
        operator: Integers,
        region: Integers,
        page: Integers,
        lines: Bitmaps,
        written: Bitmaps,
        region_count: int,
        operator_count: int,
    ) -> None:
        self._has_operators = bool(np.any(operator >= 0))
        self._region_count = region_count
        pages = int(page.max(initial=0)) + 1
        operators = int(operator.max(initial=-1)) + 2
        group = (region * operators + operator + 1) * pages + page
        key, lines, written = union(group, lines, written)
        pair = key // pages
        self._pairs, of_key = np.unique(pair, return_inverse=True)
        self._operators = operators
        read = lines & ~written
        count = self._pairs.size
        self._read = total_by(of_key, popcount(read), count)
        self._written = total_by(of_key, popcount(written), count)
        is_inside = pair % operators > 0
        block = (pair // operators) * pages + key % pages
        nothing = np.zeros_like(lines)
        merged = union(
            block,
            lines,
            np.where(is_inside, read, nothing),
            np.where(is_inside, nothing, read),
            np.where(is_inside, written, nothing),
            np.where(is_inside, nothing, written),
        )
        blocks, all_lines, read_inside, read_outside, written_inside, written_outside = merged
        self._of_block = blocks // pages
        from_inside, from_outside = written_inside, written_outside & ~written_inside
        flows = (
            from_inside & read_inside,
            from_inside & ~read_inside & read_outside,
            from_outside & read_inside,
            from_inside & ~read_inside & ~read_outside,
            from_outside & ~read_inside,
        )
        self._flows = np.stack([self._by_region(bitmap) for bitmap in flows])
        self._lines = self._by_region(all_lines)
        all_written = written_inside | written_outside
        self._all_written = self._by_region(all_written)
        of_reader = read & all_written[np.searchsorted(blocks, block)]
        self._produced_read = total_by(pair % operators, popcount(of_reader), operator_count + 1)[
            1:
        ]

    def _by_region(self, bitmap: Bitmaps) -> Integers:
        return total_by(self._of_block, popcount(bitmap), self._region_count)

    def of(self, region: int) -> RegionUse:
        """How it uses one region."""
        first, end = np.searchsorted(
            self._pairs, [region * self._operators, (region + 1) * self._operators]
        )
        return RegionUse(
            has_operators=self._has_operators,
            line_count=int(self._lines[region]),
            written_count=int(self._all_written[region]),
            operator=self._pairs[first:end] % self._operators - 1,
            read_only=self._read[first:end],
            written=self._written[first:end],
            flows=self._flows[:, region],
            produced_read=self._produced_read,
        )


def measured_uses(
    regions: Columns,
    extents: Columns,
    contexts: Columns,
    page_use: Columns,
    operators: OperatorSizes,
) -> list[PhaseUse]:
    """How the phases since regions were found use them; none if none were found.

    Those that have operators; if there is none, the first one.
    """
    kinds = np.array(list(texts(regions["kind"])), dtype=object)
    of_extent = integers(extents["region"])
    positions = integers(extents["start_position"])
    is_found = np.isin(
        of_extent, np.flatnonzero(np.isin(kinds, ("constant", "produced", "scratch")))
    )
    if not np.any(is_found):
        return []
    numbers, phases = integers(contexts["context"]), integers(contexts["phase"])
    is_later = integers(contexts["start_position"]) >= positions[is_found].min()
    place = {int(number): i for i, number in enumerate(operators.number)}
    operator_of = np.array(
        [place.get(int(n), UNKNOWN) for n in integers(contexts["operator"])], dtype=np.int64
    )
    measured = np.unique(phases[is_later & (operator_of != UNKNOWN)])
    if not measured.size:
        measured = np.unique(phases[is_later])[:1]
    # Context numbers are far below what an array may hold (2^17 at most).
    index = np.full(int(numbers.max()) + 1, UNKNOWN, dtype=np.int64)
    index[numbers] = np.arange(numbers.size)
    context = index[integers(page_use["context"])]
    rows = np.flatnonzero(is_later[context] & np.isin(phases[context], measured))
    context = context[rows]
    is_mapped = ~np.isin(of_extent, np.flatnonzero(kinds == "unmapped"))
    region_map = RegionMap(
        of_extent[is_mapped],
        _unsigned(extents["address"])[is_mapped],
        _unsigned(extents["size_bytes"])[is_mapped],
        positions[is_mapped],
    )
    pages = _unsigned(page_use["page"])[rows]
    last = np.maximum(integers(contexts["end_position"])[context], 1) - 1
    pieces = region_map.pieces(pages, last, _unsigned(page_use["lines"])[rows])
    lines = pieces.lines
    written = lines & _unsigned(page_use["written_lines"])[rows][pieces.row]
    page = np.unique(pages, return_inverse=True)[1][pieces.row]
    piece_context = context[pieces.row]
    is_used = pieces.region != NO_REGION
    result = []
    for phase in measured:
        chosen = is_used & (phases[piece_context] == phase)
        result.append(
            PhaseUse(
                operator=operator_of[piece_context[chosen]],
                region=pieces.region[chosen],
                page=page[chosen],
                lines=lines[chosen],
                written=written[chosen],
                region_count=kinds.size,
                operator_count=operators.number.size,
            )
        )
    return result


def integers(column: Any) -> Integers:
    """A column as integers, `UNKNOWN` where it is null."""
    if isinstance(column, np.ndarray):
        return column.astype(np.int64)
    array = _arrow(column)
    return np.asarray(array.cast(pa.int64()).fill_null(UNKNOWN).to_numpy(), dtype=np.int64)


def _unsigned(column: Any) -> npt.NDArray[np.uint64]:
    if isinstance(column, np.ndarray):
        return column.astype(np.uint64)
    return np.asarray(_arrow(column).cast(pa.uint64()).to_numpy(), dtype=np.uint64)


def texts(column: Any) -> list[str]:
    """A column as texts; null is empty."""
    return [text or "" for text in _arrow(column).to_pylist()]


def _arrow(column: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks()
    return column if isinstance(column, pa.Array) else pa.array(column)
