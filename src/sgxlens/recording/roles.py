# SPDX-License-Identifier: Apache-2.0
"""What each region is to an inference: weights, activations, scratch and so on.

What a region's kind does not tell is told by the phases after `constant` and `produced` regions
were found, and of those by the one that uses the region most: which operators read and write their
lines, and how that compares with the sizes that the framework gives. Those sizes are of the model's
tensors as they are in the model. What a framework makes of them at load time counts as what it was
made of: ONNX Runtime's pre-packed matrices, which its figures leave out, are padded to the kernel's
tile and its convolution filters are re-laid in blocks of channels (NCHWc), which pads the channels;
the original is then not read any more, and is not a weight of the inference. So sizes agree if
neither is more than twice the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sgxlens.recording.bitmaps import Integers
from sgxlens.recording.declared_results import declared_result_shares
from sgxlens.recording.format import REGION_ROLES
from sgxlens.recording.region_use import (
    FLOWS,
    LINE_BYTES,
    UNKNOWN,
    Columns,
    OperatorSizes,
    PhaseUse,
    RegionUse,
    measured_uses,
    texts,
)
from sgxlens.units import format_bytes

#: What is smaller and not vouched for by the framework may be any structure of the runtime.
_BEHAVIOUR_BYTES_MIN = 4096
#: Sizes agree within this factor: pre-packing pads, and extents are whole lines.
_AGREEMENT = 2
_OF_KIND = {"code": "code", "file": "file", "stack": "stack"}


class Role(NamedTuple):
    """A role of `REGION_ROLES`, and why; empty: by the region's kind alone."""

    role: str
    reason: str = ""


def assign_roles(
    regions: Columns,
    extents: Columns,
    contexts: Columns,
    page_use: Columns,
    operators: Columns | None = None,
) -> list[Role]:
    """The roles of the regions of one process, in the order of the table ``regions``.

    Args:
        regions: columns of the table of this name; ``role`` and ``reason`` are not read.
        extents: columns of the table of this name.
        contexts: columns of the table of this name, with the numbers of operators.
        page_use: columns of the table of this name.
        operators: columns of the table of this name; None: none are known.
    """
    table = OperatorSizes.of(operators)
    kinds, names = list(texts(regions["kind"])), list(texts(regions["name"]))
    phases = measured_uses(regions, extents, contexts, page_use, table)
    constants = [_constants_by_reader(phase, kinds) for phase in phases]
    code = {name for kind, name in zip(kinds, names, strict=True) if kind == "code"}
    results = declared_result_shares(kinds, names, extents)
    roles = []
    for index, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        if kind == "declared":
            roles.append(_declared(name))
            continue
        if not phases or kind not in _USED or (kind == "file" and name in code):
            roles.append(Role(_OF_KIND.get(kind, "unclassified")))
            continue
        # Memory that is allocated anew each time may be elsewhere in some of the inferences.
        uses = [phase.of(index) for phase in phases]
        most = max(range(len(uses)), key=lambda i: (uses[i].line_count, uses[i].written_count))
        if kind in ("produced", "scratch") and results[index] > 0.5:
            roles.append(Role("activations", "the program declares results there"))
        elif kind == "constant":
            roles.append(_constant(uses[most], table, constants[most]))
        else:
            roles.append(_BY_USE[kind](uses[most], table))
    return roles


def _declared(text: str) -> Role:
    role, colon, _ = text.partition(":")
    if colon and role in REGION_ROLES:
        return Role(role, "the program says so")
    return Role("unclassified", "the program names no role that there is")


def _constants_by_reader(phase: PhaseUse, kinds: list[str]) -> dict[int, int]:
    """For each operator the size of the constant regions of which it reads the most.

    Each span has regions of its own, and threads may cut an operator into several spans.
    """
    sizes: dict[int, int] = {}
    for index, kind in enumerate(kinds):
        if kind == "constant":
            use = phase.of(index)
            reader = _main(use, use.read_only)
            if reader is not None:
                sizes[reader] = sizes.get(reader, 0) + use.size_bytes
    return sizes


def _constant(use: RegionUse, operators: OperatorSizes, by_reader: dict[int, int]) -> Role:
    """Lines that were written before the inference, and that it only reads."""
    size = use.size_bytes
    if not size:
        return Role("unclassified", "not used in the inferences measured")
    if use.written_count * 2 > use.line_count:
        return Role("runtime", "constant in an inference before, but written in a later one")
    if not use.has_operators:
        if size < _BEHAVIOUR_BYTES_MIN:
            return Role("runtime", "written before the inference and only read in it, but small")
        return Role("weights", "written before the inference and only read in it; no operators")
    reader = _main(use, use.read_only)
    if reader is None:
        return Role("runtime", "read outside of operators")
    return _constant_of(reader, use, operators, by_reader[reader])


