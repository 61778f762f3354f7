# SPDX-License-Identifier: Apache-2.0
"""Stacks of threads: what was mapped for them and used of it, and how a runtime maps them.

The C library maps a stack for each thread that it starts: as large as the limit of the first
thread's stack was when the program began (RLIMIT_STACK; pthread_create(3)) unless the program asks
for its own size, and a page below it that guards it. A library OS gives a limit of its own.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from sgxlens.enclave.mappings.history import Event
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sgxlens.enclave.mappings.history import Touches
    from sgxlens.recording.reader import Recording

# Linux's limit, for recordings that do not tell it.
_LINUX_LIMIT_BYTES = 8 << 20
# How far below the first stack what is not mapped is the stack itself, which grows without an
# event; as in the regions of a recording.
_FIRST_BYTES_MAX = 64 << 20
# No program maps anything there: what a stack takes that is larger than the recorded one.
_BEYOND, _BEYOND_BYTES = 1 << 62, 1 << 40
_COLUMNS = ("process", "position", "event", "address", "size_bytes", "protection", "kind")

Addresses = tuple[int, int]


class ThreadStack(NamedTuple):
    """A stack that the C library mapped, of the size that the limit gives.

    Attributes:
        position: when it was mapped.
        address, size_bytes: its range, with the page that guards it.
        used_bytes: from its end down to the lowest page accessed; None: not known.
    """

    position: int
    address: int
    size_bytes: int
    used_bytes: int | None


class Stacks(NamedTuple):
    """The stacks of a process.

    Attributes:
        first_bytes: what the first thread used; 0: it is not known.
        threads: those that the C library mapped for others, of the size that the limit gives.
    """

    first_bytes: int
    threads: tuple[ThreadStack, ...]

    @property
    def deepest_bytes(self) -> int:
        """The most that a thread used; 0: it is not known."""
        return max([self.first_bytes, *(stack.used_bytes or 0 for stack in self.threads)])


def stacks(recording: Recording, process: int, touches: Touches | None) -> Stacks:
    """The stacks of a process.

    Args:
        recording: the recording.
        process: the process.
        touches: all first accesses to pages; None: not known.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    table = recording.table("mappings").select(_COLUMNS)
    rows = table.filter(pc.equal(table["process"], process)).to_pylist()
    first = next((row for row in rows if row["kind"] == "stack"), None)
    first_bytes = 0
    if first is not None:
        end = first["address"] + first["size_bytes"]
        first_bytes = end - first_stack_start(first["address"], rows, touches)
    default = recording.metadata.host.thread_stack_bytes or _LINUX_LIMIT_BYTES
    # Releases of glibc before 2.27 take the page that guards it from the stack.
    sizes = (default, default + PAGE_BYTES)
    return Stacks(
        first_bytes,
        tuple(
            ThreadStack(
                rows[number]["position"],
                rows[number]["address"],
                rows[number]["size_bytes"],
                _used_bytes(rows, number, touches),
            )
            for number in sorted(stack_rows(rows, thread_starts(recording, process)))
            if rows[number]["size_bytes"] in sizes
        ),
    )


def thread_starts(recording: Recording, process: int) -> list[dict[str, Any]]:
    """Rows of the table ``threads`` of a process, as far as they tell stacks."""
    if not recording.has_table("threads"):
        return []
    table = recording.table("threads")
    mine = table.filter(pc.equal(table["process"], process))
    found: list[dict[str, Any]] = mine.select(["stack_pointer", "start_position"]).to_pylist()
    return found


def stack_rows(rows: Sequence[dict[str, Any]], threads: Iterable[dict[str, Any]]) -> set[int]:
    """The anonymous mappings that threads have for a stack, as indices into `rows`.

    Both are of one process: rows of the tables ``mappings`` and ``threads``.
    """
    found = set()
    maps = [i for i, row in enumerate(rows) if row["event"] == "map" and row["kind"] == "anonymous"]
    positions = np.array([rows[i]["position"] for i in maps], dtype=np.uint64)
    starts = np.array([rows[i]["address"] for i in maps], dtype=np.uint64)
    sizes = np.array([rows[i]["size_bytes"] for i in maps], dtype=np.uint64)
    for thread in threads:
        if not thread["stack_pointer"]:
            continue  # not known
        # A stack pointer may be just above what it will push first.
        below = np.uint64(thread["stack_pointer"] - 1)
        holds = (starts <= below) & (below - starts < sizes)
        holds &= positions <= np.uint64(thread["start_position"])
        if holds.any():
            found.add(maps[int(np.flatnonzero(holds)[-1])])
    return found


