# SPDX-License-Identifier: Apache-2.0
"""The parts of a terminal report about working sets, the use of pages, and when they are used."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from rich.console import Group
from rich.text import Text

from sgxlens.recording.format import BLOCK_BYTES
from sgxlens.report.terminal.layout import fitted_table, not_recorded, share, titled
from sgxlens.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from sgxlens.report.attribution_section import (
        AttributionSection,
        Granularity,
        MemoryUse,
        OperatorSection,
        SharingSection,
        Window,
    )
    from sgxlens.report.document import Document
    from sgxlens.report.memory_section import (
        LineByteCounts,
        LineBytesSection,
        PageUseCounts,
        SpatialSection,
        StayCounts,
        TimelineSection,
    )

_Item = TypeVar("_Item")

_LINES_PER_PAGE = 64
#: Upper bounds of the groups of pages by lines used, and of lines by bytes used.
_GROUPS = (16, 32, 48, 64)
_OPERATORS_MAX = 5
#: The picture is at most so high and so wide.
_PICTURE_ROWS = 20
_PICTURE_COLUMNS = 64


def memory(
    document: Document, section: AttributionSection, width: int, *, ascii_only: bool
) -> Iterable[RenderableType]:
    """Working sets, lines used of pages, the picture of memory, and sharing between threads."""
    yield titled(
        "Working sets: distinct blocks accessed in a part",
        _working_sets(section, width),
    )
    at_bytes = document.reuse.at_bytes
    while_in = (
        f", and while in a memory of {format_bytes(at_bytes)}" if at_bytes is not None else ""
    )
    yield titled(f"Lines used of each page{while_in}", _spatial_use(section.spatial, width))
    of_lines = section.line_bytes
    title = "Bytes used of each line"
    if of_lines is None:
        yield titled(title, not_recorded())
    else:
        if of_lines.interval_line_count > 1:
            title += f": one line in {of_lines.interval_line_count} was followed"
        yield titled(title, _line_bytes(of_lines, section.operators, width))
    yield titled(
        "Pages over time: r read, w written, x executed",
        _picture(section, width, ascii_only=ascii_only),
    )
    if len(section.sharing.threads) > 1:
        yield titled("Sharing between threads", _sharing(section.sharing, width))


def _working_sets(section: AttributionSection, width: int) -> RenderableType:
    sets, total = section.working_sets, section.spatial.total
    rows = [
        _part(
            "the phase",
            (total.line_count, total.written_line_count),
            (total.page_count, total.written_page_count),
        )
    ]
    if section.operators is not None:
        uses = [row.use for row in section.operators.rows]
        largest = max(section.operators.rows, key=lambda row: row.use["line"].block_count)
        rows.append(_operator(f"largest operator: {largest.name}", largest.use))
        rows.append(
            _operator("median operator", _median(uses, lambda use: use["line"].block_count))
        )
    windows = sets.windows
    # One window is the phase: it has no boundaries to cut it at.
    note = ""
    if len(windows) > 1:
        widest = max(windows, key=lambda window: window.line_count)
        rows.append(_window("largest window", widest))
        rows.append(_window("median window", _median(windows, lambda window: window.line_count)))
        note = f"A window has at least {format_count(sets.window_line_access_count)} line accesses."
    headings = ["", "lines", "bytes", "written", "pages", "bytes", "written"]
    table = fitted_table(headings, rows, width, (0,))
    return Group(table, Text(note)) if note else table


def _median(parts: Sequence[_Item], size: Callable[[_Item], int]) -> _Item:
    return sorted(parts, key=size)[(len(parts) - 1) // 2]


def _operator(name: str, use: Mapping[Granularity, MemoryUse]) -> list[str]:
    line, page = use["line"], use["page"]
    return _part(
        name,
        (line.block_count, line.written_block_count),
        (page.block_count, page.written_block_count),
    )


def _window(name: str, window: Window) -> list[str]:
    return _part(
        name,
        (window.line_count, window.written_line_count),
        (window.page_count, window.written_page_count),
    )


def _part(name: str, lines: tuple[int, int], pages: tuple[int, int]) -> list[str]:
    """A row of the table from the blocks that are accessed, and those that are written."""
    cells = [name]
    for size, (count, written) in zip(BLOCK_BYTES.values(), (lines, pages), strict=True):
        cells += [format_count(count), format_bytes(count * size), share(written, count)]
    return cells


def _sharing(section: SharingSection, width: int) -> RenderableType:
    table = []
    for name, blocks in section.blocks.items():
        table.append(
            [
                f"{name}s",
                format_count(blocks.block_count),
                format_count(blocks.shared_count),
                share(blocks.shared_count, blocks.block_count),
                format_count(blocks.shared_written_count),
                share(blocks.other_thread_reuse_count, blocks.reuse_count),
            ]
        )
    headings = (
        "",
        "accessed",
        "by several\nthreads",
        "",
        "and\nwritten",
        "reuse from\nanother thread",
    )
    return Group(
        fitted_table(headings, table, width, (0,)),
        Text(f"{len(section.threads)} threads, in turns as the tracer ran them."),
    )


def _line_bytes(
    section: LineBytesSection, operators: OperatorSection | None, width: int
) -> RenderableType:
    headings = ["lines\nfollowed", "bytes\nused", *_groups("bytes"), "bytes\nwritten"]
    rows = [(row.role, row.use) for row in section.roles]
    table = [[name, *_byte_use(use)] for name, use in (*rows, ("(all)", section.total))]
    roles = fitted_table(["role", *headings], table, width, (), whole=(0,))
    if operators is None:
        return roles
    names = {row.index: row.name for row in operators.rows}
    worst = sorted(section.operators, key=lambda row: -_unused_bytes(row.use))[:_OPERATORS_MAX]
    table = [[names[row.operator_index], *_byte_use(row.use)] for row in worst]
    if not table:
        return roles
    return Group(
        roles,
        Text("\nOperators that leave most bytes of their lines unused"),
        fitted_table(["operator", *headings], table, width, (0,)),
    )


def _unused_bytes(use: LineByteCounts) -> int:
    return use.line_count * BLOCK_BYTES["line"] - use.byte_count


def _byte_use(use: LineByteCounts) -> list[str]:
    all_bytes = use.line_count * BLOCK_BYTES["line"]
    return [
        format_count(use.line_count),
        share(use.byte_count, all_bytes),
        *_shares(use.line_counts_by_byte_count, use.line_count),
        share(use.written_byte_count, all_bytes),
    ]


def _groups(of: str) -> list[str]:
    lows = (1, *(high + 1 for high in _GROUPS))
    return [f"{low}-{high}\n{of}" for low, high in zip(lows, _GROUPS, strict=False)]


def _shares(counts: Sequence[int], total: int) -> list[str]:
    """Shares of the groups in what is counted by its number of lines or bytes."""
    lows = (1, *(high + 1 for high in _GROUPS))
    return [
        share(sum(counts[low : high + 1]), total) for low, high in zip(lows, _GROUPS, strict=False)
    ]


def _spatial_use(section: SpatialSection, width: int) -> RenderableType:
    has_stays = section.total.stays is not None
    headings = ["role", "pages", "lines\nused", *_groups("lines")]
    if has_stays:
        headings += ["loads", "used\nwhile in"]
    rows = [(row.role, row.use) for row in section.roles]
    table = [[name, *_page_use(use)] for name, use in (*rows, ("(all)", section.total))]
    shown = fitted_table(headings, table, width, (), whole=(0,))
    return Group(shown, Text(section.no_stays)) if section.no_stays else shown


def _page_use(use: PageUseCounts) -> list[str]:
    cells = [
        format_count(use.page_count),
        share(use.line_count, use.page_count * _LINES_PER_PAGE),
        *_shares(use.page_counts_by_line_count, use.page_count),
    ]
    if use.stays is not None:
        cells += [format_count(use.stays.load_count), _used_while_in(use.stays)]
    return cells


def _used_while_in(stays: StayCounts) -> str:
    lines = stays.stay_count * _LINES_PER_PAGE
    low, high = share(stays.line_count.low, lines), share(stays.line_count.high, lines)
    return high if low == high else f"{low.removesuffix(' %')}-{high}"


def _picture(section: AttributionSection, width: int, *, ascii_only: bool) -> RenderableType:
    """Rows are pages by address, columns the course of the phase."""
    timeline = section.timeline
    label = max((len(cell.role) for cell in timeline.cells), default=0)
    rows = min(_PICTURE_ROWS, len(timeline.cells))
    columns = min(_PICTURE_COLUMNS, len(timeline.columns), max(width - label - 2, 1))
    used: Counter[tuple[int, int, str]] = Counter()
    size: Counter[tuple[int, int]] = Counter()
    cells_of_row = Counter(_row(timeline, cell, rows) for cell in range(len(timeline.cells)))
    for index, column in enumerate(timeline.columns):
        x = index * columns // len(timeline.columns)
        size.update({(y, x): count for y, count in cells_of_row.items()})
        for drawn in column.rectangles:
            letter = next(letter for letter in "wxr" if letter in drawn.use)
            for cell in range(drawn.first_cell_index, drawn.first_cell_index + drawn.cell_count):
                used[_row(timeline, cell, rows), x, letter] += 1
    nothing = "." if ascii_only else "\N{MIDDLE DOT}"
    text = Text()
    for y in range(rows):
        letters = []
        for x in range(columns):
            most = max("rwx", key=lambda letter: used[y, x, letter])
            total = sum(used[y, x, letter] for letter in "rwx")
            many = most.upper() if 2 * total >= size[y, x] else most
            letters.append(many if total else nothing)
        text.append(f"{_role_of_row(timeline, y, rows):{label}}  {''.join(letters)}\n")
    text.append(_scale(timeline, rows, columns, has_operators=section.operators is not None))
    return text


def _row(timeline: TimelineSection, cell: int, rows: int) -> int:
    return cell * rows // len(timeline.cells)


def _role_of_row(timeline: TimelineSection, row: int, rows: int) -> str:
    pages: dict[str, int] = {}
    for index, cell in enumerate(timeline.cells):
        if _row(timeline, index, rows) == row:
            pages[cell.role] = pages.get(cell.role, 0) + cell.page_count
    return max(pages, key=lambda role: pages[role])


def _scale(timeline: TimelineSection, rows: int, columns: int, *, has_operators: bool) -> str:
    height = format_count(-(-timeline.page_count // max(rows, 1)))
    steps = timeline.step_count / max(columns, 1)
    kind = "of operators and what is between" if has_operators else "between two boundaries"
    return (
        f"A row: {height} pages by address, with the role of most. Capitals: half or more.\n"
        f"A column: {steps:.3g} steps {kind}."
    )