def _constant_of(reader: int, use: RegionUse, operators: OperatorSizes, total: int) -> Role:
    """Constant lines that an operator reads: by size its weights, its input, or neither.

    `total` is the size of all such lines that it reads.
    """
    size = use.size_bytes
    read = f"{operators.name[reader]} reads {format_bytes(total)}"
    parameters = int(operators.parameter_bytes[_readers(use)].max(initial=UNKNOWN))
    if parameters == UNKNOWN:
        if size < _BEHAVIOUR_BYTES_MIN:
            return Role("runtime", f"{read}, too small to be told from structures")
        return Role("weights", f"{read}; the size of its parameters is not known")
    told = f"its parameters have {format_bytes(parameters)}"
    inputs = use.constant_inputs(reader, operators)
    candidates = [("weights", parameters)]
    if inputs:
        told += f" and its inputs {format_bytes(inputs)}"
        # The model's input is read first by an operator that may read weights of its own, too.
        larger = "weights" if parameters >= inputs else "input"
        candidates += [("input", inputs), (larger, parameters + inputs)]
    role, likely = min(candidates, key=lambda candidate: _ratio(total, candidate[1]))
    if _ratio(total, likely) <= _AGREEMENT:
        return Role(role, f"{read}; {told}")
    if size < _BEHAVIOUR_BYTES_MIN:
        return Role("runtime", f"{read}; {told}")
    if total < parameters:
        return Role("weights", f"{read}, a part: {told}")
    if operators.may_pack[reader]:
        return Role("weights", f"{read}; {told} without those that the kernel packed")
    return Role("unclassified", f"{read}, but {told}")


def _produced(use: RegionUse, operators: OperatorSizes) -> Role:
    """Lines that the inference writes."""
    if not use.line_count:
        return Role("unclassified", "not used in the inferences measured")
    if not use.has_operators:
        return Role("unclassified", "written in the inference; no operators tell for what")
    if not use.flows.max(initial=0):
        return Role("unclassified", "written in the inference before, but not in the next")
    writer = _main(use, use.written)
    flow = FLOWS[int(np.argmax(use.flows))]
    if writer is None or flow in ("from_outside", "outside"):
        return _from_outside(use, operators)
    writes = f"{operators.name[writer]} writes {format_bytes(int(use.written.max()) * LINE_BYTES)}"
    output = int(operators.output_bytes[writer])
    if output != UNKNOWN:
        writes += f", its output has {format_bytes(output)}"
    if flow == "within_operators":
        return Role("scratch", f"{writes}; no other operator only reads it")
    if flow == "between_operators":
        reader = _main(use, use.read_only)
        by = "others read it" if reader is None else f"{operators.name[reader]} reads it"
        return Role("activations", f"{writes}; {by}")
    if _ratio(use.size_bytes, output) <= _AGREEMENT or (
        output == UNKNOWN and use.size_bytes >= _BEHAVIOUR_BYTES_MIN
    ):
        return Role("output", f"{writes}; it is only read outside of operators")
    return Role("runtime", f"{writes}; it is only read outside of operators")


def _from_outside(use: RegionUse, operators: OperatorSizes) -> Role:
    reader = _main(use, use.read_only)
    if reader is not None:
        inputs = int(operators.activation_bytes[reader])
        if _ratio(use.size_bytes, inputs) <= _AGREEMENT:
            name = operators.name[reader]
            return Role("input", f"written outside of operators, {name} reads it")
    return Role("runtime", "written outside of operators")


def _file(use: RegionUse, operators: OperatorSizes) -> Role:
    """Weights are read from their file where it is mapped, as with external data."""
    if use.size_bytes < _BEHAVIOUR_BYTES_MIN or use.written_count:
        return Role("file")
    if not use.has_operators:
        return Role("weights", "a mapped file read in the inference; no operators")
    inside = use.operator[use.operator >= 0]
    parameters = operators.parameter_bytes[inside]
    if not parameters.size:
        return Role("file")
    told = int(parameters[parameters != UNKNOWN].sum())
    if np.any(parameters == UNKNOWN) or use.size_bytes <= _AGREEMENT * told:
        return Role("weights", f"a mapped file of which operators read {_size_of(use)}")
    return Role("file", f"operators read {_size_of(use)}, their parameters have fewer")


def _main(use: RegionUse, lines: Integers) -> int | None:
    """The operator with the most of `lines`; None: none has any, or there are more outside."""
    if not lines.size or not lines.max():
        return None
    index = int(use.operator[int(np.argmax(lines))])
    return None if index < 0 else index


def _readers(use: RegionUse) -> Integers:
    """The operators that read at least half of a region."""
    return use.operator[(use.operator >= 0) & (use.read_only * 2 >= use.line_count)]


def _ratio(size: int, expected: int) -> float:
    """How many times as large the larger is; sizes that are not positive are unlike any."""
    if min(size, expected) <= 0:
        return float("inf")
    return max(size / expected, expected / size)


def _size_of(use: RegionUse) -> str:
    return format_bytes(use.size_bytes)


_BY_USE = {"produced": _produced, "scratch": _produced, "file": _file}
_USED = ("constant", *_BY_USE)