def first_stack_start(start: int, rows: Iterable[dict[str, Any]], touches: Touches | None) -> int:
    """Where the first stack, mapped from `start` on, ends below once it is as large as ever."""
    floor = max(start - _FIRST_BYTES_MAX, 0)
    ends = (row["address"] + row["size_bytes"] for row in rows if row["event"] == "map")
    floor = max([floor, *(end for end in ends if floor < end <= start)])
    if touches is None:
        return start
    lowest = touches.lowest_page(-(-floor // PAGE_BYTES), start // PAGE_BYTES, 0, None)
    return start if lowest is None else lowest * PAGE_BYTES


def _used_bytes(rows: Sequence[dict[str, Any]], number: int, touches: Touches | None) -> int | None:
    """What threads used of a stack until its addresses were of something else."""
    if touches is None:
        return None
    row = rows[number]
    start, end = row["address"], row["address"] + row["size_bytes"]
    until = next(
        (
            later["position"]
            for later in rows[number + 1 :]
            if later["event"] in ("map", "unmap")
            and later["address"] < end
            and start < later["address"] + later["size_bytes"]
        ),
        None,
    )
    lowest = touches.lowest_page(start // PAGE_BYTES, -(-end // PAGE_BYTES), row["position"], until)
    return 0 if lowest is None else end - lowest * PAGE_BYTES


def with_stacks_of(
    events: Iterable[Event], threads: Sequence[ThreadStack], size_bytes: int
) -> Iterator[Event]:
    """Events of an address space as if these stacks were of another size, with their guard page.

    What is cut off is the lower end, which no thread uses as long as `size_bytes` is not below what
    they used. What a stack takes more is mapped elsewhere.

    Args:
        events: in order, of whole pages.
        threads: the stacks.
        size_bytes: of the mapping of each; 0: there are none.
    """
    places = {(stack.position, stack.address): stack for stack in threads}
    resizing = _Resizing()
    for event in events:
        stack = places.get((event.position, event.address)) if event.action == "map" else None
        yield from resizing.freed(event)
        if stack is not None:
            yield from resizing.mapped(event, stack.size_bytes - size_bytes)
        else:
            yield from resizing.changed(event)


class _Resizing:
    """What of the addresses of stacks is not mapped as it was, while events go by."""

    def __init__(self) -> None:
        self._gone: list[Addresses] = []
        self._more: dict[int, Addresses] = {}  # by the last page of the stack
        self._places = count(_BEYOND, _BEYOND_BYTES)

    def freed(self, event: Event) -> Iterator[Event]:
        """Unmaps what stacks have elsewhere, if the event takes their addresses."""
        if event.action in ("map", "unmap", "move"):
            end = event.address + event.size_bytes
            for place in [place for place in self._more if event.address <= place < end]:
                low, high = self._more.pop(place)
                yield event._replace(action="unmap", address=low, size_bytes=high - low)

    def mapped(self, event: Event, cut_bytes: int) -> Iterator[Event]:
        """A stack that is mapped without its lower end, or with more (`cut_bytes` below 0)."""
        start, end = event.address, event.address + event.size_bytes
        self._gone = _without(self._gone, (start, end))
        if cut_bytes < 0:
            low = next(self._places)
            self._more[end - PAGE_BYTES] = (low, low - cut_bytes)
            yield event._replace(address=low, size_bytes=-cut_bytes)
        elif cut_bytes > 0:
            self._gone.append((start, min(start + cut_bytes, end)))
        yield from _pieces(event, self._gone)

    def changed(self, event: Event) -> Iterator[Event]:
        """Another event, without what is not mapped."""
        place = event.address, event.address + event.size_bytes
        if event.action in ("unmap", "protect", "discard"):
            yield from _pieces(event, self._gone)
        else:
            yield event
        if event.action in ("map", "unmap", "move"):
            self._gone = _without(self._gone, place)


def _pieces(event: Event, holes: Iterable[Addresses]) -> Iterator[Event]:
    """An event without some ranges."""
    pieces = [(event.address, event.address + event.size_bytes)]
    for hole in holes:
        pieces = _without(pieces, hole)
    for low, high in pieces:
        yield event._replace(address=low, size_bytes=high - low)


def _without(ranges: Iterable[Addresses], hole: Addresses) -> list[Addresses]:
    """What of some ranges is not in a hole."""
    return [
        piece
        for start, end in ranges
        for piece in ((start, min(end, hole[0])), (max(start, hole[1]), end))
        if piece[0] < piece[1]
    ]
