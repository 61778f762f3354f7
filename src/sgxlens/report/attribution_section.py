# SPDX-License-Identifier: Apache-2.0
"""The parts of a report about operators, regions and reuse sources, as plain data.

`sgxlens.attribution` counts; here it becomes rows with names. All is about one phase.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sgxlens.attribution.operators import operator_table
from sgxlens.attribution.regions import region_table
from sgxlens.attribution.sharing import Shared, sharing
from sgxlens.attribution.sources import sources
from sgxlens.attribution.working_sets import working_sets
from sgxlens.recording.format import BLOCK_BYTES
from sgxlens.report.memory_section import (
    LineBytesSection,
    SpatialSection,
    TimelineSection,
    line_bytes_section,
    spatial_section,
    timeline_section,
)
from sgxlens.report.native_times import NativeTime, native_time
from sgxlens.report.values import CountRange

if TYPE_CHECKING:
    from sgxlens.attribution.operators import OperatorRow
    from sgxlens.attribution.regions import RegionRow, RegionTable
    from sgxlens.attribution.usage import Misses, Usage
    from sgxlens.recording.native_times.summary import NativeSummary
    from sgxlens.recording.reader import Operator, Phase, Recording

Granularity = Literal["line", "page"]

#: The window of working sets is this part of the phase.
_WINDOWS = 64


@dataclass(frozen=True)
class MemoryUse:
    """Accesses to the blocks of one size.

    ``block_count`` counts distinct blocks, ``written_block_count`` those of them that are written.
    ``miss_count`` is of the memory asked for, null if none was. ``access_counts_by_source`` is by
    where the previous access to the block was; together they are ``access_count``.
    """

    access_count: int
    block_count: int
    footprint_bytes: int
    written_block_count: int
    miss_count: CountRange | None
    access_counts_by_source: dict[str, int]


@dataclass(frozen=True)
class Tensor:
    """An input or output of an operator."""

    type: str
    dimension_counts: tuple[int, ...]


@dataclass(frozen=True)
class OperatorEntry:
    """One execution of an operator, without the operators nested in it.

    ``operator`` is its number in the process, ``index`` in the phase, ``parent`` the operator that
    it is a part of. ``parameter_bytes``, ``activation_bytes``, ``output_bytes`` and the tensors are
    what the framework says, null where it says nothing. ``footprint_bytes_by_role`` is of the lines
    accessed, by the role of their region.
    """

    operator: int
    index: int
    parent: int | None
    thread: int
    name: str
    type: str
    told_by: str
    inputs: tuple[Tensor, ...] | None
    outputs: tuple[Tensor, ...] | None
    parameter_bytes: int | None
    activation_bytes: int | None
    output_bytes: int | None
    use: dict[Granularity, MemoryUse]
    footprint_bytes_by_role: dict[str, int]
    native_time: NativeTime | None


@dataclass(frozen=True)
class OperatorSection:
    """The operators of a phase, in the order of their starts.

    Accesses and misses of ``rows`` and ``between`` (what is done in no operator) add up to
    ``total``, the phase. Footprints do not: operators share blocks.
    """

    rows: tuple[OperatorEntry, ...]
    between: dict[Granularity, MemoryUse]
    total: dict[Granularity, MemoryUse]


@dataclass(frozen=True)
class RegionUser:
    """An operator that accesses lines of a region; index null: what is done in no operator.

    ``written_line_count`` counts the distinct lines that it writes, ``read_line_count`` those that
    it accesses and never writes.
    """

    operator_index: int | None
    read_line_count: int
    written_line_count: int


@dataclass(frozen=True)
class RegionEntry:
    """A region; ``region`` is its number in the process, null: lines that are of none.

    ``users`` are those of most lines first.
    """

    region: int | None
    kind: str
    name: str
    role: str
    reason: str
    use: dict[Granularity, MemoryUse]
    users: tuple[RegionUser, ...]


@dataclass(frozen=True)
class RoleEntry:
    """All regions of a role."""

    role: str
    use: dict[Granularity, MemoryUse]


@dataclass(frozen=True)
class RegionSection:
    """What memory the phase uses, the largest footprints of lines first.

    ``unclassified_ratio`` is the share of the footprint of lines whose role is not known.
    """

    roles: tuple[RoleEntry, ...]
    rows: tuple[RegionEntry, ...]
    unclassified_ratio: float


@dataclass(frozen=True)
class SourceCounts:
    """Accesses from one source; ``other_thread_count``: the access before was another thread's."""

    access_count: int
    other_thread_count: int
    miss_count: CountRange | None


