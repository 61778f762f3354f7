# SPDX-License-Identifier: Apache-2.0
"""Replays the address space of a process: what was mapped when, and how much of it was in use.

The events come from the tables ``mappings`` and ``syscalls``, as `sgxlens.enclave.mappings.events`
says, and the accesses from the starts of page visits. `sgxlens.enclave.mappings._reference` is the
slow twin that says page by page what is computed here range by range.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sgxlens.recording.distinct import Distinct
from sgxlens.recording.format import MAPPING_KINDS, PAGE_BYTES

Integers = npt.NDArray[np.int64]

#: ``map``: from here on the range is as the event says; pages in it hold nothing yet. ``unmap``: it
#: is mapped no longer. ``protect``: only whether it can be accessed changes. ``move``: what is at
#: `from_address` is at `address` from here on, with its content. ``discard``: it stays mapped and
#: loses its content. ``copy``: a block of this size is kept beside its copy for a moment. ``mark``:
#: nothing changes, a phase starts.
Action = Literal["map", "unmap", "protect", "move", "discard", "copy", "mark"]


class State(NamedTuple):
    """What is known of mapped memory.

    Attributes:
        kind: index into `MAPPING_KINDS`.
        is_accessible: whether it may be read, written or executed; what may not (``PROT_NONE``) is
            reserved address space to Linux, and memory like any other to some runtimes.
        is_lazy: mapped with ``MAP_NORESERVE``.
    """

    kind: int
    is_accessible: bool
    is_lazy: bool


_STATES = tuple(
    State(kind, is_accessible=accessible, is_lazy=lazy)
    for kind in range(len(MAPPING_KINDS))
    for accessible in (False, True)
    for lazy in (False, True)
)
_CODES = {state: code for code, state in enumerate(_STATES)}


class Event(NamedTuple):
    """One change of the address space. Addresses and sizes are in bytes, of whole pages.

    Attributes:
        position: line accesses that the process had made before.
        action: what happens.
        address, size_bytes: the range.
        state: of ``map``; ``protect`` takes ``is_accessible`` only.
        from_address: of ``move``.
        thread: number of the thread that makes it happen; None: not known.
    """

    position: int
    action: Action
    address: int = 0
    size_bytes: int = 0
    state: State = State(0, is_accessible=True, is_lazy=False)
    from_address: int = 0
    thread: int | None = None


@dataclass(frozen=True, eq=False)
class Touches:
    """Accesses to pages that may be the first ones, by position.

    Attributes:
        pages: numbers of the pages.
        position: line accesses that the process had made before, ascending.
        is_background: whether a thread makes it that phases do not wait for.
    """

    pages: Distinct
    position: npt.NDArray[np.uint64]
    is_background: npt.NDArray[np.bool_]

    def lowest_page(self, first: int, end: int, since: int, until: int | None) -> int | None:
        """The lowest page from `first` on and before `end` that is accessed; None: none is.

        Accesses count from position `since` on and before `until`; None: to the last.
        """
        low, high = np.searchsorted(self.pages.values, np.array([first, end], dtype=np.uint64))
        start = int(np.searchsorted(self.position, np.uint64(since)))
        stop = len(self.position)
        if until is not None:
            stop = int(np.searchsorted(self.position, np.uint64(until)))
        rows = self.pages.first[low:high]
        new = np.flatnonzero((rows >= start) & (rows < stop))
        found = int(new[0]) if new.size else None
        # Of lower pages that were accessed before, too, only all accesses tell.
        if np.any(rows[:found] < start):
            index = self.pages.index[start:stop] - low
            here = index[(index >= 0) & (index < (rows.size if found is None else found))]
            found = int(here.min()) if here.size else found
        return None if found is None else int(self.pages.values[low + found])


class Change(NamedTuple):
    """A ``map``, ``discard`` or ``unmap`` with the pages concerned that were in use.

    Attributes:
        event: the event.
        touched_page_count: of ``map`` and ``discard``: pages of the range that were accessed before
            the memory was unmapped or replaced; of ``unmap``: those that held something; None: not
            known.
    """

    event: Event
    touched_page_count: int | None


@dataclass(frozen=True, eq=False)
class AddressSpaceHistory:
    """What was mapped over time: arrays of one length, an element for the time after each event.

    Attributes:
        position: from when on it was so (line accesses).
        thread: who changed it then; -1: not known.
        sizes_bytes: bytes mapped, a column for each state.
        copied_bytes: bytes of a block that is kept beside its copy at that moment only.
        resident_page_count: the most pages that were mapped and had been accessed since, until the
            next event; None: the recording holds no page visits.
        lazy_resident_page_count: those of them that were mapped with ``MAP_NORESERVE``.
        touched_page_count: pages that were accessed for the first time since they were mapped, but
            not by a thread in the background.
        lazy_touched_page_count: those of them that were mapped with ``MAP_NORESERVE``.
        changes: everything that was mapped, discarded or unmapped, in order.
    """

    position: Integers
    thread: Integers
    sizes_bytes: Integers
    copied_bytes: Integers
    resident_page_count: Integers | None
    lazy_resident_page_count: Integers | None
    touched_page_count: Integers | None
    lazy_touched_page_count: Integers | None
    changes: tuple[Change, ...]

    @cached_property
    def mapped_bytes(self) -> Integers:
        """All that was mapped."""
        return self._bytes_of([True for _ in _STATES])

    @cached_property
    def inaccessible_bytes(self) -> Integers:
        """What of it could not be accessed."""
        return self._bytes_of([not state.is_accessible for state in _STATES])

    @cached_property
    def lazy_bytes(self) -> Integers:
        """What of it was mapped with ``MAP_NORESERVE``."""
        return self._bytes_of([state.is_lazy for state in _STATES])

    def kind_bytes(self, kind: str) -> Integers:
        """What of it was of a kind of `MAPPING_KINDS`."""
        number = MAPPING_KINDS.index(kind)
        return self._bytes_of([state.kind == number for state in _STATES])

    def accessible_bytes(self, kinds: Sequence[int]) -> Integers:
        """What of some kinds, as indices into `MAPPING_KINDS`, could be accessed."""
        return self._bytes_of([state.is_accessible and state.kind in kinds for state in _STATES])

    def _bytes_of(self, chosen: list[bool]) -> Integers:
        total: Integers = self.sizes_bytes[:, np.array(chosen)].sum(axis=1)
        return total


class _Ranges:
    """Ranges that do not overlap, each with the code of a state, and the bytes of each code."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._codes: list[int] = []
        self.sizes_bytes = [0] * len(_STATES)

    def pieces(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """What is mapped between two addresses: starts, ends and codes."""
        low, high = self._overlapping(start, end)
        return [
            (max(self._starts[i], start), min(self._ends[i], end), self._codes[i])
            for i in range(low, high)
        ]

    def replace(self, start: int, end: int, pieces: Sequence[tuple[int, int, int]]) -> None:
        """Lets `pieces`, which lie between the addresses in order, be all that is there."""
        low, high = self._overlapping(start, end)
        sizes = self.sizes_bytes
        kept_before: list[tuple[int, int, int]] = []
        kept_after: list[tuple[int, int, int]] = []
        for i in range(low, high):
            old_start, old_end, code = self._starts[i], self._ends[i], self._codes[i]
            sizes[code] -= min(old_end, end) - max(old_start, start)
            if old_start < start:
                kept_before.append((old_start, start, code))
            if old_end > end:
                kept_after.append((end, old_end, code))
        for piece_start, piece_end, code in pieces:
            sizes[code] += piece_end - piece_start
        new = [*kept_before, *pieces, *kept_after]
        self._starts[low:high] = [piece[0] for piece in new]
        self._ends[low:high] = [piece[1] for piece in new]
        self._codes[low:high] = [piece[2] for piece in new]

    def _overlapping(self, start: int, end: int) -> tuple[int, int]:
        low = bisect_left(self._starts, start)
        if low > 0 and self._ends[low - 1] > start:
            low -= 1
        return low, bisect_left(self._starts, end, low)


class _Residency:
    """Which of the pages that are accessed at all hold something, and whose they are."""

    def __init__(self, touches: Touches, events: Sequence[Event], change_count: int) -> None:
        accessed = touches.pages.values.astype(np.int64)
        pages = _moved_too(accessed, events)
        self._pages = pages
        self._touched = touches.pages.index
        if pages.size > accessed.size:
            self._touched = np.searchsorted(pages, accessed)[self._touched]
        self._positions = touches.position
        self._is_background = touches.is_background
        self._done = 0
        self._is_resident = np.zeros(pages.size, dtype=np.bool_)
        self._is_lazy = np.zeros(pages.size, dtype=np.bool_)
        # Of what nothing is known belongs to the last, which is dropped in the end.
        self._owner = np.full(pages.size, change_count, dtype=np.int64)
        self._owners: list[Integers] = []
        self._held = np.zeros(change_count + 1, dtype=np.int64)
        self._row = np.zeros(pages.size, dtype=np.int64)
        self.count = 0
        self.lazy_count = 0
        # Of all time.
        self.touched_count = 0
        self.lazy_touched_count = 0

    def advance(self, position: int | None) -> None:
        """Makes the accesses before a position; None: all."""
        stop = len(self._positions)
        if position is not None:
            stop = int(np.searchsorted(self._positions, np.uint64(position), "left"))
        if stop <= self._done:
            return
        touched = self._touched[self._done : stop]
        rows = np.flatnonzero(~self._is_resident[touched])
        start, self._done = self._done, stop
        if not rows.size:
            return
        # Of accesses to one page the first: what is written last stays.
        new = touched[rows]
        self._row[new[::-1]] = rows[::-1]
        rows = rows[self._row[new] == rows]
        new = touched[rows]
        is_waited_for = ~self._is_background[start + rows]
        is_lazy = self._is_lazy[new]
        self._is_resident[new] = True
        self.count += new.size
        self.lazy_count += int(np.count_nonzero(is_lazy))
        self.touched_count += int(np.count_nonzero(is_waited_for))
        self.lazy_touched_count += int(np.count_nonzero(is_lazy & is_waited_for))
        self._owners.append(self._owner[new])

    def release(self, start: int, end: int) -> slice:
        """Lets the pages between two addresses hold nothing; returns which they are."""
        low, high = np.searchsorted(self._pages, [start // PAGE_BYTES, -(-end // PAGE_BYTES)])
        chosen = slice(int(low), int(high))
        if chosen.stop > chosen.start:
            held = self._is_resident[chosen]
            self.count -= int(np.count_nonzero(held))
            self.lazy_count -= int(np.count_nonzero(held & self._is_lazy[chosen]))
            held[:] = False
        return chosen

    def unmap(self, start: int, end: int) -> int:
        """Lets the pages belong to nothing; returns how many held something."""
        before = self.count
        chosen = self.release(start, end)
        self._is_lazy[chosen] = False
        self._owner[chosen] = len(self._held) - 1
        return before - self.count

    def map(self, start: int, end: int, owner: int, is_lazy: bool | None) -> None:
        """Gives the pages to a change; `is_lazy` None: that stays as it is."""
        chosen = self.release(start, end)
        self._owner[chosen] = owner
        if is_lazy is not None:
            self._is_lazy[chosen] = is_lazy

    def move(self, start: int, end: int, target: int) -> None:
        low, high = np.searchsorted(self._pages, [start // PAGE_BYTES, end // PAGE_BYTES])
        source = slice(int(low), int(high))
        pages = self._pages[source] + (target - start) // PAGE_BYTES
        held = self._is_resident[source].copy()
        lazy = self._is_lazy[source].copy()
        owner = self._owner[source].copy()
        self.unmap(start, end)
        self.unmap(target, target + end - start)
        to = np.searchsorted(self._pages, pages)
        self._is_resident[to] = held
        self._is_lazy[to] = lazy
        self._owner[to] = owner
        self.count += int(np.count_nonzero(held))
        self.lazy_count += int(np.count_nonzero(held & lazy))

    def set_touched_page_count(self, number: int, count: int) -> None:
        """Says of a change what is known when it happens."""
        self._held[number] = count

    def touched_page_counts(self) -> list[int]:
        owners = np.concatenate([*self._owners, self._owner[:0]])
        total = self._held + np.bincount(owners, minlength=self._held.size)
        counts: list[int] = total[:-1].tolist()
        return counts


def _moved_too(pages: Integers, events: Sequence[Event]) -> Integers:
    """`pages`, and those that they come from and go to by moves."""
    moves = [event for event in events if event.action == "move"]
    ways = [(event.address, event.from_address, event.size_bytes) for event in reversed(moves)]
    ways += [(event.from_address, event.address, event.size_bytes) for event in moves]
    for start, target, size_bytes in ways:
        first = start // PAGE_BYTES
        low, high = np.searchsorted(pages, [first, first + size_bytes // PAGE_BYTES])
        pages = np.union1d(pages, pages[low:high] + (target // PAGE_BYTES - first))
    return pages


_CHANGES = ("map", "discard", "unmap")


def replay(events: Sequence[Event], touches: Touches | None) -> AddressSpaceHistory:
    """Replays changes of an address space that is empty at first.

    Args:
        events: the changes by position; ranges are of whole pages and not empty.
        touches: accesses to pages by position, each first one among them; None: not known.
    """
    changes = [event for event in events if event.action in _CHANGES]
    ranges = _Ranges()
    residency = None if touches is None else _Residency(touches, events, len(changes))
    positions = [0, *(event.position for event in events)]
    threads = [-1, *(-1 if event.thread is None else event.thread for event in events)]
    sizes: list[tuple[int, ...]] = [tuple(ranges.sizes_bytes)]
    copied = [0, *(e.size_bytes if e.action == "copy" else 0 for e in events)]
    pages: list[tuple[int, int, int, int]] = []

    def advance(position: int | None) -> None:
        if residency is not None:
            residency.advance(position)
            touched = residency.touched_count, residency.lazy_touched_count
            pages.append((residency.count, residency.lazy_count, *touched))

    number = -1
    for event in events:
        advance(event.position)
        number += event.action in _CHANGES
        _apply(event, ranges, residency, number)
        sizes.append(tuple(ranges.sizes_bytes))
    advance(None)
    counts: Sequence[int | None] = [None] * len(changes)
    resident = lazy_resident = touched = lazy_touched = None
    if residency is not None:
        counts = residency.touched_page_counts()
        resident, lazy_resident, touched, lazy_touched = np.array(pages, dtype=np.int64).T
        touched, lazy_touched = np.diff(touched, prepend=0), np.diff(lazy_touched, prepend=0)
    return AddressSpaceHistory(
        position=np.array(positions, dtype=np.int64),
        thread=np.array(threads, dtype=np.int64),
        sizes_bytes=np.array(sizes, dtype=np.int64),
        copied_bytes=np.array(copied, dtype=np.int64),
        resident_page_count=resident,
        lazy_resident_page_count=lazy_resident,
        touched_page_count=touched,
        lazy_touched_page_count=lazy_touched,
        changes=tuple(map(Change, changes, counts)),
    )


def _apply(event: Event, ranges: _Ranges, residency: _Residency | None, number: int) -> None:
    start, end = event.address, event.address + event.size_bytes
    if event.action == "map":
        ranges.replace(start, end, [(start, end, _CODES[event.state])])
        if residency is not None:
            residency.map(start, end, number, event.state.is_lazy)
    elif event.action == "unmap":
        ranges.replace(start, end, [])
        if residency is not None:
            residency.set_touched_page_count(number, residency.unmap(start, end))
    elif event.action == "protect":
        is_accessible = event.state.is_accessible
        pieces = [
            (low, high, _CODES[_STATES[code]._replace(is_accessible=is_accessible)])
            for low, high, code in ranges.pieces(start, end)
        ]
        ranges.replace(start, end, pieces)
    elif event.action == "move":
        _move(event, ranges, residency)
    elif event.action == "discard" and residency is not None:
        residency.map(start, end, number, None)


def _move(event: Event, ranges: _Ranges, residency: _Residency | None) -> None:
    old_start, old_end = event.from_address, event.from_address + event.size_bytes
    offset = event.address - old_start
    pieces = [
        (low + offset, high + offset, code) for low, high, code in ranges.pieces(old_start, old_end)
    ]
    ranges.replace(old_start, old_end, [])
    ranges.replace(event.address, old_end + offset, pieces)
    if residency is not None:
        residency.move(old_start, old_end, event.address)
