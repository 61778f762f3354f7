# SPDX-License-Identifier: Apache-2.0
"""The parts of a report that count events: system calls, traps, signals, threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sgxlens.recording.syscalls import ERRNO_MAX, errno_name, is_libc

if TYPE_CHECKING:
    from sgxlens.recording.reader import Recording

Keys = set[tuple[int, int]]


@dataclass
class SyscallRow:
    """All calls of one name.

    ``total_count`` counts the whole recording (of the process asked for), all other numbers the
    selection. ``unreturned_count``: calls that never came back, such as exit.
    """

    name: str
    count: int = 0
    total_count: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    unreturned_count: int = 0
    kernel_read_bytes: int = 0
    kernel_write_bytes: int = 0
    callers: dict[str, int] = field(default_factory=dict)

    @property
    def error_count(self) -> int:
        """Calls that failed."""
        return sum(self.errors.values())

    @property
    def foreign_callers(self) -> dict[str, int]:
        """Calls by object file, where that is neither the C library nor unknown."""
        return {name: n for name, n in self.callers.items() if name and not is_libc(name)}

    @property
    def unknown_caller_count(self) -> int:
        """Calls of which nobody knows which object file made them."""
        return self.callers.get("", 0)


@dataclass
class TrapRow:
    """One kind of instruction; ``leaves`` counts CPUID leaves of the selection."""

    kind: str
    count: int = 0
    total_count: int = 0
    leaves: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SignalRow:
    """Deliveries of one signal to a handler."""

    name: str
    count: int


@dataclass(frozen=True)
class ThreadSection:
    """Threads over the whole recording; ``alive_max``: most at the same time in one process."""

    count: int
    process_count: int
    alive_max: int
    unended_count: int


def syscall_rows(
    recording: Recording, selection: Keys, process: int | None
) -> tuple[SyscallRow, ...] | None:
    """System calls by name, most of the selection first; None: not recorded."""
    table = _rows(recording, "syscalls", process)
    if table is None:
        return None
    result = table["result"]
    is_error = pc.and_(pc.less(result, 0), pc.greater_equal(result, -ERRNO_MAX))
    table = table.append_column(
        "error", pc.if_else(pc.fill_null(is_error, fill_value=False), result, 0)
    ).append_column("unreturned", pc.is_null(result).cast(pa.int64()))
    keys = ["process", "phase", "name", "caller", "error"]
    sums = ["kernel_read_bytes", "kernel_write_bytes", "unreturned"]
    groups = table.group_by(keys).aggregate([("name", "count"), *((name, "sum") for name in sums)])
    rows: dict[str, SyscallRow] = {}
    for group in groups.to_pylist():
        row = rows.setdefault(group["name"], SyscallRow(group["name"]))
        count = group["name_count"]
        row.total_count += count
        if (group["process"], group["phase"]) not in selection:
            continue
        row.count += count
        row.unreturned_count += group["unreturned_sum"]
        row.kernel_read_bytes += group["kernel_read_bytes_sum"]
        row.kernel_write_bytes += group["kernel_write_bytes_sum"]
        _add(row.callers, group["caller"], count)
        if group["error"]:
            _add(row.errors, errno_name(-group["error"]), count)
    return tuple(sorted(rows.values(), key=lambda row: (-row.count, -row.total_count, row.name)))


def trap_rows(
    recording: Recording, selection: Keys, process: int | None
) -> tuple[TrapRow, ...] | None:
    """Traps by kind, most of the selection first; None: not recorded."""
    table = _rows(recording, "traps", process)
    if table is None:
        return None
    rows: dict[str, TrapRow] = {}
    for trap in table.to_pylist():
        row = rows.setdefault(trap["kind"], TrapRow(trap["kind"]))
        row.total_count += trap["count"]
        if (trap["process"], trap["phase"]) in selection:
            row.count += trap["count"]
            if trap["leaf"] is not None:
                _add(row.leaves, trap["leaf"], trap["count"])
    return tuple(sorted(rows.values(), key=lambda row: (-row.count, -row.total_count, row.kind)))


def signal_rows(recording: Recording, process: int | None) -> tuple[SignalRow, ...] | None:
    """Signals by name over the whole recording, most first; None: not recorded."""
    table = _rows(recording, "signals", process)
    if table is None:
        return None
    counts: dict[str, int] = {}
    for name in table["name"].to_pylist():
        _add(counts, name, 1)
    return tuple(SignalRow(n, c) for n, c in sorted(counts.items(), key=lambda i: (-i[1], i[0])))


def thread_section(recording: Recording, process: int | None) -> ThreadSection | None:
    """Threads over the whole recording; None: not recorded."""
    table = _rows(recording, "threads", process)
    if table is None:
        return None
    changes: dict[int, list[tuple[int, int]]] = {}
    for thread in table.to_pylist():
        lived = changes.setdefault(thread["process"], [])
        lived.append((thread["start_position"], 1))
        if thread["end_position"] is not None:
            lived.append((thread["end_position"], -1))
    alive_max = 0
    for lived in changes.values():
        alive = 0
        for _, change in sorted(lived):  # an end comes before a start at the same position
            alive += change
            alive_max = max(alive_max, alive)
    return ThreadSection(
        count=table.num_rows,
        process_count=len(changes),
        alive_max=alive_max,
        unended_count=table["end_position"].null_count,
    )


def _rows(recording: Recording, name: str, process: int | None) -> Any:
    if not recording.has_table(name):
        return None
    table = recording.table(name)
    return table if process is None else table.filter(pc.equal(table["process"], process))


def _add(counts: dict[Any, int], key: Any, count: int) -> None:
    counts[key] = counts.get(key, 0) + count
