# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious twin of the native simulation of the EPC: it defines what each policy does.

The time of an access is the number of visits that its enclave has started, with its own if it
starts one. Enclaves take turns: before its next visit each loads the pages that it awaits, those it
awaited first first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sgxlens.enclave.epc import EpcPolicy, Reclaimer
from sgxlens.reuse.page_visits import PageVisits, last_accesses


@dataclass(frozen=True, order=True)
class Page:
    """A page of one of the enclaves."""

    enclave: int
    number: int


@dataclass
class EpcEvents:
    """What came and left: the number of the visit and the page."""

    loads: list[tuple[int, Page]] = field(default_factory=list)
    evictions: list[tuple[int, Page]] = field(default_factory=list)


def simulate(
    visits: PageVisits,
    policy: EpcPolicy,
    capacity: int,
    *,
    replicas: int = 1,
    reclaimer: Reclaimer | None = None,
    counted: slice | None = None,
) -> EpcEvents:
    """What an EPC of `capacity` pages does; the arguments are those of `EpcSimulation.sweep`."""
    if policy == "optimum":
        return _optimum(visits, capacity, replicas)
    if policy in ("lru", "mru", "pinned"):
        pinned = set()
        if policy == "pinned":
            room = (capacity - replicas * visits.filter_page_count) // replicas
            pages = visits.page.tolist()
            # A Counter keeps the order of first visits, and sorting keeps the order of equals.
            often = Counter(dict.fromkeys(pages, 0))
            often.update(pages[counted or slice(None)])
            pinned = set(sorted(often, key=lambda page: -often[page])[:room])
        return _recency(visits, capacity, replicas, takes_newest=policy == "mru", pinned=pinned)
    return _Queues(visits, policy, capacity, replicas, reclaimer or Reclaimer()).run()


def _turns(visits: PageVisits, replicas: int) -> Iterator[tuple[int, Page]]:
    for number, page in enumerate(visits.page.tolist()):
        for enclave in range(replicas):
            yield number, Page(enclave, page)


def _recency(
    visits: PageVisits, capacity: int, replicas: int, *, takes_newest: bool, pinned: set[int]
) -> EpcEvents:
    events = EpcEvents()
    resident: set[Page] = set()
    in_visit: set[Page] = set()
    ended: list[Page] = []  # in memory and not in a visit, in the order in which visits ended
    for number, page in _turns(visits, replicas):
        if page not in resident:
            events.loads.append((number, page))
        if page in ended:
            ended.remove(page)
        resident.add(page)
        in_visit.add(page)
        if visits.ended[number]:
            left = Page(page.enclave, int(visits.page[number - int(visits.ended[number])]))
            in_visit.remove(left)
            ended.append(left)
        if len(resident) > capacity:
            may_leave = [page for page in ended if page.number not in pinned]
            victim = may_leave[-1 if takes_newest else 0]
            ended.remove(victim)
            resident.remove(victim)
            events.evictions.append((number, victim))
    return events


