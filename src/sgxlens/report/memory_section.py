# SPDX-License-Identifier: Apache-2.0
"""The parts of a report about the use of pages and the picture of memory, as plain data.

`sgxlens.attribution` counts; here it becomes rows with names. All is about one phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.line_bytes import has_line_bytes, line_bytes
from sgxlens.attribution.spatial import spatial_use
from sgxlens.attribution.timeline import EXECUTED, READ, WRITTEN, timeline
from sgxlens.recording.bitmaps import LINES_PER_PAGE
from sgxlens.recording.format import BLOCK_BYTES
from sgxlens.report.values import CountRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from sgxlens.attribution.line_bytes import ByteCounts
    from sgxlens.attribution.spatial import SpatialUse, Stays
    from sgxlens.attribution.timeline import Timeline
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording

#: The picture is thinned to so many cells in height and so many rectangles.
_ROWS_MAX = 512
_RECTANGLES_MAX = 2000
_USES = ((READ, "r"), (WRITTEN, "w"), (EXECUTED, "x"))


@dataclass(frozen=True)
class StayCounts:
    """Stays of pages in the memory asked for, from load to eviction, that are used in the phase.

    ``load_count`` counts the loads in the phase, ``stay_count`` the stays, of which some began
    before it. ``line_count`` is the sum of the distinct lines accessed in each stay during the
    phase: a range where a page may be accessed in several of its stays during one context.
    """

    load_count: int
    stay_count: int
    line_count: CountRange


@dataclass(frozen=True)
class PageUseCounts:
    """Lines used of pages: ``page_counts_by_line_count`` counts pages of which 0, 1, ... 64 are.

    ``written_page_count`` counts the pages that are written, ``written_line_count`` the lines.
    ``stays`` is null where no size of memory was asked for, or where ``no_stays`` says why.
    """

    page_count: int
    line_count: int
    written_page_count: int
    written_line_count: int
    page_counts_by_line_count: tuple[int, ...]
    stays: StayCounts | None


@dataclass(frozen=True)
class RolePageUse:
    """Pages of one role; a page is of the role of the most of its lines that are used."""

    role: str
    use: PageUseCounts


@dataclass(frozen=True)
class SpatialSection:
    """How much of each page is used, over the phase and while it stays in the memory asked for.

    ``no_stays`` says why no stays are known though a size was asked for; else it is empty.
    """

    roles: tuple[RolePageUse, ...]
    total: PageUseCounts
    no_stays: str


@dataclass(frozen=True)
class LineByteCounts:
    """Bytes used of the distinct lines that are followed.

    ``line_counts_by_byte_count`` counts lines of which 0, 1, ... 64 bytes are accessed.
    """

    line_count: int
    byte_count: int
    written_line_count: int
    written_byte_count: int
    line_counts_by_byte_count: tuple[int, ...]


@dataclass(frozen=True)
class RoleLineBytes:
    """Lines of one role; a line may count in several."""

    role: str
    use: LineByteCounts


@dataclass(frozen=True)
class OperatorLineBytes:
    """Lines that an operator uses, given by its index in the phase."""

    operator_index: int
    use: LineByteCounts


@dataclass(frozen=True)
class LineBytesSection:
    """How much of each line is used. Of ``interval_line_count`` lines one is followed.

    Counts are of these and not scaled: there are about ``interval_line_count`` times as many lines.
    ``between`` is what is done in no operator.
    """

    interval_line_count: int
    roles: tuple[RoleLineBytes, ...]
    operators: tuple[OperatorLineBytes, ...]
    between: LineByteCounts
    total: LineByteCounts


@dataclass(frozen=True)
class Cell:
    """``page_count`` pages of the phase; ``address`` is of the first, ``role`` of the most."""

    address: int
    page_count: int
    role: str


@dataclass(frozen=True)
class Rectangle:
    """Cells that follow each other and are used alike: ``r`` read, ``w`` written, ``x`` executed.

    ``r`` is of lines that are neither written nor executed in the same context.
    """

    first_cell_index: int
    cell_count: int
    use: str


@dataclass(frozen=True)
class TimelineColumn:
    """One step or several: an operator, or what is done between two.

    ``operator_indices`` has those that run in it, none where it lies between two.
    """

    operator_indices: tuple[int, ...]
    start_position: int
    end_position: int
    rectangles: tuple[Rectangle, ...]


@dataclass(frozen=True)
class TimelineSection:
    """Which pages are used when. The pages of the phase stand without gaps, by address.

    Where there are many, the picture is thinned: a cell stands for ``cell_page_count`` pages, a
    column for ``column_step_count`` steps of the ``step_count`` there are, and a cell is used as
    any of its pages is in any of the steps. Both are 1 where nothing was thinned.
    """

    page_count: int
    step_count: int
    cell_page_count: int
    column_step_count: int
    cells: tuple[Cell, ...]
    columns: tuple[TimelineColumn, ...]


def spatial_section(recording: Recording, phase: Phase, at_bytes: int | None) -> SpatialSection:
    """Lines used of each page of a phase, and while it stays in a memory of `at_bytes`.

    Raises:
        RecordingError: the recording has no attribution, or is damaged.
    """
    no_stays = "" if at_bytes is None else _no_stays(recording, at_bytes)
    found = spatial_use(recording, phase, None if no_stays else at_bytes)
    roles = []
    for index, role in enumerate(found.roles):
        chosen = found.page_role == index
        if np.any(chosen):
            roles.append(RolePageUse(role, _page_use(found, chosen)))
    roles.sort(key=lambda row: -row.use.page_count)
    everything = np.ones(found.pages.size, dtype=bool)
    return SpatialSection(tuple(roles), _page_use(found, everything), no_stays)


def _no_stays(recording: Recording, at_bytes: int) -> str:
    least = recording.metadata.settings.visit_page_count
    if least is None:
        return "Not known while in memory: no page visits were recorded."
    if at_bytes // BLOCK_BYTES["page"] < least:
        return f"Not known of a memory of less than {least} pages: visits are of {least}."
    return ""


def _page_use(found: SpatialUse, chosen: npt.NDArray[np.bool_]) -> PageUseCounts:
    lines, written = found.line_count[chosen], found.written_line_count[chosen]
    return PageUseCounts(
        page_count=int(lines.size),
        line_count=int(lines.sum()),
        written_page_count=int(np.count_nonzero(written)),
        written_line_count=int(written.sum()),
        page_counts_by_line_count=tuple(np.bincount(lines, minlength=LINES_PER_PAGE + 1).tolist()),
        stays=None if found.stays is None else _stays(found.stays, chosen),
    )


def _stays(stays: Stays, chosen: npt.NDArray[np.bool_]) -> StayCounts:
    mine = chosen[stays.page]
    return StayCounts(
        load_count=int(chosen[stays.loaded_page].sum()),
        stay_count=int(mine.sum()),
        line_count=CountRange(
            int(stays.line_count_low[mine].sum()), int(stays.line_count_high[mine].sum())
        ),
    )


def line_bytes_section(recording: Recording, phase: Phase) -> LineBytesSection | None:
    """How much of each line a phase uses; None: the recording does not tell.

    Raises:
        RecordingError: the recording has no attribution, or is damaged.
    """
    if not has_line_bytes(recording):
        return None
    found = line_bytes(recording, phase)
    roles = [RoleLineBytes(role, _byte_counts(use)) for role, use in found.by_role.items()]
    roles.sort(key=lambda row: -row.use.line_count)
    return LineBytesSection(
        interval_line_count=found.interval,
        roles=tuple(roles),
        operators=tuple(
            OperatorLineBytes(operator.index, _byte_counts(use))
            for operator, use in zip(found.operators, found.by_operator, strict=True)
        ),
        between=_byte_counts(found.between),
        total=_byte_counts(found.total),
    )


def _byte_counts(counts: ByteCounts) -> LineByteCounts:
    return LineByteCounts(
        line_count=counts.line_count,
        byte_count=counts.byte_count,
        written_line_count=counts.written_line_count,
        written_byte_count=counts.written_byte_count,
        line_counts_by_byte_count=tuple(counts.lines_by_byte_count.tolist()),
    )


def timeline_section(
    recording: Recording,
    phase: Phase,
    max_rectangles: int = _RECTANGLES_MAX,
    max_rows: int = _ROWS_MAX,
) -> TimelineSection:
    """The picture of a phase's memory, thinned to what a person can look at.

    Raises:
        RecordingError: the recording has no attribution, or is damaged.
    """
    found = timeline(recording, phase, max_rectangles, max_rows=max_rows)
    return TimelineSection(
        page_count=int(found.pages.size),
        step_count=int(found.step_operator.size),
        cell_page_count=found.pages_per_cell,
        column_step_count=found.steps_per_cell,
        cells=tuple(_cells(found)),
        columns=tuple(_columns(found)),
    )


def _cells(found: Timeline) -> Sequence[Cell]:
    height = found.pages_per_cell
    cell = np.arange(found.pages.size) // height
    cells = []
    counts = np.zeros((int(cell.max(initial=-1)) + 1, len(found.roles)), dtype=np.int64)
    np.add.at(counts, (cell, found.page_role), 1)
    most: Integers = counts.argmax(axis=1)
    for index, role in enumerate(most.tolist()):
        address = int(found.pages[index * height]) * BLOCK_BYTES["page"]
        cells.append(Cell(address, int(counts[index].sum()), found.roles[role]))
    return cells


def _columns(found: Timeline) -> Sequence[TimelineColumn]:
    width = found.steps_per_cell
    steps = found.step_operator.size
    rectangles: list[list[Rectangle]] = [[] for _ in range(-(-steps // width))]
    columns = (found.column, found.first_cell, found.cell_count, found.flags)
    for column, first, count, flags in zip(*(c.tolist() for c in columns), strict=True):
        use = "".join(letter for flag, letter in _USES if flags & flag)
        rectangles[column].append(Rectangle(first, count, use))
    made = []
    for index, drawn in enumerate(rectangles):
        here = slice(index * width, min((index + 1) * width, steps))
        operators = dict.fromkeys(o for o in found.step_operator[here].tolist() if o >= 0)
        made.append(
            TimelineColumn(
                operator_indices=tuple(found.operators[o].index for o in operators),
                start_position=int(found.step_start_position[here].min()),
                end_position=int(found.step_end_position[here].max()),
                rectangles=tuple(drawn),
            )
        )
    return made
