# SPDX-License-Identifier: Apache-2.0
"""The events of an address space, from the tables of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sgxlens.attribution.columns import integers, rows_of
from sgxlens.enclave import linux
from sgxlens.enclave.mappings.history import (
    Action,
    AddressSpaceHistory,
    Event,
    State,
    Touches,
    replay,
)
from sgxlens.enclave.mappings.stacks import (
    Stacks,
    first_stack_start,
    stack_rows,
    stacks,
    thread_starts,
    with_stacks_of,
)
from sgxlens.enclave.system_calls.callers import background_threads
from sgxlens.enclave.visited_pages import visited_pages
from sgxlens.errors import RecordingError
from sgxlens.recording.bitmaps import Integers
from sgxlens.recording.format import MAPPING_KINDS, PAGE_BYTES
from sgxlens.recording.reader import Recording

_ADDRESSES = 1 << 64
# No program makes as many accesses.
_POSITIONS = 1 << 63
_CALLS = ("mmap", "munmap", "brk", "mremap", "madvise")
_ACTIONS: dict[str, Action] = {
    "map": "map",
    "unmap": "unmap",
    "protect": "protect",
    "remap": "move",
    "break_grow": "map",
    "break_shrink": "unmap",
}
_HEAP_STATE = State(MAPPING_KINDS.index("heap"), is_accessible=True, is_lazy=False)
_STACK = MAPPING_KINDS.index("stack")
# Events at the same position: what a system call did, then what is said of the call, then marks.
_OF_MAPPINGS, _OF_CALLS, _OF_PHASES = range(3)


def address_space(
    recording: Recording, process: int, stack_bytes: int | None = None
) -> AddressSpaceHistory:
    """What a process had mapped and accessed over time; a phase starts an interval of its own.

    The tracer's own mappings are left out. The stack of the first thread counts from its start on
    with all pages that it comes to use.

    Args:
        recording: the recording.
        process: the process.
        stack_bytes: what the C library maps for the stack of a thread, with its guard page, where
            the program does not ask for its own size; None: as recorded.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    return recording.derived(
        (address_space, process, stack_bytes), lambda: _replayed(recording, process, stack_bytes)
    )


