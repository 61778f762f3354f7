# SPDX-License-Identifier: Apache-2.0
"""A recording without some of its threads: without their stacks and what they map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sgxlens.enclave.mappings.stacks import stack_rows
from sgxlens.recording.schemas import TABLES

if TYPE_CHECKING:
    from collections.abc import Collection

    from sgxlens.recording.reader import Recording

_MAPPING_CALLS = ("mmap", "munmap", "mprotect", "mremap")


def without_threads(
    recording: Recording, process: int, starts: Collection[tuple[int, int]]
) -> Recording:
    """The recording as if some threads had not been, nor the memory that they and theirs map.

    Their system calls and accesses stay: nobody waits for them, and they are not charged.

    Args:
        recording: the recording.
        process: whose threads.
        starts: the threads, by number and position of their start; numbers return.

    Raises:
        RecordingError: the recording is damaged.
    """
    key = (without_threads, process, frozenset(starts))
    return recording.derived(key, lambda: _without(recording, process, starts))


def _without(recording: Recording, process: int, starts: Collection[tuple[int, int]]) -> Recording:
    threads = recording.table("threads").to_pylist()
    gone = [
        row
        for row in threads
        if row["process"] == process and (row["thread"], row["start_position"]) in starts
    ]
    calls = _mapping_positions(recording, process, gone)
    mappings = recording.table("mappings").to_pylist()
    mine = [number for number, row in enumerate(mappings) if row["process"] == process]
    stacks = {mine[i] for i in stack_rows([mappings[number] for number in mine], gone)}
    kept = [
        row
        for number, row in enumerate(mappings)
        if number not in stacks and (row["process"] != process or row["position"] not in calls)
    ]
    rest = [row for row in threads if row not in gone]
    return recording.with_tables(
        mappings=pa.Table.from_pylist(kept, TABLES["mappings"].schema),
        threads=pa.Table.from_pylist(rest, TABLES["threads"].schema),
    )


def _mapping_positions(recording: Recording, process: int, gone: list[dict[str, Any]]) -> set[int]:
    """Positions at which these threads change the address space."""
    if not recording.has_table("syscalls"):
        return set()
    table = recording.table("syscalls")
    chosen = pc.and_(
        pc.equal(table["process"], process),
        pc.is_in(table["name"], pa.array(_MAPPING_CALLS, pa.string())),
    )
    lives = [
        (row["thread"], row["start_position"], row["end_position"] or float("inf")) for row in gone
    ]
    return {
        row["position"]
        for row in table.filter(chosen).select(["thread", "position"]).to_pylist()
        if any(
            row["thread"] == thread and start <= row["position"] <= end
            for thread, start, end in lives
        )
    }
