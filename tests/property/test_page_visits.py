# SPDX-License-Identifier: Apache-2.0
"""Page visits: the native collector against its twin, and what is simulated from them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import astuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from page_accesses import make_accesses, visits_of
from sgxlens import _native
from sgxlens.recording.schemas import TABLES
from sgxlens.reuse._page_visits_reference import PageAccess, page_visits
from sgxlens.reuse.page_memory import (
    POLICIES,
    PageMemory,
    PagingCounts,
    Policy,
    access_blocks,
)
from sgxlens.reuse.page_visits import PageVisits, _simulate_lru, lru_loads, simulate_visits

COLUMNS = ("page", "access", "context", "position", "written", "ended", "idle")


class Stack:
    """An LRU stack that tells a collector what a native one would tell it."""

    def __init__(self, filter_page_count: int) -> None:
        self.times: dict[int, int] = {}
        self.now = 0
        self.visits = _native.PageVisits(self.times.__getitem__, filter_page_count)

    def access(self, access: PageAccess, *, notes_first: bool) -> None:
        page = access.page
        before = self.times.get(page)
        recent = sum(time > before for time in self.times.values()) if before is not None else None
        self.now += 1
        self.times[page] = self.now
        if notes_first:
            self.visits.note(page, 1 << access.access_class)
        if recent is None or recent >= self.visits.filter_page_count:
            self.visits.start(page, access.access_class, access.context, access.position)
        if not notes_first:
            self.visits.note(page, 1 << access.access_class)

    def renumber(self) -> None:
        self.visits.renumbering()
        for time, page in enumerate(sorted(self.times, key=self.times.__getitem__)):
            self.times[page] = time
        self.now = len(self.times)
        self.visits.renumbered()

    def rows(self) -> list[tuple[int, ...]]:
        columns = self.visits.columns()
        return list(zip(*(columns[name].tolist() for name in COLUMNS), strict=True))


ACCESSES = st.builds(make_accesses, st.integers(0, 2**32), st.integers(0, 400), st.integers(1, 60))


@given(ACCESSES, st.integers(1, 20), st.integers(1, 100), st.booleans())
def test_native_visits_equal_the_twins(
    accesses: list[PageAccess], filter_page_count: int, renumber_every: int, notes_first: bool
) -> None:
    stack = Stack(filter_page_count)
    for number, access in enumerate(accesses):
        if number % renumber_every == 0:
            stack.renumber()
        stack.access(access, notes_first=notes_first)
    assert stack.rows() == [
        tuple(int(value) for value in astuple(visit))
        for visit in page_visits(accesses, filter_page_count)
    ]
    stack.visits.finish()
    assert len(stack.rows()) == len(stack.visits.columns()["page"])


def test_many_visits_are_kept_in_a_few_bytes_each() -> None:
    count = 200_000
    times: dict[int, int] = {}
    visits = _native.PageVisits(times.__getitem__, 256)
    for number in range(count):
        times[number] = number
        visits.start(number, 2, number % 131_072, number * 100)
    visits.finish()
    columns = visits.columns()
    assert columns["page"].tolist() == list(range(count))
    assert columns["position"].tolist() == list(range(0, count * 100, 100))
    assert columns["context"].tolist() == [number % 131_072 for number in range(count)]
    assert columns["written"].all()
    assert columns["ended"].tolist() == [0] * 256 + [256] * (count - 256)
    assert columns["idle"].tolist() == [0] * 256 + [256] * (count - 256)
    assert visits.memory_bytes < 16 * count


@pytest.mark.parametrize(
    ("page", "access", "context", "position"),
    [(1 << 44, 1, 0, 5), (1, 8, 0, 5), (1, 1, 1 << 17, 5), (1, 1, 0, 4), (0, 1, 0, 5)],
)
def test_values_that_cannot_be_kept_are_refused(
    page: int, access: int, context: int, position: int
) -> None:
    visits = _native.PageVisits(lambda page: page, 2)
    visits.start(0, 1, 0, 5)
    with pytest.raises(ValueError, match=r"out of range|before that of the last|in the filter"):
        visits.start(page, access, context, position)


# ---- simulation ----


def simulate(accesses: list[PageAccess], policy: Policy, capacity: int) -> PagingCounts:
    memory = PageMemory(policy, capacity)
    pages = np.array([access.page for access in accesses], np.int64)
    written = np.array([access.access_class in (2, 4) for access in accesses], np.bool_)
    for block in access_blocks(pages, written):
        memory.access(block)
    return memory.counts


def by_the_book(accesses: list[PageAccess], policy: Policy, capacity: int) -> PagingCounts:
    """From the next one to leave on: page to (dirty, accessed)."""
    held: OrderedDict[int, list[bool]] = OrderedDict()
    misses = evictions = dirty_evictions = 0
    for access in accesses:
        writes = access.access_class in (2, 4)
        if access.page in held:
            held[access.page][0] |= writes
            held[access.page][1] = True
            if policy == "lru":
                held.move_to_end(access.page)
            continue
        misses += 1
        if len(held) == capacity:
            page, (dirty, accessed) = held.popitem(last=False)
            while policy == "second_chance" and accessed:
                held[page] = [dirty, False]
                page, (dirty, accessed) = held.popitem(last=False)
            evictions += 1
            dirty_evictions += dirty
        held[access.page] = [writes, True]
    return PagingCounts(misses, evictions, dirty_evictions)


@given(ACCESSES, st.sampled_from(POLICIES), st.integers(1, 60))
def test_a_memory_does_what_its_policy_says(
    accesses: list[PageAccess], policy: Policy, capacity: int
) -> None:
    assert simulate(accesses, policy, capacity) == by_the_book(accesses, policy, capacity)


def test_a_long_run_crosses_blocks() -> None:
    accesses = make_accesses(1, 30_000, 500)
    for policy in POLICIES:
        for capacity in (20, 300, 499, 500):
            assert simulate(accesses, policy, capacity) == by_the_book(accesses, policy, capacity)


@given(ACCESSES, st.integers(1, 20), st.integers(0, 40))
def test_lru_from_visits_is_exact_from_the_size_of_the_filter_on(
    accesses: list[PageAccess], filter_page_count: int, more: int
) -> None:
    capacity = filter_page_count + more
    visits = visits_of(accesses, filter_page_count)
    assert simulate_visits(visits, "lru", capacity) == by_the_book(accesses, "lru", capacity)


@given(ACCESSES, st.integers(1, 20), st.integers(0, 40))
def test_native_lru_loads_equal_the_twins(
    accesses: list[PageAccess], filter_page_count: int, more: int
) -> None:
    visits = visits_of(accesses, filter_page_count)
    _, missing = _simulate_lru(visits, filter_page_count + more)
    assert lru_loads(visits, filter_page_count + more).tolist() == missing


@given(ACCESSES, st.sampled_from(POLICIES), st.integers(1, 60))
def test_all_policies_are_exact_from_visits_of_one_access(
    accesses: list[PageAccess], policy: Policy, capacity: int
) -> None:
    # With a filter of one page nothing happens during a visit but accesses to its page.
    result = simulate_visits(visits_of(accesses, 1), policy, capacity)
    assert result == by_the_book(accesses, policy, capacity)


@pytest.mark.parametrize("capacity", [80, 160, 320])
def test_other_policies_are_near(capacity: int) -> None:
    accesses = make_accesses(3, 60_000, 500)
    visits = visits_of(accesses, 20)
    # Its hand takes longer to come round than any of these pages is left alone in its visit.
    full = by_the_book(accesses, "second_chance", capacity)
    assert simulate_visits(visits, "second_chance", capacity) == full
    full = by_the_book(accesses, "fifo", capacity)
    near = simulate_visits(visits, "fifo", capacity)
    assert full.miss_count > 1000
    assert near.miss_count == pytest.approx(full.miss_count, rel=1e-3)
    assert near.dirty_eviction_count == pytest.approx(full.dirty_eviction_count, rel=1e-2)


def test_memories_below_the_filter_are_refused() -> None:
    visits = visits_of(make_accesses(1, 100, 30), 20)
    with pytest.raises(ValueError, match=r"memory of 19 pages .* filter of 20"):
        simulate_visits(visits, "lru", 19)
    with pytest.raises(ValueError, match=r"at least one page"):
        PageMemory("fifo", 0)


def test_visits_are_taken_from_the_table_of_a_recording() -> None:
    rows = {
        "process": [0, 1, 1, 1],
        "context": [0, 0, 0, 0],
        "position": [0, 0, 3, 4],
        "page": [5, 6, 7, 8],
        "access": ["load"] * 4,
        "written": [False, True, False, True],
        "ended": [None, None, None, 2],
        "idle": [None, None, None, 2],
    }
    table = pa.table(rows, schema=TABLES["page_visits"].schema)
    visits = PageVisits.from_rows(table.slice(1), 2)
    assert visits.page.tolist() == [6, 7, 8]
    assert visits.written.tolist() == [True, False, True]
    assert visits.ended.tolist() == [0, 0, 2]
    assert visits.idle.tolist() == [0, 0, 2]
