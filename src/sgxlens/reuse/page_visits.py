# SPDX-License-Identifier: Apache-2.0
"""Simulates a memory of pages from the page visits of a recording.

A recording keeps no page accesses but *visits*: a filter holds the K pages accessed last; a visit
starts with an access to a page that is not in the filter, and ends when the page leaves it. How hot
pages keep their recency: for as long as a page is in its visit it is one of the K most recently
used ones, whatever happens to it there, and the order in which visits end is the order in which
their pages were last accessed.

**LRU is exact** for each capacity C of at least K pages. The K pages in a visit are the top K of
the LRU stack. Below them, pages are in the order of their last accesses, that is of the ends of
their visits. An access within a visit has a distance below K, hits, and changes nothing below the
top K. So the start of a visit takes a page from wherever it is to the top, and the end of one puts
a page to the place K.

**FIFO and second chance** do not heed recency and may evict a page in its visit. If it is accessed
again in that visit it must be loaded again. Whether it is, is known: visits tell how long the page
had been idle when they ended, so that its last access is placed between two starts of visits. Three
things are not known, and assumed:

- *When* the page is accessed again. A page in its visit is accessed at least once while K others
  are. So if its last access is more than K starts of visits ahead, the page is taken to be in
  steady use, and accessed before the next visit starts; if it is nearer, after a quarter of the
  starts between which it may be.
- Second chance: whether the page was accessed since it was last looked at, where the end of its
  visit is yet to come: it is taken to be, unless no visit has started since.
- Whether it was written before it was evicted, in a visit in which it is written at some time: it
  is taken to be.

Against the full stream of models (``tests/integration/test_page_visits.py``), from 1,000 pages on:

- *Second chance* hardly ever evicts a page in its visit. Misses are within 0.06 %, and with 2,000
  pages or more mostly equal.
- *FIFO*: misses are typically within 0.05 %, but with some sizes off by up to 0.9 %. Neither policy
  is a stack policy, and their misses jump: a few pages more or less change them by as much as 1 %.
  One page loaded at another time may do that, too. So the misses found are within 0.1 % of those of
  a memory of that size, or between those of memories whose size is within 1 % of it.

Dirty evictions are within 1 %; under LRU they are exact.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sgxlens._native import EpcVisits
from sgxlens.reuse.page_memory import PagingCounts, Policy

#: Columns of the table ``page_visits`` that `PageVisits.from_rows` takes.
VISIT_COLUMNS = ("page", "written", "ended", "idle")


@dataclass(frozen=True)
class PageVisits:
    """Page visits in the order of their starts, an array for each column.

    Attributes:
        page: number of the page.
        written: whether it is written during the visit.
        ended: how many visits before this one the visit started that ends here; 0: none ends.
        idle: how many visits, with this one, have started since the last access to the page whose
            visit ends here; 0: none ends.
        filter_page_count: pages in the filter; K above.
    """

    page: npt.NDArray[np.uint64]
    written: npt.NDArray[np.bool_]
    ended: npt.NDArray[np.uint32]
    idle: npt.NDArray[np.uint32]
    filter_page_count: int

    @classmethod
    def from_rows(cls, rows: pa.Table, filter_page_count: int) -> PageVisits:
        """The visits of one process: its rows of the table ``page_visits`` of a recording."""
        return cls(
            rows["page"].to_numpy(),
            rows["written"].to_numpy(),
            # In the first of these rows no visit ends: null.
            pc.fill_null(rows["ended"], 0).to_numpy(),
            pc.fill_null(rows["idle"], 0).to_numpy(),
            filter_page_count,
        )


def simulate_visits(visits: PageVisits, policy: Policy, capacity: int) -> PagingCounts:
    """What a memory of `capacity` pages, empty at first, does under these visits.

    The policies are those of `PageMemory`; the module says how near to it the result is.

    Raises:
        ValueError: `capacity` is below the number of pages in the filter.
    """
    _check_capacity(visits, capacity)
    if policy == "lru":
        return _simulate_lru(visits, capacity)[0]
    return _QueueSimulation(visits, capacity, policy == "second_chance").run()


def _check_capacity(visits: PageVisits, capacity: int) -> None:
    if capacity < visits.filter_page_count:
        raise ValueError(
            f"a memory of {capacity} pages cannot be simulated from visits of a filter of"
            f" {visits.filter_page_count}"
        )


def native_visits(visits: PageVisits, group: npt.NDArray[np.uint32] | None = None) -> EpcVisits:
    """The same for the native core; `group` is what loads are counted by, None: together.

    Raises:
        NativeEpcVisitsError: there cannot be such visits.
    """
    if group is None:
        group = np.zeros(len(visits.page), np.uint32)
    return EpcVisits(
        np.ascontiguousarray(visits.page, np.uint64),
        np.ascontiguousarray(visits.ended, np.uint32),
        np.ascontiguousarray(visits.idle, np.uint32),
        np.ascontiguousarray(group, np.uint32),
        visits.filter_page_count,
    )


def lru_loads(visits: PageVisits, capacity: int) -> npt.NDArray[np.int64]:
    """The numbers of the visits at whose start an LRU memory, empty at first, loads the page.

    Raises:
        NativeEpcVisitsError: there cannot be such visits.
        ValueError: `capacity` is below the number of pages in the filter.
    """
    _check_capacity(visits, capacity)
    (result,) = native_visits(visits).simulate(
        "lru", np.array([capacity], np.uint64), keep_events=True
    )
    return result[2].astype(np.int64)


def _simulate_lru(visits: PageVisits, capacity: int) -> tuple[PagingCounts, list[int]]:
    """What happens, and which visits miss: the twin of `lru_loads`."""
    pages = visits.page.tolist()
    written = visits.written.tolist()
    # In memory but not in a visit, the page used longest ago first.
    idle: OrderedDict[int, None] = OrderedDict()
    active: set[int] = set()
    dirty: set[int] = set()
    evictions = dirty_evictions = 0
    missing = []
    for number, (page, ended) in enumerate(zip(pages, visits.ended.tolist(), strict=True)):
        if page in idle:
            del idle[page]
        elif page not in active:
            missing.append(number)
        active.add(page)
        if ended and (left := pages[number - ended]) != page:
            active.remove(left)
            idle[left] = None
        if written[number]:
            # It cannot be evicted before the visit ends.
            dirty.add(page)
        if len(active) + len(idle) > capacity:
            victim, _ = idle.popitem(last=False)
            evictions += 1
            if victim in dirty:
                dirty.remove(victim)
                dirty_evictions += 1
    return PagingCounts(len(missing), evictions, dirty_evictions), missing


def last_accesses(visits: PageVisits) -> npt.NDArray[np.int64]:
    """For each visit how many visits have started at the last access in it.

    Those that never end last for as long as there are visits.
    """
    starts = np.arange(len(visits.page), dtype=np.int64)
    last = np.full(len(starts), len(starts) + 1, np.int64)
    ends = visits.ended > 0
    last[starts[ends] - visits.ended[ends]] = starts[ends] + 1 - visits.idle[ends]
    return last


class _QueueSimulation:
    """FIFO and second chance.

    The time of an access is the number of visits that have started, with its own if it starts one.
    A load is `after` some time if all accesses of that time have been made, and none of later ones.
    """

    def __init__(self, visits: PageVisits, capacity: int, looks_at_accesses: bool) -> None:
        numbers, pages = np.unique(visits.page, return_inverse=True)
        self._pages: list[int] = pages.tolist()
        self._written: list[bool] = visits.written.tolist()
        self._visit_last: list[int] = last_accesses(visits).tolist()
        self._filter_page_count = visits.filter_page_count
        self._capacity = capacity
        self._looks_at_accesses = looks_at_accesses
        self._misses = self._evictions = self._dirty_evictions = 0
        # By page.
        self._resident = [False] * len(numbers)
        self._dirty = [False] * len(numbers)
        self._looked_at = [0] * len(numbers)  # after what time; 0: not since it was loaded
        self._last = [0] * len(numbers)  # last access in its latest visit
        self._is_written = [False] * len(numbers)  # in its latest visit
        self._ring: list[int] = []
        self._hand = 0
        # Pages evicted in a visit: (assumed time of the next access, order, page), a heap.
        self._awaited: list[tuple[int, int, int]] = []
        self._order = count()

    def run(self) -> PagingCounts:
        awaited = self._awaited
        for number, page in enumerate(self._pages):
            while awaited and awaited[0][0] <= number:
                self._load(heapq.heappop(awaited)[2], number)
            self._last[page] = self._visit_last[number]
            self._is_written[page] = self._written[number]
            if self._resident[page]:
                self._dirty[page] |= self._written[number]
            else:
                self._load(page, number)
        return PagingCounts(self._misses, self._evictions, self._dirty_evictions)

    def _load(self, page: int, after: int) -> None:
        self._misses += 1
        self._resident[page] = True
        self._dirty[page] = self._is_written[page]
        self._looked_at[page] = 0
        if len(self._ring) < self._capacity:
            self._ring.append(page)
            return
        ring = self._ring
        if self._looks_at_accesses:
            while self._looked_at[ring[self._hand]] < min(after, self._last[ring[self._hand]]):
                self._looked_at[ring[self._hand]] = after
                self._hand = (self._hand + 1) % self._capacity
        victim = ring[self._hand]
        ring[self._hand] = page
        self._hand = (self._hand + 1) % self._capacity
        self._resident[victim] = False
        self._evictions += 1
        self._dirty_evictions += self._dirty[victim]
        left = self._last[victim] - after
        if left > 0:
            delay = (left - 1) // 4 if left <= self._filter_page_count else 0
            heapq.heappush(self._awaited, (after + 1 + delay, next(self._order), victim))
