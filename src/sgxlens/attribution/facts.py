# SPDX-License-Identifier: Apache-2.0
"""What a recording holds of one phase, as arrays: what the other modules count from."""

from __future__ import annotations

import re
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sgxlens.attribution.columns import RunsByKey, codes, integers, rows_of, unsigned
from sgxlens.attribution.reuse_rows import Bins, Origins, ReusePart, ReuseRows
from sgxlens.attribution.uses import Contexts, LineUses, UsePieces, Uses
from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.bitmaps import (
    LINES_PER_PAGE,
    Bitmaps,
    Integers,
    popcount,
    union,
)
from sgxlens.recording.distinct import distinct_values
from sgxlens.recording.format import ACCESS_CLASSES, BLOCK_BYTES
from sgxlens.recording.phase_names import is_inference, is_warm_up
from sgxlens.recording.read_ahead import LARGEST
from sgxlens.recording.reader import Phase, Recording
from sgxlens.recording.region_map import NO_REGION, Pieces, RegionMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sgxlens.recording.reader import Operator, Region

#: Where the previous access to a block was made; each access is of exactly one of these.
#: ``same_operator``: in the same execution of an operator. ``earlier_operator``: in another
#: operator of the same phase. ``outside_operators``: in the same phase, in no operator. The next
#: four: in another phase, by its name (``warm-up...``, ``inference...``, ``load...``). ``cold``:
#: nowhere.
SOURCE_KINDS = (
    "same_operator",
    "earlier_operator",
    "outside_operators",
    "previous_inference",
    "warm_up",
    "load",
    "other_phase",
    "cold",
)
_COLD = SOURCE_KINDS.index("cold")
#: So many rows of ``reuse_sources`` that arrays of them stay in a processor's cache.
_PART_ROW_COUNT = 1 << 15
_PHASE_NAMES: tuple[tuple[Callable[[str], object], str], ...] = (
    (is_inference, "previous_inference"),
    (is_warm_up, "warm_up"),
    (re.compile(r"load", re.IGNORECASE).match, "load"),
)
#: Stands for "between operators" where operators are numbered.
NO_OPERATOR = -1
_TABLES = ("contexts", "reuse_sources", "page_use")
_CONTEXT_COLUMNS = (
    *("context", "phase", "operator", "span", "thread", "start_position", "end_position"),
    "line_access_count",
)
_LINE_USE_COLUMNS = ("context", "line", "bytes", "written_bytes")
_EXTENT_COLUMNS = ("region", "address", "size_bytes", "start_position")
#: All tables that facts are made from.
FACT_TABLES = (*_TABLES, "phases", "operators", "regions", "extents", "line_use")


