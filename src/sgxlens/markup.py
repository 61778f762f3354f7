# SPDX-License-Identifier: Apache-2.0
"""Small tables of HTML, in which notebooks show objects: no style, no script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TEXT_MAX = 200


def html_table(
    caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], note: str = ""
) -> str:
    """A table whose first column names its rows; whatever the text is, it stays text.

    Args:
        caption: what the table says.
        headings: a heading for each column; none: the table has none.
        rows: the rows.
        note: a sentence below; empty: none.
    """
    head = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in headings)
    lines = [f"<caption>{_text(caption)}</caption>"]
    if head:
        lines.append(f"<thead><tr>{head}</tr></thead>")
    lines.append("<tbody>")
    for first, *rest in rows:
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>')
    lines.append("</tbody>")
    table = "<table>\n{}\n</table>".format("\n".join(lines))
    return f"{table}\n<p>{_text(note)}</p>" if note else table


def _text(text: str) -> str:
    return escape(one_line(text, _TEXT_MAX))
