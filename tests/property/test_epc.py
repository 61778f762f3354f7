# SPDX-License-Identifier: Apache-2.0
"""The simulation of the EPC: the native one against its twin, and what must hold of any policy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from page_accesses import make_accesses, visits_of, visits_to
from reclaimed import ReclaimedMemory
from sgxlens._native import EpcVisits, NativeEpcVisitsError
from sgxlens.enclave import _epc_reference as twin
from sgxlens.enclave.epc import (
    EPC_POLICIES,
    EpcPolicy,
    EpcRun,
    EpcSimulation,
    Reclaimer,
    SimulationStoppedError,
)
from sgxlens.reuse._page_visits_reference import PageAccess
from sgxlens.reuse.page_memory import POLICIES, Policy, access_blocks
from sgxlens.reuse.page_visits import PageVisits, simulate_visits

RECLAIMERS = st.builds(
    lambda scan, low, more: Reclaimer(scan, low, low + more),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 6),
)
VISITS = st.builds(
    lambda seed, count, pages, filter_pages: visits_of(
        make_accesses(seed, count, pages), filter_pages
    ),
    st.integers(0, 2**32),
    st.integers(0, 300),
    st.integers(1, 60),
    st.integers(1, 12),
)


def groups_of(visits: PageVisits) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Three groups in turn, several visits at a time."""
    return (np.arange(len(visits.page)) // 5 % 3).astype(np.uint32)


def by_page(run: EpcRun, simulation: EpcSimulation) -> tuple[list[tuple[int, int]], ...]:
    """Visits and pages of the loads and of the evictions."""
    return tuple(
        list(zip(events.visit.tolist(), simulation.pages[events.page].tolist(), strict=True))
        for events in (run.loads, run.evictions)
    )


def test_policies_are_those_of_the_native_core() -> None:
    assert EpcVisits.POLICIES == EPC_POLICIES == get_args(EpcPolicy)


@given(
    VISITS,
    st.sampled_from(EPC_POLICIES),
    st.tuples(st.integers(0, 40), st.integers(1, 3), RECLAIMERS, st.slices(300)),
)
def test_the_native_simulation_equals_its_twin(
    visits: PageVisits,
    policy: EpcPolicy,
    settings: tuple[int, int, Reclaimer, slice],
) -> None:
    more, replicas, reclaimer, counted = settings
    group = groups_of(visits)
    simulation = EpcSimulation(visits, group)
    least = simulation.capacity_min(policy, replicas, reclaimer)
    counted = slice(counted.start, counted.stop)
    marked = simulation.pages % 3 == 0
    runs = simulation.sweep(
        policy,
        [least + more, least + more // 2, least],
        replicas=replicas,
        reclaimer=reclaimer,
        counted=counted,
        keep_events=True,
        marked=marked,
    )
    for run in runs:
        expected = twin.simulate(
            visits,
            policy,
            run.capacity_pages,
            replicas=replicas,
            reclaimer=reclaimer,
            counted=counted,
        )
        loads, evictions = by_page(run, simulation)
        assert loads == [(visit, page.number) for visit, page in expected.loads]
        assert evictions == [(visit, page.number) for visit, page in expected.evictions]
        marked_loads = [(visit, page) for visit, page in loads if page % 3 == 0]
        for counts, events in (
            (run.load_count, loads),
            (run.eviction_count, evictions),
            (run.marked_load_count, marked_loads),
        ):
            by_group = Counter(int(group[visit]) for visit, _ in events)
            assert counts.tolist() == [by_group[i] for i in range(simulation.group_count)]


@given(VISITS, st.integers(0, 40), RECLAIMERS)
def test_of_one_enclave_both_drivers_are_the_same(
    visits: PageVisits, more: int, reclaimer: Reclaimer
) -> None:
    simulation = EpcSimulation(visits)
    capacity = simulation.capacity_min("linux", reclaimer=reclaimer) + more
    linux, intel = (
        by_page(simulation.run(p, capacity, reclaimer=reclaimer, keep_events=True), simulation)
        for p in ("linux", "out_of_tree")
    )
    assert linux == intel


@given(VISITS, st.sampled_from(POLICIES), st.integers(0, 40))
def test_the_plain_policies_are_those_of_page_visits(
    visits: PageVisits, policy: Policy, more: int
) -> None:
    capacity = visits.filter_page_count + more
    run = EpcSimulation(visits).run(policy, capacity)
    counts = simulate_visits(visits, policy, capacity)
    assert int(run.load_count.sum()) == counts.miss_count
    assert int(run.eviction_count.sum()) == counts.eviction_count


@given(VISITS, st.integers(0, 40), st.integers(1, 3), RECLAIMERS)
def test_the_optimum_is_never_beaten(
    visits: PageVisits, more: int, replicas: int, reclaimer: Reclaimer
) -> None:
    simulation = EpcSimulation(visits)
    least = max(simulation.capacity_min(p, replicas, reclaimer) for p in EPC_POLICIES)
    loads = {
        policy: int(
            simulation.run(policy, least + more, replicas=replicas, reclaimer=reclaimer)
            .load_count.sum()
        )
        for policy in EPC_POLICIES
    }  # fmt: skip
    assert min(loads.values()) == loads["optimum"], loads


def belady(pages: Sequence[int], capacity: int) -> int:
    """Loads if the page that is accessed again last leaves, by the book."""
    resident: set[int] = set()
    loads = 0
    for index, page in enumerate(pages):
        if page in resident:
            continue
        loads += 1
        if len(resident) == capacity:
            later = list(pages[index:])
            resident.remove(
                max(resident, key=lambda p: later.index(p) if p in later else len(later))
            )
        resident.add(page)
    return loads


@given(
    st.lists(st.integers(0, 12), max_size=80),
    st.integers(1, 10),
)
def test_the_optimum_is_beladys_where_visits_are_single_accesses(
    pages: list[int], capacity: int
) -> None:
    run = EpcSimulation(visits_to(pages, 1)).run("optimum", capacity)
    assert int(run.load_count.sum()) == belady(pages, capacity)


@given(VISITS, st.sampled_from(EPC_POLICIES), st.integers(0, 40), st.integers(1, 3))
def test_a_memory_holds_what_it_can(
    visits: PageVisits, policy: EpcPolicy, more: int, replicas: int
) -> None:
    reclaimer = Reclaimer(2, 2, 4)
    simulation = EpcSimulation(visits)
    capacity = simulation.capacity_min(policy, replicas, reclaimer) + more
    run = simulation.run(policy, capacity, replicas=replicas, reclaimer=reclaimer)
    resident = int(run.load_count.sum()) - int(run.eviction_count.sum())
    assert resident <= capacity
    pages = replicas * len(simulation.pages)
    kept_free = reclaimer.low_page_count if policy in ("linux", "out_of_tree") else 0
    if pages <= capacity - kept_free:
        assert resident == int(run.load_count.sum()) == pages


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_stream_larger_than_the_epc_defeats_all_but_clairvoyance_and_pins(replicas: int) -> None:
    pages, rounds, epc = 1000, 20, 600
    simulation = EpcSimulation(visits_to([*range(pages)] * rounds, 16))
    total = replicas * pages * rounds
    share = {}
    for policy in EPC_POLICIES:
        run = simulation.run(policy, epc * replicas, replicas=replicas)
        share[policy] = 1 - (int(run.load_count.sum()) - replicas * pages) / (
            total - replicas * pages
        )
    # Every page is loaded in every round.
    assert all(share[p] == 0 for p in ("fifo", "lru", "second_chance", "linux", "out_of_tree"))
    # Of every round as many pages stay as there is room for, but for those passing through.
    for policy in ("optimum", "mru", "pinned"):
        assert share[policy] == pytest.approx(epc / pages, abs=20 / pages), policy
    assert share["optimum"] == max(share.values())


def test_the_reclaimer_keeps_pages_free_and_batches_are_not_filled_up() -> None:
    visits = visits_to([*range(400)], 1)
    run = EpcSimulation(visits).run("linux", 200, keep_events=True)
    by_visit = Counter(run.evictions.visit.tolist())
    # 169 pages leave 31 free; the last is not in the list yet. The others are young the first time
    # round, so that ten batches evict none, and the eleventh 8 after the 8 pages at the end; two of
    # 16 are left to 64 free pages, and make it 71. From then on pages at the head are old, and
    # three batches leave 79 free.
    assert list(by_visit.items())[:2] == [(168, 40), (168 + 40, 48)]
    assert run.evictions.page.tolist() == [*range(len(run.evictions.page))]


def test_of_two_enclaves_intels_driver_takes_batches_and_the_kernel_pages_in_turn() -> None:
    simulation = EpcSimulation(visits_to([*range(400)], 1))
    evicted = {
        policy: simulation.run(policy, 200, replicas=2, keep_events=True).evictions.page.tolist()
        for policy in ("linux", "out_of_tree")
    }
    assert evicted["linux"][:8] == [0, 0, 1, 1, 2, 2, 3, 3]
    batch = evicted["out_of_tree"].index(0, 1)
    assert 8 < batch <= 16
    assert evicted["out_of_tree"][: 2 * batch - 4] == [*range(batch), *range(batch - 4)]


def test_replicas_have_what_one_has_in_its_share() -> None:
    simulation = EpcSimulation(visits_of(make_accesses(5, 20_000, 300), 16))
    few = Reclaimer(1, 1, 1)
    for policy in EPC_POLICIES:
        one = int(simulation.run(policy, 200, reclaimer=few).load_count.sum())
        three = int(simulation.run(policy, 600, replicas=3, reclaimer=few).load_count.sum())
        assert three == pytest.approx(3 * one, rel=0.03), (policy, three / one)


def test_a_sweep_is_its_sizes_one_by_one() -> None:
    simulation = EpcSimulation(visits_of(make_accesses(6, 20_000, 300), 16))
    sizes = [*range(100, 320, 3)]  # more than are simulated at once
    for policy in EPC_POLICIES:
        runs = simulation.sweep(policy, sizes)
        assert [run.capacity_pages for run in runs] == sizes
        for run in runs:
            alone = simulation.run(policy, run.capacity_pages)
            assert run.load_count.tolist() == alone.load_count.tolist()
            assert not run.loads.visit.size
    assert simulation.sweep("lru", []) == []


@given(
    st.builds(make_accesses, st.integers(0, 2**32), st.integers(0, 400), st.integers(1, 200)),
    st.integers(0, 40),
)
def test_the_reclaimer_does_what_it_does_access_by_access(
    accesses: list[PageAccess], more: int
) -> None:
    simulation = EpcSimulation(visits_of(accesses, 1))
    capacity = simulation.capacity_min("linux") + more
    memory = ReclaimedMemory(capacity)
    pages = np.array([access.page for access in accesses], np.int64)
    for block in access_blocks(pages, np.zeros(len(pages), np.bool_)):
        memory.access(block)
    run = simulation.run("linux", capacity)
    assert memory.counts.miss_count == int(run.load_count.sum())
    assert memory.counts.eviction_count == int(run.eviction_count.sum())


@pytest.mark.parametrize("policy", ["linux", "out_of_tree", "fifo", "second_chance", "optimum"])
def test_loads_are_near_those_of_the_accesses_themselves(policy: EpcPolicy) -> None:
    accesses = make_accesses(3, 60_000, 500)
    # With a filter of one page nothing happens in a visit but accesses to its page.
    exact = EpcSimulation(visits_of(accesses, 1))
    from_visits = EpcSimulation(visits_of(accesses, 20))
    for capacity in (160, 240, 320, 480):
        expected = int(exact.run(policy, capacity).load_count.sum())
        found = int(from_visits.run(policy, capacity).load_count.sum())
        if policy in ("fifo", "optimum"):
            assert found == pytest.approx(expected, rel=1e-3)
        else:
            assert found == expected


def test_a_sweep_can_be_interrupted() -> None:
    simulation = EpcSimulation(visits_of(make_accesses(7, 20_000, 300), 16))
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        simulation.sweep("optimum", [200] * 200_000)
    timer.join()
    assert time.monotonic() - start < 20


def test_a_sweep_ends_when_nobody_waits_for_it() -> None:
    simulation = EpcSimulation(visits_of(make_accesses(7, 20_000, 300), 16))
    start = time.monotonic()
    with pytest.raises(SimulationStoppedError):
        simulation.sweep(
            "optimum", [200] * 200_000, is_stopped=lambda: time.monotonic() > start + 0.2
        )
    assert time.monotonic() - start < 20
    (run,) = simulation.sweep("optimum", [200], is_stopped=lambda: False)
    assert run.load_count.sum() > 0


def test_no_visits_are_no_loads() -> None:
    simulation = EpcSimulation(visits_to([], 4))
    for policy in EPC_POLICIES:
        run = simulation.run(policy, 100, replicas=2, keep_events=True)
        assert not run.load_count.size
        assert not run.loads.visit.size


# ---- what cannot be ----


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 4)), max_size=40
    ),
    st.integers(0, 4),
    st.sampled_from(EPC_POLICIES),
    st.integers(1, 2),
)  # fmt: skip
def test_visits_that_cannot_be_are_refused_or_harmless(
    rows: list[tuple[int, int, int]], filter_page_count: int, policy: EpcPolicy, replicas: int
) -> None:
    page, ended, idle = (np.array([row[i] for row in rows], np.uint32) for i in range(3))
    written = np.zeros(len(rows), np.bool_)
    visits = PageVisits(page.astype(np.uint64), written, ended, idle, filter_page_count)
    try:
        simulation = EpcSimulation(visits)
    except NativeEpcVisitsError:
        return
    reclaimer = Reclaimer(1, 1, 1)
    capacity = simulation.capacity_min(policy, replicas, reclaimer)
    run = simulation.run(policy, capacity, replicas=replicas, reclaimer=reclaimer, keep_events=True)
    expected = twin.simulate(visits, policy, capacity, replicas=replicas, reclaimer=reclaimer)
    assert by_page(run, simulation)[0] == [(v, page.number) for v, page in expected.loads]