class _Queues:
    """Policies with lists of pages, the one to be looked at first at the head.

    Looking at pages takes no time: in between no page is accessed.
    """

    def __init__(
        self,
        visits: PageVisits,
        policy: EpcPolicy,
        capacity: int,
        replicas: int,
        reclaimer: Reclaimer,
    ) -> None:
        self._visits = visits
        self._policy = policy
        self._capacity = capacity
        self._replicas = replicas
        self._reclaimer = reclaimer
        self._events = EpcEvents()
        lists = replicas if policy == "out_of_tree" else 1
        self._lists: list[list[Page]] = [[] for _ in range(lists)]
        self._turn = 0
        self._done = [0] * replicas  # by enclave: the time of which it has made all accesses
        self._last: dict[Page, int] = {}  # last access in the latest visit
        # Of those in memory, after what time; 0: not since it was loaded.
        self._looked_at: dict[Page, int] = {}
        # By enclave: times at which pages are to be loaded, in the order in which they left.
        self._awaited: list[list[tuple[int, Page]]] = [[] for _ in range(replicas)]

    def run(self) -> EpcEvents:
        last = last_accesses(self._visits).tolist()
        for number, page in _turns(self._visits, self._replicas):
            awaited = self._awaited[page.enclave]
            while due := [entry for entry in awaited if entry[0] <= number]:
                first = min(due, key=lambda entry: entry[0])
                awaited.remove(first)
                self._load(first[1], number)
            self._last[page] = last[number]
            if page not in self._looked_at:
                self._load(page, number)
            self._done[page.enclave] = number + 1
        return self._events

    def _load(self, page: Page, number: int) -> None:
        self._events.loads.append((number, page))
        if self._policy not in ("linux", "out_of_tree"):
            if self._free == 0:
                self._make_room(number)
        elif self._free - 1 < self._reclaimer.low_page_count:
            # The page has been allocated; it comes into the list when it is loaded.
            while self._free - 1 < self._reclaimer.high_page_count:
                self._scan(number)
        self._looked_at[page] = 0
        self._lists[page.enclave if self._policy == "out_of_tree" else 0].append(page)

    @property
    def _free(self) -> int:
        return self._capacity - len(self._looked_at)

    def _make_room(self, number: int) -> None:
        (queue,) = self._lists
        while True:
            page = queue.pop(0)
            if self._policy == "fifo" or not self._is_young(page):
                self._evict(page, number)
                return
            queue.append(page)

    def _scan(self, number: int) -> None:
        if self._policy == "out_of_tree":
            self._turn = (self._turn + 1) % self._replicas
            while not self._lists[self._turn]:
                self._turn = (self._turn + 1) % self._replicas
        queue = self._lists[self._turn]
        for page in queue[: self._reclaimer.scan_page_count]:
            queue.remove(page)
            if self._is_young(page):
                queue.append(page)
            else:
                self._evict(page, number)

    def _is_young(self, page: Page) -> bool:
        done = self._done[page.enclave]
        is_young = self._looked_at[page] < min(done, self._last[page])
        self._looked_at[page] = done
        return is_young

    def _evict(self, page: Page, number: int) -> None:
        self._events.evictions.append((number, page))
        del self._looked_at[page]
        done = self._done[page.enclave]
        left = self._last[page] - done
        if left > 0:
            delay = (left - 1) // 4 if left <= self._visits.filter_page_count else 0
            self._awaited[page.enclave].append((done + 1 + delay, page))


def needs(visits: PageVisits) -> list[list[int]]:
    """For each visit the numbers of the pages that are needed just before it starts.

    These are accesses that a memory serves under any policy: with a filter of K pages, a page in
    its visit is needed every K visits after its start as long as more than K are to start before
    its last access, and then before the last visit that starts before that access.
    """
    step = visits.filter_page_count
    count = len(visits.page)
    found: list[list[int]] = [[] for _ in range(count)]
    pages = visits.page.tolist()
    for number, last in enumerate(last_accesses(visits).tolist()):
        times = {time for time in range(number + step, count, step) if last - time > step}
        if number < last - 1 < count:
            times.add(last - 1)
        for time in times:
            found[time].append(pages[number])
    return found


def _optimum(visits: PageVisits, capacity: int, replicas: int) -> EpcEvents:
    events = EpcEvents()
    before = needs(visits)
    accesses = [
        (number, Page(page.enclave, needed))
        for number, page in _turns(visits, replicas)
        for needed in [*before[number], page.number]
    ]
    resident: dict[Page, int] = {}  # to its latest access
    for index, (number, page) in enumerate(accesses):
        if page not in resident:
            events.loads.append((number, page))
            if len(resident) == capacity:
                next_use: dict[Page, int] = {}
                for later, (_, needed) in enumerate(accesses[index:]):
                    next_use.setdefault(needed, later)
                # Of those never needed again the one needed last.
                victim = max(
                    resident, key=lambda page: (next_use.get(page, len(accesses)), resident[page])
                )
                del resident[victim]
                events.evictions.append((number, victim))
        resident[page] = index
    return events
