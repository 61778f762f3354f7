# SPDX-License-Identifier: Apache-2.0
"""System calls as a recording has them, and what their replay adds to each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from sgxlens.recording.syscalls import ERRNO_MAX, errno_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.enclave.files import KnownFile
    from sgxlens.enclave.system_calls.expressions import Value
    from sgxlens.recording.reader import Recording


@dataclass(eq=False)
class Handle:
    """What one or more descriptors are of.

    Attributes:
        kind: as of `DESCRIPTOR_KINDS`; ``file``: what `file` is.
        file: the file; None: it is none.
        offset: where the next read or write is, in bytes.
        descriptors: how many descriptors are of it.
    """

    kind: str
    file: KnownFile | None = None
    offset: int = 0
    descriptors: int = 1
    is_written: bool = False
    is_path_only: bool = False
    is_nonblocking: bool = False
    family: str = "none"
    entries: Call | None = None


@dataclass(slots=True, eq=False)
class Call:
    """One system call, or a part of one that closes several descriptors.

    Attributes:
        facts: those that are not as of a call without arguments (see `VARIABLES`).
        handle: what its descriptor is of.
        path_file: the file that its path names.
        closed: handle that it closes, if that was the last descriptor.
        maybe: facts that may be otherwise, with what they may be.
        is_part: it belongs to the call before it, which counts.
    """

    process: int
    phase: int
    thread: int
    position: int
    name: str
    caller: str
    facts: dict[str, Value]
    handle: Handle | None = None
    path_file: KnownFile | None = None
    maybe: dict[str, Value] = field(default_factory=dict)
    is_part: bool = False


@dataclass(slots=True)
class Row:
    """A row of table ``syscalls``; ``a`` are its arguments."""

    name: str
    position: int
    a: tuple[int, ...]
    result: int | None
    path: str | None

    @property
    def failed(self) -> bool:
        """Whether it returned an error."""
        return self.result is not None and -ERRNO_MAX <= self.result < 0

    @property
    def moved(self) -> int:
        """A count that it returned; 0 where it failed."""
        return max(self.result or 0, 0)


def recorded_calls(recording: Recording, process: int) -> Iterator[tuple[Row, Call]]:
    """The system calls of a process in their order: as recorded, and for the replay to complete."""
    table = recording.table("syscalls")
    table = table.filter(pc.equal(table["process"], process))
    columns = ("phase", "thread", "position", "name", "caller", "result", "path")
    values: list[list[Any]] = [table[column].to_pylist() for column in columns]
    arguments = zip(*(table[f"arg{index}"].to_pylist() for index in range(6)), strict=True)
    for (phase, thread, position, name, caller, result, path), given in zip(
        zip(*values, strict=True), arguments, strict=True
    ):
        row = Row(name, position, given, result, path)
        facts: dict[str, Value] = {"result": result or 0}
        if row.failed:
            facts["failed"] = True
            facts["error"] = errno_name(-result)
        yield row, Call(process, phase, thread, position, name, caller, facts)


class Threads:
    """The threads of a process over time.

    Attributes:
        kernel_tids: their ids in the kernel.
    """

    def __init__(self, recording: Recording, process: int) -> None:
        rows = [
            row
            for row in (
                recording.table("threads").to_pylist() if recording.has_table("threads") else ()
            )
            if row["process"] == process
        ]
        self._starts = sorted(row["start_position"] for row in rows)
        self._ends = sorted(r["end_position"] for r in rows if r["end_position"] is not None)
        self.kernel_tids = {row["kernel_tid"] for row in rows}

    def others_at(self, position: int) -> int:
        """Threads beside the one that asks."""
        started = bisect_right(self._starts, position)
        return max(started - bisect_left(self._ends, position) - 1, 0)