def recorded_stacks(recording: Recording, process: int) -> Stacks:
    """The stacks of the threads of a process.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    return recording.derived(
        (recorded_stacks, process), lambda: stacks(recording, process, _touches(recording, process))
    )


def _replayed(recording: Recording, process: int, stack_bytes: int | None) -> AddressSpaceHistory:
    touches = _touches(recording, process)
    phases = recording.select_phases(None, process)
    calls = _Calls(recording, process)
    numbered = [
        *_mapping_events(recording, process, touches, calls),
        *calls.events(),
        *((_OF_PHASES, Event(phase.start_position, "mark")) for phase in phases),
    ]
    if any(event.position >= _POSITIONS for _, event in numbered):
        raise RecordingError(
            f"{recording.path} is corrupted: mappings or syscalls has a position that cannot be"
        )
    # Stable: within a table the order of the rows is kept.
    numbered.sort(key=lambda item: (item[1].position, item[0]))
    events = [event for _, event in numbered]
    if stack_bytes is not None:
        threads = recorded_stacks(recording, process).threads
        events = list(with_stacks_of(events, threads, stack_bytes))
    return replay(events, touches)


def _rows(recording: Recording, table: str, process: int, *columns: str) -> list[dict[str, Any]]:
    rows = recording.table(table)
    found: list[dict[str, Any]] = (
        rows.filter(pc.equal(rows["process"], process)).select(list(columns)).to_pylist()
    )
    return found


def _touches(recording: Recording, process: int) -> Touches | None:
    """Starts of page visits, among which every first access to a page is."""
    if not recording.has_table("page_visits") or recording.metadata.settings.sampling_rate < 1:
        return None
    threads = [t for of, t in background_threads(recording) if of == process]
    contexts: Integers = np.zeros(0, dtype=np.int64)
    if threads and recording.has_table("contexts"):
        rows = rows_of(recording, "contexts", process, ("context", "thread"))
        contexts = integers(rows["context"])[np.isin(integers(rows["thread"]), threads)]

    def find() -> Touches:
        rows = rows_of(recording, "page_visits", process, ("position", "context"))
        context = rows["context"].to_numpy()
        is_background = np.zeros(int(context.max(initial=0)) + 1, dtype=np.bool_)
        is_background[contexts[contexts < is_background.size]] = True
        return Touches(
            visited_pages(recording, process),
            rows["position"].to_numpy(),
            is_background[context],
        )

    key = (_touches, process, contexts.tobytes())
    return recording.derived(key, find, ("page_visits",))


def _mapping_events(
    recording: Recording, process: int, touches: Touches | None, calls: _Calls
) -> Iterator[tuple[int, Event]]:
    rows = _rows(
        recording,
        "mappings",
        process,
        *("position", "event", "address", "size_bytes", "protection", "kind", "name"),
        "from_address",
    )
    rows = [row for row in rows if row["size_bytes"] and not is_tracer_file(row["name"])]
    of_threads = stack_rows(rows, thread_starts(recording, process))
    for number, row in enumerate(rows):
        position, address = row["position"], row["address"]
        # Linux maps whole pages; sizes of files and heaps need not be.
        start = address // PAGE_BYTES * PAGE_BYTES
        end = -(-(address + row["size_bytes"]) // PAGE_BYTES) * PAGE_BYTES
        if end > _ADDRESSES:
            raise RecordingError(
                f"{recording.path} is corrupted: mappings has a range beyond the last address"
            )
        if row["kind"] == "stack":
            start = first_stack_start(start, rows, touches)
        state = State(
            _STACK if number in of_threads else MAPPING_KINDS.index(row["kind"] or "anonymous"),
            is_accessible=any(letter in row["protection"] for letter in "rwx"),
            is_lazy=bool(calls.map_flags.get((position, address), 0) & linux.MAP_NORESERVE),
        )
        if row["event"] == "break_grow":
            state = _HEAP_STATE
        yield (
            _OF_MAPPINGS,
            Event(
                position,
                _ACTIONS[row["event"]],
                start,
                end - start,
                state=state,
                from_address=row["from_address"] or 0,
                thread=calls.threads.get(position),
            ),
        )


def is_tracer_file(name: str) -> bool:
    """Whether a file is mapped only because the program is traced."""
    file = PurePosixPath(name).name
    return file.startswith(("vgpreload_", "sgxlens-amd64-"))


class _Calls:
    """System calls of a process that change its address space, and succeeded.

    Attributes:
        rows: the calls.
        threads: who made them, by position.
        map_flags: flags of mmap(2) by position and address of the mapping.
    """

    def __init__(self, recording: Recording, process: int) -> None:
        self.rows: list[dict[str, Any]] = []
        if recording.has_table("syscalls"):
            table = recording.table("syscalls")
            chosen = pc.and_(
                pc.equal(table["process"], process),
                pc.is_in(table["name"], pa.array(_CALLS, pa.string())),
            )
            columns = ["position", "thread", "name", "result", *(f"arg{i}" for i in range(4))]
            rows = table.filter(chosen).select(columns).to_pylist()
            self.rows = [r for r in rows if r["result"] is not None and r["result"] >= 0]
        self.threads = {row["position"]: row["thread"] for row in self.rows}
        self.map_flags = {
            (row["position"], row["result"]): row["arg3"]
            for row in self.rows
            if row["name"] == "mmap"
        }

    def events(self) -> Iterator[tuple[int, Event]]:
        """What the mappings do not tell: content that is discarded, or copied."""
        for row in self.rows:
            if row["name"] == "madvise" and row["arg2"] == linux.MADV_DONTNEED:
                start = row["arg0"] // PAGE_BYTES * PAGE_BYTES
                found = Event(row["position"], "discard", start, _pages_bytes(row["arg1"]))
            elif row["name"] == "mremap" and row["arg2"] > row["arg1"]:
                found = Event(row["position"], "copy", row["result"], _pages_bytes(row["arg1"]))
            else:
                continue
            if found.size_bytes:
                yield _OF_CALLS, found._replace(thread=row["thread"])


def _pages_bytes(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
