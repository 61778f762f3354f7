# SPDX-License-Identifier: Apache-2.0
"""A memory of pages under a replacement policy, simulated access by access.

This is what simulation from page visits (`page_visits`) is held against. Every access counts here,
so that it takes a recording made with ``--keep-accesses``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Policy = Literal["lru", "fifo", "second_chance"]
POLICIES: tuple[Policy, ...] = ("lru", "fifo", "second_chance")

# Accesses of a block are looked at together. The more, the more often one of them misses.
_BLOCK_ACCESSES = 4096
# As many are looked at together in a block that misses, at least and at first.
_WINDOW_MIN = 32
_WINDOW_FIRST = 256


@dataclass(frozen=True)
class PagingCounts:
    """What a memory of pages did, in pages.

    Attributes:
        miss_count: accesses to a page that was not in memory, which was then loaded.
        eviction_count: pages that had to leave.
        dirty_eviction_count: those of them that had been written since they were loaded.
    """

    miss_count: int
    eviction_count: int
    dirty_eviction_count: int


@dataclass(frozen=True)
class AccessBlock:
    """Successive accesses, prepared for any number of memories.

    Attributes:
        pages: the page of each access.
        written: whether it writes.
        distinct: the pages accessed, each once, by their last accesses.
        distinct_written: the pages written, each once.
    """

    pages: npt.NDArray[np.int64]
    written: npt.NDArray[np.bool_]
    distinct: npt.NDArray[np.int64]
    distinct_written: npt.NDArray[np.int64]


def access_blocks(
    pages: npt.NDArray[np.int64], written: npt.NDArray[np.bool_]
) -> Iterator[AccessBlock]:
    """Cuts accesses into blocks.

    Args:
        pages: the page of each access, by small numbers: arrays are indexed by them.
        written: whether it writes.
    """
    last = np.zeros(int(pages.max(initial=0)) + 1, np.int64)

    def distinct(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        order = np.arange(len(numbers))
        # Of the values assigned to one index the last one stays.
        last[numbers] = order
        kept: npt.NDArray[np.int64] = numbers[last[numbers] == order]
        return kept

    for start in range(0, len(pages), _BLOCK_ACCESSES):
        in_block = pages[start : start + _BLOCK_ACCESSES]
        writes = written[start : start + _BLOCK_ACCESSES]
        yield AccessBlock(in_block, writes, distinct(in_block), distinct(in_block[writes]))


class PageMemory:
    """A memory that holds `capacity` pages and is empty at first.

    A page that is accessed and not in memory is loaded. If the memory is full, another one leaves
    first: under ``lru`` the one accessed longest ago, under ``fifo`` the one loaded longest ago.
    Under ``second_chance`` too, but if that one has been accessed since it was loaded, or since it
    was last looked at (loading is for an access, and counts as one), it goes back to the end of the
    queue and the next one is looked at.

    Raises:
        ValueError: `capacity` is below 1.
    """

    def __init__(self, policy: Policy, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a memory holds at least one page")
        self._policy = policy
        self._capacity = capacity
        self._miss_count = 0
        self._eviction_count = 0
        self._dirty_eviction_count = 0
        # By page.
        self._resident = np.zeros(0, np.bool_)
        self._dirty = np.zeros(0, np.bool_)
        self._accessed = np.zeros(0, np.bool_)
        self._time = np.zeros(0, np.int64)
        self._now = 0
        # lru: (time, page), a heap, where the time of the last access may be a later one.
        self._known: list[tuple[int, int]] = []
        # Others: the queue is a ring, and the hand is at its head.
        self._ring: list[int] = []
        self._hand = 0

    @property
    def counts(self) -> PagingCounts:
        """What it did so far."""
        return PagingCounts(self._miss_count, self._eviction_count, self._dirty_eviction_count)

    def access(self, block: AccessBlock) -> None:
        """Takes accesses in their order."""
        self._grow(int(block.distinct.max(initial=-1)) + 1)
        if self._resident[block.distinct].all():
            self._hit(block.distinct, block.distinct_written)
            return
        start = 0
        window = _WINDOW_FIRST
        while start < len(block.pages):
            pages = block.pages[start : start + window]
            written = block.written[start : start + window]
            resident = self._resident[pages]
            hits = int(resident.argmin())
            if resident[hits]:
                hits = len(pages)
                window *= 2
            else:
                window = max(_WINDOW_MIN, window // 2)
            self._hit(pages[:hits], pages[:hits][written[:hits]])
            start += hits
            if hits < len(pages):
                self._miss(int(pages[hits]), bool(written[hits]))
                start += 1

    def _grow(self, page_count: int) -> None:
        missing = max(0, page_count - len(self._resident))
        if missing:
            missing += len(self._resident)
            self._resident = np.append(self._resident, np.zeros(missing, np.bool_))
            self._dirty = np.append(self._dirty, np.zeros(missing, np.bool_))
            self._accessed = np.append(self._accessed, np.zeros(missing, np.bool_))
            self._time = np.append(self._time, np.zeros(missing, np.int64))

    def _hit(self, pages: npt.NDArray[np.int64], written: npt.NDArray[np.int64]) -> None:
        self._dirty[written] = True
        if self._policy == "lru":
            self._time[pages] = np.arange(self._now, self._now + len(pages))
            self._now += len(pages)
        else:
            self._accessed[pages] = True

    def _miss(self, page: int, writes: bool) -> None:
        self._miss_count += 1
        if self._miss_count - self._eviction_count > self._capacity:
            victim = self._victim()
            self._eviction_count += 1
            self._dirty_eviction_count += int(self._dirty[victim])
            self._resident[victim] = False
        elif self._policy != "lru":
            self._ring.append(page)
        self._resident[page] = True
        self._dirty[page] = writes
        self._accessed[page] = True
        if self._policy == "lru":
            self._time[page] = self._now
            heapq.heappush(self._known, (self._now, page))
            self._now += 1
        elif self._eviction_count:
            self._ring[self._hand] = page
            self._hand = (self._hand + 1) % self._capacity

    def _victim(self) -> int:
        if self._policy == "lru":
            while True:
                time, page = self._known[0]
                latest = int(self._time[page])
                if latest == time:
                    heapq.heappop(self._known)
                    return page
                heapq.heapreplace(self._known, (latest, page))
        while self._policy == "second_chance" and self._accessed[self._ring[self._hand]]:
            self._accessed[self._ring[self._hand]] = False
            self._hand = (self._hand + 1) % self._capacity
        return self._ring[self._hand]