@pytest.mark.parametrize(
    ("page", "ended", "idle", "why"),
    [
        ([1, 1], [0, 0], [0, 0], "visit 1 starts to a page that is in a visit"),
        ([1, 2], [0, 2], [0, 1], "visit 1 ends one before the first"),
        ([1, 2, 3, 4], [0, 0, 2, 3], [0, 0, 1, 1], "visit 3 ends one that has ended"),
        ([1, 2, 3], [0, 0, 2], [0, 0, 0], "visit 2 ends one whose last access is not in it"),
        ([1, 2, 3], [0, 0, 2], [0, 0, 3], "visit 2 ends one whose last access is not in it"),
        ([1, 2, 3], [0, 0, 0], [0, 0, 0], "visit 2 ends none, though more are going on"),
    ],
)
def test_why_visits_cannot_be(page: list[int], ended: list[int], idle: list[int], why: str) -> None:
    visits = PageVisits(
        np.array(page, np.uint64),
        np.zeros(len(page), np.bool_),
        np.array(ended, np.uint32),
        np.array(idle, np.uint32),
        2,
    )
    with pytest.raises(NativeEpcVisitsError, match=why):
        EpcSimulation(visits)


def test_arguments_that_make_no_sense_are_refused() -> None:
    visits = visits_to([*range(40)], 8)
    simulation = EpcSimulation(visits)
    with pytest.raises(ValueError, match=r"memory of 71 pages .* takes 72"):
        simulation.run("linux", 71)
    with pytest.raises(ValueError, match=r"memory of 15 pages .* takes 16"):
        simulation.run("lru", 15, replicas=2)
    with pytest.raises(ValueError, match="at least one replica"):
        simulation.run("lru", 15, replicas=0)
    with pytest.raises(ValueError, match="too many pages in all replicas"):
        simulation.run("lru", 2**63, replicas=2**31)
    with pytest.raises(ValueError, match="a reclaimer looks at"):
        simulation.run("linux", 500, reclaimer=Reclaimer(16, 64, 32))
    with pytest.raises(ValueError, match="no such policy"):
        simulation.run("best", 500)  # type: ignore[arg-type]
    with pytest.raises(NativeEpcVisitsError, match="not one value of each kind"):
        EpcSimulation(visits, np.zeros(3, np.uint32))
    with pytest.raises(NativeEpcVisitsError, match="group that is too large"):
        EpcSimulation(visits, np.full(40, 1 << 20, np.uint32))
    # A memory of any size is one in which everything stays.
    assert int(simulation.run("linux", 2**62).eviction_count.sum()) == 0
