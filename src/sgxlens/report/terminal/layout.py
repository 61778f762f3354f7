# SPDX-License-Identifier: Apache-2.0
"""What all parts of a terminal report are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sgxlens.text import one_line
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from sgxlens.report.prediction import LeftOut

_WIDTH = 80
_WIDTH_MAX = 100
#: Rows of a table whose length depends on the program.
ROWS_MAX = 20
#: Cells before the content of a section.
INDENT = 2
#: Cells between two columns.
_GAP = 2
_TEXT_MIN = 8
#: Before a text is shortened to less, a column that can be spared goes.
_TEXT_READABLE = 20


def report_console(file: TextIO | None) -> Console:
    """Where a report is printed (None: standard output), with colour only where that is wanted."""
    console = Console(file=file, markup=False, emoji=False, highlight=False)
    if console.width > _WIDTH:
        # Wider tables are harder to read, not easier.
        console.width = min(console.width, _WIDTH_MAX)
    return console


def ruled(text: str, *, ascii_only: bool) -> RenderableType:
    """The heading of several sections."""
    line = "--" if ascii_only else "──"
    return Text(f"\n{line} {text} {line}", style="bold")


def titled(title: str, content: RenderableType) -> RenderableType:
    """Content under a title."""
    return Group(
        Text(f"\n{title}", style="bold"), Padding(content, (0, 0, 0, INDENT), expand=False)
    )


def named_texts(rows: Iterable[tuple[str, str | Text]], *, style: str = "bold") -> RenderableType:
    """Texts of any length, each beside its name."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(name, Text(text) if isinstance(text, str) else text)
    return grid


def warning_line(warning: str) -> Text:
    """What a reader must not miss."""
    return Text(f"! {one_line(warning)}", style="bold yellow")


def left_out_lines(left_out: Iterable[LeftOut]) -> Iterable[Text]:
    """Platforms that are not reported on, and why."""
    for skipped in left_out:
        yield Text(f"Not for {one_line(skipped.platform, 40)}: {one_line(skipped.reason)}")


def new_table(*headings: str) -> Table:
    """A table without a frame; text to the left."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def fitted_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    text: Sequence[int],
    whole: Sequence[int] = (),
    *,
    spare: Sequence[int] = (),
    folded: int | None = None,
) -> Table:
    """A table of at most `width` cells, where that can be.

    Columns listed in `text` are to the left, harmless whatever they hold, and shortened in the
    middle, the widest first; those in `whole` are to the left, too; all others hold numbers and are
    to the right. Where that is not enough, or would leave little of a text, columns in `spare` are
    left out, the first one first. A text in column `folded` is continued in the line below.
    """
    cells = [[one_line(c) if i in text else c for i, c in enumerate(row)] for row in rows]
    widths = []
    for index, heading in enumerate(headings):
        found = [cell_len(row[index]) for row in cells]
        widths.append(max([*found, *map(cell_len, heading.split("\n"))]))
    left = list(range(len(headings)))
    for index in spare:
        readable = [min(widths[i], _TEXT_READABLE if i in text else widths[i]) for i in left]
        if sum(readable) + _GAP * (len(left) - 1) > width:
            left.remove(index)
    if len(left) < len(headings):
        return fitted_table(
            [headings[i] for i in left],
            [[row[i] for i in left] for row in cells],
            width,
            [left.index(i) for i in text if i in left],
            [left.index(i) for i in whole if i in left],
            folded=left.index(folded) if folded in left else None,
        )
    table = new_table(*headings)
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    while excess > 0 and text:
        widest = max(text, key=lambda index: widths[index])
        others = max((widths[i] for i in text if i != widest), default=0)
        step = min(excess, widths[widest] - max(others - 1, _TEXT_MIN))
        if step <= 0:
            break
        widths[widest] -= step
        excess -= step
    for index, column in enumerate(table.columns):
        column.no_wrap = index != folded
        if index not in (*text, *whole):
            column.justify = "right"
    for row in cells:
        table.add_row(
            *(
                Text(_shortened(c, widths[i]) if i in text and i != folded else c)
                for i, c in enumerate(row)
            )
        )
    return table


def _shortened(text: str, cells: int) -> str:
    limit = cells
    while cell_len(short := one_line(text, limit)) > cells:
        limit -= 1
    return short


def with_rest(table: Table, rest: int, what: str) -> RenderableType:
    """A table, and how many rows it does not show."""
    if rest <= 0:
        return table
    return Group(table, Text(f"... and {rest:,} more {what}"))


def cell(text: str, limit: int) -> Text:
    """A name that came from the program, harmless and short."""
    return Text(one_line(text, limit) or '""')


def counted(counts: Mapping[str, int], limit: int) -> str:
    """The largest counts and their names, in one line."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{one_line(n, 60)} {format_count(c)}" for n, c in ranked[:limit])
    return text + (f", and {len(ranked) - limit} more" if len(ranked) > limit else "")


def percent(ratio: float) -> str:
    """A ratio as percent in three digits; never 0 % or 100 % unless it is so. `-`: NaN."""
    if ratio != ratio:  # noqa: PLR0124 - NaN: there were no accesses
        return "-"
    percent = 100 * ratio
    if percent == 0:
        return "0 %"
    if percent < 0.001:
        return "<0.001 %"
    if percent == 100:
        return "100 %"
    if percent >= 10:
        text = f"{percent:.1f}"
        return f"{'>99.9' if text == '100.0' else text} %"
    return f"{percent:.{2 - _exponent(percent)}f} %"


def share(part: float, whole: float) -> str:
    """A part of a whole as percent in at most three digits, for narrow columns. `-`: of nothing."""
    if not whole:
        return "-"
    ratio = part / whole
    if 0 < ratio < 1e-4:
        return "<0.01 %"
    return f"{100 * ratio:.2f} %" if 0 < ratio < 0.09995 else percent(ratio)


def _exponent(value: float) -> int:
    """The power of ten of the first of three digits: -2 of 0.0123, 0 of 9.99."""
    return int(f"{value:.2e}".partition("e")[2])


def not_recorded() -> Text:
    """What stands in place of a fact that was not recorded."""
    return Text("Not recorded.")