class PhaseFacts:
    """One phase of a recording; made by `facts_of`.

    Attributes:
        phase: the phase.
        operators: its operators, in the order of their starts.
        regions: all regions of the process, by number.
        pages: numbers of the pages accessed in the phase, ascending.
    """

    def __init__(self, recording: Recording, phase: Phase) -> None:
        self._recording = recording
        self.phase = phase
        self.regions: tuple[Region, ...] = tuple(
            r for r in recording.regions if r.process == phase.process
        )
        self._all_contexts = rows_of(recording, "contexts", phase.process, _CONTEXT_COLUMNS)
        numbers = integers(self._all_contexts["context"])
        order = np.argsort(numbers)
        if np.any(np.diff(numbers[order]) == 0):
            raise self.corrupted("contexts", "a context occurs twice")
        self._all_contexts = self._all_contexts.take(pa.array(order))
        self._all_numbers = numbers[order]
        self._all_phases = integers(self._all_contexts["phase"])
        self._here = np.flatnonzero(self._all_phases == phase.index)
        self._all_operators = integers(self._all_contexts["operator"], null=NO_OPERATOR)
        used = set(self._all_operators[self._here].tolist())
        self.operators: tuple[Operator, ...] = tuple(
            sorted(
                (
                    o
                    for o in recording.operators
                    if o.process == phase.process and (o.phase == phase.index or o.number in used)
                ),
                key=lambda o: (o.start_position, o.number),
            )
        )
        #: Number of an operator to its index; the last element is for `NO_OPERATOR`.
        self._operator_index = self._index_operators()
        self._reuse: dict[str, ReuseRows] = {}

    @cached_property
    def contexts(self) -> Contexts:
        """Who makes the accesses of the phase."""
        table = self._all_contexts.take(pa.array(self._here))
        return Contexts(
            number=self._all_numbers[self._here],
            span=integers(table["span"]),
            thread=integers(table["thread"]),
            operator=self._operators_at(self._here),
            start_position=integers(table["start_position"]),
            end_position=integers(table["end_position"]),
            line_access_count=integers(table["line_access_count"]),
        )

    @cached_property
    def _page_use(self) -> tuple[npt.NDArray[np.uint64], Uses]:
        rows = self._rows_here("page_use", LARGEST["page_use"])
        pages = distinct_values(unsigned(rows["page"]))
        uses = Uses(
            context=self._index(rows["context"], self.contexts.number, "page_use", "context"),
            page=pages.index,
            lines=unsigned(rows["lines"]),
            written=unsigned(rows["written_lines"]),
            fetched=unsigned(rows["fetched_lines"]),
        )
        return pages.values, uses

    @property
    def pages(self) -> npt.NDArray[np.uint64]:
        """Numbers of the pages accessed in the phase, ascending."""
        return self._page_use[0]

    @property
    def uses(self) -> Uses:
        """Which contexts access which lines."""
        return self._page_use[1]

    @cached_property
    def use_pieces(self) -> UsePieces:
        """`uses` by region: that in effect at the end of the context, but what is unmapped then."""
        uses = self.uses
        pieces = self._pieces(self.pages[uses.page], uses.context, uses.lines)
        return UsePieces(
            use=pieces.row,
            region=pieces.region,
            lines=pieces.lines,
            written=pieces.lines & uses.written[pieces.row],
        )

    @cached_property
    def line_uses(self) -> LineUses:
        """Which bytes of lines the contexts access; of regions as `use_pieces`."""
        rows = self._rows_here("line_use", _LINE_USE_COLUMNS)
        context = self._index(rows["context"], self.contexts.number, "line_use", "context")
        line = integers(rows["line"])
        place = np.uint64(1) << (line % LINES_PER_PAGE).astype(np.uint64)
        # Each line is of one piece.
        pieces = self._pieces(line // LINES_PER_PAGE, context, place)
        return LineUses(
            context, line, pieces.region, unsigned(rows["bytes"]), unsigned(rows["written_bytes"])
        )

    def _pieces(self, pages: npt.NDArray[Any], context: Integers, lines: Bitmaps) -> Pieces:
        last = np.maximum(self.contexts.end_position, 1) - 1
        return self._region_map.pieces(pages, last[context], lines)

    @property
    def _region_map(self) -> RegionMap:
        key = (RegionMap, self.phase.process)
        return self._recording.derived(key, self._map_regions, ("extents", "regions"))

    def _map_regions(self) -> RegionMap:
        extents = rows_of(self._recording, "extents", self.phase.process, _EXTENT_COLUMNS)
        address, size_bytes = unsigned(extents["address"]), unsigned(extents["size_bytes"])
        if np.any(address + np.maximum(size_bytes, np.uint64(1)) - np.uint64(1) < address):
            raise self.corrupted("extents", "it holds a range beyond the last address")
        region = self._index(extents["region"], self._region_numbers, "extents", "region")
        unmapped = np.array([r.kind == "unmapped" for r in self.regions], dtype=bool)
        mapped = ~unmapped[region] if region.size else np.zeros(0, dtype=bool)
        return RegionMap(
            region[mapped],
            address[mapped],
            size_bytes[mapped],
            unsigned(extents["start_position"])[mapped],
        )

    @cached_property
    def page_region(self) -> Integers:
        """For each of `pages` the index of the region of the most of its lines, or `NO_REGION`."""
        pieces, count = self.use_pieces, len(self.regions) + 1
        # Between keys, what stands for no region comes after all others.
        key, lines = union(self.uses.page[pieces.use] * count + pieces.region % count, pieces.lines)
        page, region = key // count, key % count
        # The last of a page's rows is that with the most lines.
        order = np.lexsort((popcount(lines), page))
        result = np.full(self.pages.size, NO_REGION, dtype=np.int64)
        result[page[order]] = np.where(region == count - 1, NO_REGION, region)[order]
        return result

    @cached_property
    def roles(self) -> tuple[tuple[str, ...], Integers]:
        """The roles there are, and the index of each region's; the last is for `NO_REGION`."""
        names = tuple(dict.fromkeys([*(r.role for r in self.regions), "unclassified"]))
        index = [names.index(r.role) for r in self.regions] + [names.index("unclassified")]
        return names, np.array(index, dtype=np.int64)

    @property
    def reuse(self) -> dict[str, ReuseRows]:
        """Where the previous accesses were, by granularity."""
        return {name: self.reuse_of(name) for name in BLOCK_BYTES}

    def reuse_of(self, granularity: str) -> ReuseRows:
        """Where the previous accesses to blocks of one size were."""
        if granularity not in self._reuse:
            self._reuse[granularity] = self._read_reuse(granularity)
        return self._reuse[granularity]

    def reuse_in_parts(self, granularity: str) -> tuple[Bins, Iterator[ReusePart]]:
        """The same in parts of few rows, and the bins of all of them; nothing of it is kept.

        For who sums up the rows of a phase once: of most phases nothing else is asked for, and
        arrays of all of them take much.
        """
        rows = self._reuse_here(granularity, LARGEST["reuse_sources"])
        bins = Bins(rows["distance_min"])
        parts = rows.to_batches(max_chunksize=_PART_ROW_COUNT)
        return bins, (self._reuse_part(pa.Table.from_batches([part]), bins) for part in parts)

    def _reuse_part(self, rows: pa.Table, bins: Bins) -> ReusePart:
        try:
            bin_of_row = bins.of(rows)
        except ValueError as error:
            raise self.corrupted("reuse_sources", str(error)) from error
        return ReusePart(
            self._index(rows["context"], self.contexts.number, "reuse_sources", "context"),
            self._index(rows["region"], self._region_numbers, "reuse_sources", "region"),
            bin_of_row,
            integers(rows["count"]),
        )

    def _read_reuse(self, granularity: str) -> ReuseRows:
        rows = self._reuse_here(granularity, LARGEST["reuse_sources"])
        bins = Bins(rows["distance_min"])
        part = self._reuse_part(rows, bins)

        def find_origins() -> Origins:
            is_warm = part.bin < bins.distance_min.size
            rows = self._reuse_here(granularity, ("source", "access"))
            if np.any(is_warm != rows["source"].is_valid().to_numpy()):
                raise self.corrupted("reuse_sources", "a cold access has a source, or another none")
            source = integers(rows["source"])
            source[is_warm] = self._index_of(
                source[is_warm], self._all_numbers, "reuse_sources", "source"
            )
            source[~is_warm] = -1
            source_operator = np.full(source.size, NO_OPERATOR, dtype=np.int64)
            source_operator[is_warm] = self._operators_at(source[is_warm])
            threads = integers(self._all_contexts["thread"])
            return Origins(
                source_operator=source_operator,
                kind=self._kinds(self.contexts.operator[part.context], source, source_operator),
                is_other_thread=is_warm & (threads[source] != self.contexts.thread[part.context]),
                access=codes(rows["access"], ACCESS_CLASSES),
            )

        return ReuseRows(
            context=part.context,
            operator_of_context=self.contexts.operator,
            region=part.region,
            bin=part.bin,
            count=part.count,
            distance_min=bins.distance_min,
            distance_max=bins.distance_max,
            block_bytes=BLOCK_BYTES[granularity],
            find_origins=find_origins,
        )

    def spans_of(self, context: Integers) -> Integers:
        """The spans of contexts of any phase, given by number."""
        index = np.searchsorted(self._all_numbers, context)
        return integers(self._all_contexts["span"])[index]

    def phases_of(self, context: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The phases of the contexts of page visits, given by number.

        Raises:
            RecordingError: there is no such context.
        """
        highest = int(self._all_numbers.max(initial=-1))
        if highest > 2 * self._all_numbers.size:
            return self._phases_of(context.astype(np.int64), "page_visits").astype(np.uint32)
        # There may be many: a table by number, and last what is beyond it, takes one pass.
        none = np.uint32(0xFFFFFFFF)
        table = np.full(highest + 2, none)
        table[self._all_numbers] = self._all_phases
        phases: npt.NDArray[np.uint32] = table.take(context, mode="clip")
        if phases.max(initial=0) == none:
            raise self.corrupted("page_visits", "it holds a context that there is not")
        return phases

    def context_index(self, context: npt.NDArray[np.uint32]) -> Integers:
        """The indices of contexts of the phase, given by number.

        Raises:
            RecordingError: one of them is not of the phase.
        """
        known = self.contexts.number
        return self._index_of(context.astype(np.int64), known, "page_visits", "context")

    def _phases_of(self, context: Integers, table: str) -> Integers:
        return self._all_phases[self._index_of(context, self._all_numbers, table, "context")]

    def _kinds(self, operator: Integers, source: Integers, source_operator: Integers) -> Integers:
        names = {p.index: p.name for p in self._recording.select_phases(None, self.phase.process)}
        of_phase = np.full(max(names, default=0) + 1, SOURCE_KINDS.index("other_phase"))
        for index, name in names.items():
            for is_named_so, kind in _PHASE_NAMES:
                if is_named_so(name):
                    of_phase[index] = SOURCE_KINDS.index(kind)
                    break
        kinds = np.full(source.size, _COLD, dtype=np.int64)
        warm = source >= 0
        phases = self._all_phases[source[warm]]
        is_here = phases == self.phase.index
        is_same = (source_operator[warm] == operator[warm]) & (operator[warm] != NO_OPERATOR)
        here = np.where(
            source_operator[warm] == NO_OPERATOR,
            SOURCE_KINDS.index("outside_operators"),
            SOURCE_KINDS.index("earlier_operator"),
        )
        kinds[warm] = np.where(
            is_same,
            SOURCE_KINDS.index("same_operator"),
            np.where(is_here, here, of_phase[phases]),
        )
        return kinds

    @cached_property
    def _region_numbers(self) -> Integers:
        return np.array([r.number for r in self.regions], dtype=np.int64)

    def _rows_here(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows of a table with contexts of the phase."""
        process = self.phase.process

        def find_runs() -> RunsByKey:
            rows = rows_of(self._recording, name, process, ["context"])
            return RunsByKey(
                rows, ["context"], lambda some: self._phases_of(integers(some["context"]), name)
            )

        runs = self._recording.derived((RunsByKey, name, process), find_runs, (name, "contexts"))
        return runs.rows(rows_of(self._recording, name, process, columns), self.phase.index)

    def _reuse_here(self, granularity: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows of reuse of the phase for blocks of one size."""
        name, sizes, process = "reuse_sources", tuple(BLOCK_BYTES), self.phase.process

        def key_of(rows: pa.Table) -> Integers:
            phases = self._phases_of(integers(rows["context"]), name)
            return phases * len(sizes) + codes(rows["granularity"], sizes)

        def find_runs() -> RunsByKey:
            on = ["context", "granularity"]
            return RunsByKey(rows_of(self._recording, name, process, on), on, key_of)

        runs = self._recording.derived((RunsByKey, name, process), find_runs, (name, "contexts"))
        key = self.phase.index * len(sizes) + sizes.index(granularity)
        return runs.rows(rows_of(self._recording, name, process, columns), key)

    def _index_operators(self) -> Integers:
        numbers = [o.number for o in self._recording.operators if o.process == self.phase.process]
        highest = max([int(self._all_operators.max(initial=-1)), *numbers])
        if highest >= len(numbers):
            raise self.corrupted("operators", f"there is no operator {highest} of {len(numbers)}")
        index = np.full(highest + 2, NO_OPERATOR, dtype=np.int64)
        for i, operator in enumerate(self.operators):
            index[operator.number] = i
        found = self._all_operators[self._here]
        if np.any((found != NO_OPERATOR) & (index[found] == NO_OPERATOR)):
            raise self.corrupted("contexts", "an operator is not in the table of operators")
        return index

    def _operators_at(self, contexts: Integers) -> Integers:
        """Operators of the phase; those of other phases count as `NO_OPERATOR`."""
        return self._operator_index[self._all_operators[contexts]]

    def _index(self, column: pa.ChunkedArray, known: Integers, table: str, what: str) -> Integers:
        return self._index_of(integers(column), known, table, what)

    def _index_of(self, values: Integers, known: Integers, table: str, what: str) -> Integers:
        if not values.size:
            return values
        if known.size and int(known[-1]) - int(known[0]) + 1 == known.size:
            # Most often numbers follow each other.
            index: Integers = values - known[0]
            if index.min() >= 0 and index.max() < known.size:
                return index
        found: Integers = np.minimum(np.searchsorted(known, values), max(known.size - 1, 0))
        if not known.size or np.any(known[found] != values):
            raise self.corrupted(table, f"it holds a {what} that there is not")
        return found

    def corrupted(self, table: str, why: str) -> RecordingError:
        """The error to raise for a table that cannot be as it is."""
        return RecordingError(f"{self._recording.path} is corrupted: {table}.parquet: {why}")


def facts_of(
    recording: Recording, phase: Phase | int | str, process: int | None = None
) -> PhaseFacts:
    """The facts of one phase; what was read is kept as long as the recording is.

    Args:
        recording: the recording.
        phase: the phase, its index in its process or its name.
        process: the process, where several have a phase of that index or name.

    Raises:
        UsageError: there is no such phase, or more than one.
        RecordingError: the recording has no attribution, or is damaged.
    """
    if isinstance(phase, Phase):
        found = phase
    else:
        phases = recording.select_phases(phase, process)
        if len(phases) != 1:
            listed = ", ".join(f"{p.index} of process {p.process}" for p in phases[:8])
            raise UsageError(f"{len(phases)} phases are called {phase!r}: choose one of {listed}")
        (found,) = phases
    if not has_attribution(recording):
        raise RecordingError(f"{recording.path} was recorded without attribution: record it again")
    make = partial(PhaseFacts, recording, found)
    return recording.derived((PhaseFacts, found), make, FACT_TABLES)


def column(recording: Recording, process: int, table: str, name: str) -> Integers:
    """A column of a process's rows of a table, 0 where it is null."""
    return integers(rows_of(recording, table, process, [name])[name])


def has_attribution(recording: Recording) -> bool:
    """Whether a recording holds what this package reads; those of schema version 1 do not."""
    return all(recording.has_table(name) for name in (*_TABLES, "regions", "extents"))


__all__ = ["NO_OPERATOR", "NO_REGION", "SOURCE_KINDS", "PhaseFacts", "facts_of", "has_attribution"]