@dataclass(frozen=True)
class SourceEntry:
    """One kind of place where the previous access to a block was."""

    source: str
    counts: dict[Granularity, SourceCounts]


@dataclass(frozen=True)
class FlowEntry:
    """Accesses of ``consumer`` to blocks that ``producer`` was the last to access (indices)."""

    producer_index: int
    consumer_index: int
    access_count: int
    miss_count: CountRange | None


@dataclass(frozen=True)
class SourceSection:
    """Where the blocks were accessed before; ``flows`` has the source ``earlier_operator``."""

    rows: tuple[SourceEntry, ...]
    flows: dict[Granularity, tuple[FlowEntry, ...]]


@dataclass(frozen=True)
class Window:
    """Some whole spans of the phase, and the distinct blocks accessed in them."""

    start_position: int
    end_position: int
    line_access_count: int
    line_count: int
    page_count: int
    written_line_count: int
    written_page_count: int


@dataclass(frozen=True)
class WorkingSetSection:
    """Working sets of windows; each has at least so many line accesses, but for the last."""

    window_line_access_count: int
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class SharingSection:
    """What threads share; they are interleaved as the tracer ran them."""

    threads: tuple[int, ...]
    blocks: dict[Granularity, Shared]


@dataclass(frozen=True)
class AttributionSection:
    """Who accesses what.

    ``operators`` is None where nothing told of any, ``line_bytes`` where it was not recorded.
    """

    operators: OperatorSection | None
    regions: RegionSection
    sources: SourceSection
    working_sets: WorkingSetSection
    sharing: SharingSection
    spatial: SpatialSection
    line_bytes: LineBytesSection | None
    timeline: TimelineSection


def attribution_section(
    recording: Recording, phase: Phase, at_bytes: int | None, native: NativeSummary | None
) -> AttributionSection:
    """Who accesses what in a phase of a recording that has attribution.

    Raises:
        RecordingError: the recording is damaged.
    """
    return AttributionSection(
        operators=_operators(recording, phase, at_bytes, native),
        regions=_regions(recording, phase, at_bytes),
        sources=_sources(recording, phase, at_bytes),
        working_sets=_working_sets(recording, phase),
        sharing=_sharing(recording, phase),
        spatial=spatial_section(recording, phase, at_bytes),
        line_bytes=line_bytes_section(recording, phase),
        timeline=timeline_section(recording, phase),
    )


def _operators(
    recording: Recording, phase: Phase, at_bytes: int | None, native: NativeSummary | None
) -> OperatorSection | None:
    table = operator_table(recording, phase, at_bytes)
    if not table.rows:
        return None
    times = native.of_operators(phase) if native is not None else {}
    return OperatorSection(
        rows=tuple(
            _operator(row, row.operator, native_time(times.get(row.operator.index)))
            for row in table.rows
            if row.operator is not None
        ),
        between=_use(table.between),
        total=_use(table.total),
    )


def _operator(row: OperatorRow, operator: Operator, time: NativeTime | None) -> OperatorEntry:
    return OperatorEntry(
        operator=operator.number,
        index=operator.index,
        parent=operator.parent,
        thread=operator.thread,
        name=operator.name,
        type=operator.type,
        told_by=operator.source,
        inputs=parse_tensors(operator.input_shapes),
        outputs=parse_tensors(operator.output_shapes),
        parameter_bytes=operator.parameter_bytes,
        activation_bytes=operator.activation_bytes,
        output_bytes=operator.output_bytes,
        use=_use(row),
        footprint_bytes_by_role={
            role: lines * BLOCK_BYTES["line"] for role, lines in row.lines_by_role.items()
        },
        native_time=time,
    )


