# SPDX-License-Identifier: Apache-2.0
"""The parts of a terminal report that count events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sgxlens.report.terminal.layout import (
    ROWS_MAX,
    cell,
    counted,
    new_table,
    not_recorded,
    with_rest,
)
from sgxlens.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from sgxlens.report.document import Document
    from sgxlens.report.events import SyscallRow

_OTHER_SYSCALLS = 8


def syscalls(document: Document) -> RenderableType:
    """System calls by name."""
    rows = document.syscalls
    if rows is None:
        return not_recorded()
    if not rows:
        return Text("None in the whole recording.")
    table = new_table(
        "name", "calls", "errors", "kernel\nread", "kernel\nwrote", "not by\nlibc", "all\nphases"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    # Those of the phase, and of the others enough to see what kind of program it is.
    shown = min(max(sum(row.count > 0 for row in rows), _OTHER_SYSCALLS), ROWS_MAX)
    for row in rows[:shown]:
        table.add_row(
            cell(row.name, 24),
            format_count(row.count),
            _errors(row),
            format_bytes(row.kernel_read_bytes),
            format_bytes(row.kernel_write_bytes),
            format_count(sum(row.foreign_callers.values())),
            format_count(row.total_count),
        )
    parts: list[RenderableType] = [with_rest(table, len(rows) - shown, "kinds")]
    if not any(row.count for row in rows):
        parts.insert(0, Text("None in this phase."))
    foreign = _sum_of(row.foreign_callers for row in rows)
    if foreign:
        parts.append(Text(f"Not by libc: {counted(foreign, 6)}"))
    unknown = sum(row.unknown_caller_count for row in rows)
    if unknown:
        parts.append(Text(f"Of unknown origin: {format_count(unknown)} calls"))
    unreturned = {row.name: row.unreturned_count for row in rows if row.unreturned_count}
    if unreturned:
        parts.append(Text(f"Did not return: {counted(unreturned, 6)}"))
    return Group(*parts)


def _errors(row: SyscallRow) -> str:
    if not row.errors:
        return "0"
    ranked = sorted(row.errors.items(), key=lambda item: (-item[1], item[0]))
    more = " ..." if len(ranked) > 1 else ""
    return f"{format_count(row.error_count)} {ranked[0][0]}{more}"


def traps(document: Document) -> RenderableType:
    """Instructions that leave an enclave."""
    rows = document.traps
    if rows is None:
        return not_recorded()
    if not rows:
        return Text("None in the whole recording.")
    table = new_table("instruction", "count", "all phases", "CPUID leaves")
    table.columns[1].justify = table.columns[2].justify = "right"
    for row in rows:
        leaves = {f"{leaf:#x}": count for leaf, count in row.leaves.items()}
        table.add_row(
            row.kind, format_count(row.count), format_count(row.total_count), counted(leaves, 4)
        )
    return table


def signals(document: Document) -> RenderableType:
    """Signals that were delivered."""
    rows = document.signals
    if rows is None:
        return not_recorded()
    if not rows:
        return Text("None.")
    return Text(counted({row.name: row.count for row in rows}, 12))


def threads(document: Document) -> RenderableType:
    """How many threads there were."""
    section = document.threads
    if section is None:
        return not_recorded()
    where = f" in {section.process_count} processes" if section.process_count > 1 else ""
    return Text(
        f"{format_count(section.count)}{where}; at most {format_count(section.alive_max)} at the"
        f" same time{' in one process' if where else ''}"
    )


def _sum_of(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
