# SPDX-License-Identifier: Apache-2.0
"""The part of a terminal report of a prediction about leaving the enclave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sgxlens.report.terminal.layout import counted, fitted_table, with_rest
from sgxlens.report.terminal.values import value_range
from sgxlens.units import format_count

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sgxlens.prediction.exits import Exits

_COUNTED_MAX = 6


def exits(found: Exits, width: int, top: int) -> RenderableType:
    """What becomes of system calls and traps, and what was not counted."""
    rows = [
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
        table = fitted_table(headings, rows, width, (0, 5))
        parts.append(with_rest(table, len(found.rows) - top, "kinds"))
    else:
        parts.append(Text("No system call and no trap."))
    for what, counts in (
        ("Not counted, in the whole recording", found.left_out),
        ("Not known to the runtime's rules, taken for an OCALL each", found.unknown),
    ):
        if counts:
            parts.append(Text(f"{what}: {counted(counts, _COUNTED_MAX)}."))
    return Group(*parts)