def parse_tensors(text: str) -> tuple[Tensor, ...] | None:
    """Tensors from ``[{"float": [1, 3]}]``; None: nothing is said, or not in this form."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, list):
        return None
    tensors = []
    for item in content:
        if not isinstance(item, dict) or len(item) != 1:
            return None
        ((kind, sizes),) = item.items()
        if not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
            return None
        tensors.append(Tensor(kind, tuple(sizes)))
    return tuple(tensors)


def _use(row: OperatorRow | RegionRow) -> dict[Granularity, MemoryUse]:
    return {"line": _memory_use(row.line), "page": _memory_use(row.page)}


def _memory_use(usage: Usage) -> MemoryUse:
    return MemoryUse(
        access_count=usage.access_count,
        block_count=usage.block_count,
        footprint_bytes=usage.footprint_bytes,
        written_block_count=usage.written_block_count,
        miss_count=_range(usage.misses),
        access_counts_by_source=usage.by_source,
    )


def _range(misses: Misses | None) -> CountRange | None:
    return None if misses is None else CountRange(misses.low, misses.high)


def _regions(recording: Recording, phase: Phase, at_bytes: int | None) -> RegionSection:
    table = region_table(recording, phase, at_bytes)
    users = _users(table)
    rows = []
    for row in table.rows:
        region = row.region
        rows.append(
            RegionEntry(
                region=None if region is None else region.number,
                kind="unmapped" if region is None else region.kind,
                name="" if region is None else region.name,
                role=row.role,
                reason="" if region is None else region.reason,
                use=_use(row),
                users=tuple(users.get(None if region is None else region.number, ())),
            )
        )
    return RegionSection(
        roles=tuple(RoleEntry(row.role, _use(row)) for row in table.roles),
        rows=tuple(rows),
        unclassified_ratio=table.unclassified_share,
    )


def _users(table: RegionTable) -> dict[int | None, list[RegionUser]]:
    """The users of each region by its number; None: of lines that are of none."""
    uses = table.uses
    columns = (uses.region, uses.operator, uses.read_line_count, uses.written_line_count)
    found: dict[int | None, list[RegionUser]] = {}
    for region, operator, read, written in zip(*(c.tolist() for c in columns), strict=True):
        number = table.regions[region].number if region >= 0 else None
        index = table.operators[operator].index if operator >= 0 else None
        found.setdefault(number, []).append(RegionUser(index, read, written))
    for users in found.values():
        users.sort(key=lambda user: -(user.read_line_count + user.written_line_count))
    return found


def _sources(recording: Recording, phase: Phase, at_bytes: int | None) -> SourceSection:
    table = sources(recording, phase, at_bytes)
    names: tuple[Granularity, ...] = ("line", "page")
    rows = []
    for found in zip(*(table.rows[name] for name in names), strict=True):
        counts = {
            name: SourceCounts(row.access_count, row.other_thread_count, _range(row.misses))
            for name, row in zip(names, found, strict=True)
        }
        rows.append(SourceEntry(found[0].kind, counts))
    flows: dict[Granularity, tuple[FlowEntry, ...]] = {}
    for name in names:
        flow = table.flows[name]
        columns = (
            flow.producer,
            flow.consumer,
            flow.access_count,
            flow.miss_count_low,
            flow.miss_count_high,
        )
        flows[name] = tuple(
            FlowEntry(
                producer_index=table.operators[producer].index,
                consumer_index=table.operators[consumer].index,
                access_count=count,
                miss_count=None if at_bytes is None else CountRange(low, high),
            )
            for producer, consumer, count, low, high in zip(
                *(column.tolist() for column in columns), strict=True
            )
        )
    return SourceSection(tuple(rows), flows)


def _working_sets(recording: Recording, phase: Phase) -> WorkingSetSection:
    size = max(1, phase.line_access_count // _WINDOWS)
    found = working_sets(recording, phase, size)
    columns = (
        found.start_position,
        found.end_position,
        found.access_count,
        found.lines,
        found.pages,
        found.written_lines,
        found.written_pages,
    )
    windows = zip(*(column.tolist() for column in columns), strict=True)
    return WorkingSetSection(size, tuple(Window(*window) for window in windows))


def _sharing(recording: Recording, phase: Phase) -> SharingSection:
    found = sharing(recording, phase)
    return SharingSection(found.threads, {"line": found.line, "page": found.page})
