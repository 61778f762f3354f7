# SPDX-License-Identifier: Apache-2.0
"""The part of a terminal report of a prediction about leaving the enclave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sgxlens.report.terminal.layout import fitted_table, with_rest
from sgxlens.report.terminal.values import value_range
from sgxlens.text import one_line
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from sgxlens.prediction.exits import Exits

_COUNTED_MAX = 6


def exits(found: Exits, width: int, top: int) -> RenderableType:
    """What becomes of system calls and traps, and what was not counted."""
    rows: list[list[str]] = [
        [
            f"{row.name} (background)" if row.is_background else row.name,
            format_count(row.count),
            value_range(row.ocalls, format_count),
            value_range(row.exceptions, format_count),
            value_range(row.aex, format_count),
            row.why,
        ]
        for row in found.rows[:top]
    ]
    parts: list[RenderableType] = []
    if rows:
        headings = ["call or event", "count", "OCALLs", "traps", "AEXs", "why"]
        # What never happens takes no room.
        used = [i for i in range(6) if i not in {3, 4} or any(row[i] != "0" for row in rows)]
        table = fitted_table(
            [headings[i] for i in used],
            [[row[i] for i in used] for row in rows],
            width,
            (0, len(used) - 1),
            folded=len(used) - 1,
        )
        parts.append(with_rest(table, len(found.rows) - top, "kinds"))
    else:
        parts.append(Text("No system call and no trap."))
    for what, counts in (
        ("Not counted, in the whole recording", found.left_out),
        ("Not known to the runtime's rules, taken for an OCALL each", found.unknown),
    ):
        if counts:
            parts.append(Text(f"{what}:"))
            parts.append(Text(_listed(counts)))
    return Group(*parts)


def _listed(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"- {format_count(count)} {one_line(name, 120)}" for name, count in ranked]
    rest = len(lines) - _COUNTED_MAX
    return "\n".join([*lines[:_COUNTED_MAX], *([f"- and {rest} more"] if rest > 0 else [])])
