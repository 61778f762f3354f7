# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, OrderedDict
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import attributed
from sgxlens.attribution.facts import facts_of
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.epc import EpcRun
from sgxlens.enclave.paging import (
    FIRST_PAGE_LOADS,
    PAGE_LOADS,
    SELDOM_PAGE_LOADS,
    PagingCurve,
    PolicyLoads,
    compare_policies,
    paging_charges,
    paging_curve,
    simulated_ahead,
)
from sgxlens.enclave.phase_visits import ProcessVisits, Simulation, phase_visits
from sgxlens.enclave.platform import Platform, load_platform
from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.recording.reader import Recording
from simulated import Extent, Program, Span

LAST = "inference 2"
#: SECS, and a version array: of small enclaves.
RESERVED = 2
WEIGHT_PAGES = 400


def platform_with(*pages: int) -> Platform:
    """A platform whose EPC has so many usable pages: low, likely, high, or one number of them."""
    platform = load_platform("xeon-e-2288g")
    low, likely, high = pages * 3 if len(pages) == 1 else pages
    usable = platform.epc.usable_bytes.model_copy(
        update={
            "low": float(low * PAGE_BYTES),
            "likely": float(likely * PAGE_BYTES),
            "high": float(high * PAGE_BYTES),
        }
    )
    return platform.model_copy(
        update={"epc": platform.epc.model_copy(update={"usable_bytes": usable})}
    )


def total(charges: list[Charge], what: str | None = None) -> tuple[float, float, float]:
    chosen = [c.count for c in charges if what in (None, c.what)]
    return sum(c.low for c in chosen), sum(c.likely for c in chosen), sum(c.high for c in chosen)


@cache
def streaming() -> Recording:
    """One operator that reads all weights, page by page, in each of two inferences."""
    weights = tuple((1, page * 64, "load") for page in range(10, 10 + WEIGHT_PAGES))
    other = tuple((1, line, "store") for line in range(3))
    program = Program(
        ("load", "inference 1", "inference 2"),
        [
            Span(0, None, (*other, *((1, line, "store") for _, line, _ in weights))),
            Span(1, 0, weights),
            Span(2, 1, weights),
            Span(2, None, other),
        ],
        ["MatMul", "MatMul"],
        (("heap", "unclassified"), ("constant", "weights")),
        [Extent(0, 0, 640 + 64 * WEIGHT_PAGES), Extent(1, 640, 64 * WEIGHT_PAGES)],
    )
    return program.record()


@pytest.mark.parametrize("phase", attributed.PHASES)
@pytest.mark.parametrize("capacity", [2, 3, 4, 6])
def test_loads_are_charged_to_the_operator_and_the_role_of_the_page(
    capacity: int, phase: str
) -> None:
    program = attributed.program()
    # Of page 6 no more than 20 lines are activations, but the others are not used.
    role = {**dict.fromkeys(range(1, 6), "weights"), 6: "activations", 7: "unclassified"}
    resident: OrderedDict[int, None] = OrderedDict()
    known: set[int] = set()
    expected: Counter[tuple[str, int | None, str]] = Counter()
    for access in program.run():
        page = access.page
        if page not in resident and program.phases[access.phase] == phase:
            what = PAGE_LOADS if page in known else FIRST_PAGE_LOADS
            expected[what, access.operator, role[page]] += 1
        known.add(page)
        resident[page] = None
        resident.move_to_end(page)
        if len(resident) > capacity:
            resident.popitem(last=False)
    charges = paging_charges(
        program.record(), phase, platform_with(RESERVED + capacity), policy="lru"
    )
    assert {(c.what, c.operator, c.role): c.count.likely for c in charges} == expected
    assert {c.cause for c in charges} <= {"paging"}
    assert all(c.count.low == c.count.likely == c.count.high for c in charges)


def test_a_program_that_streams_its_weights_loads_them_all_and_pays_by_threads() -> None:
    platform = platform_with(RESERVED + 300)
    charges = paging_charges(streaming(), LAST, platform, threads=8)
    by_role = {(c.operator, c.role, c.what): c.count.likely for c in charges}
    assert by_role[1, "weights", PAGE_LOADS] == WEIGHT_PAGES
    # The other page was last used before the weights, not in the inference before.
    assert by_role[None, "unclassified", SELDOM_PAGE_LOADS] == 1
    assert {c.constant for c in charges} == {platform.paging.page_swap_ns.at(8)}


def test_a_page_that_is_new_in_a_repeated_inference_is_not_one_seldom_used() -> None:
    once, other, again, new = ((1, page * 64, "load") for page in range(10, 14))
    program = Program(
        ("load", "inference 1", "inference 2"),
        [Span(0, None, (once, other)), Span(1, 0, (again,)), Span(2, 1, (again, once, new))],
        ["MatMul", "MatMul"],
        (("heap", "unclassified"),),
        [Extent(0, 0, 64 * 20)],
    )
    charges = paging_charges(program.record(), LAST, platform_with(RESERVED + 2), policy="lru")
    found = {charge.what: charge.count.likely for charge in charges}
    assert found == {FIRST_PAGE_LOADS: 1, SELDOM_PAGE_LOADS: 1}


def test_what_fits_is_never_loaded_not_even_the_first_time() -> None:
    pages = WEIGHT_PAGES + 1
    # The kernel keeps 32 pages free.
    for phase in ("load", LAST):
        assert paging_charges(streaming(), phase, platform_with(RESERVED + pages + 32)) == []
    short = platform_with(RESERVED + pages + 31)
    assert total(paging_charges(streaming(), "load", short), FIRST_PAGE_LOADS)[1] == pages


def test_pages_that_are_only_committed_make_the_first_loads() -> None:
    platform = platform_with(1000)
    assert paging_charges(streaming(), "load", platform) == []
    charges = paging_charges(streaming(), "load", platform, committed_page_count=1001)
    assert total(charges, FIRST_PAGE_LOADS)[1] == WEIGHT_PAGES + 1
    assert total(charges, PAGE_LOADS)[1] == 0
    # More of them also take more version arrays: 200 pages, of 800.
    few = platform_with(800)
    assert not total(paging_charges(streaming(), LAST, few, committed_page_count=1001))[1]
    many = paging_charges(streaming(), LAST, few, committed_page_count=200 * 512)
    assert not total(many)[1]
    many = paging_charges(streaming(), LAST, few, committed_page_count=400 * 512)
    assert total(many, PAGE_LOADS)[1] > WEIGHT_PAGES / 2


def test_counts_are_ranges_as_the_size_of_the_epc_is() -> None:
    fixed = 100
    platform = platform_with(*(RESERVED + fixed + pages for pages in (300, 350, 433)))
    charges = paging_charges(streaming(), LAST, platform, fixed_page_count=fixed)
    low, likely, high = total(charges)
    assert (low, likely, high) == (0, WEIGHT_PAGES + 1, WEIGHT_PAGES + 1)


def test_replicas_wait_for_each_other_at_least_for_themselves() -> None:
    charges = paging_charges(streaming(), LAST, platform_with(700), replicas=2)
    assert total(charges) == (WEIGHT_PAGES + 1, 2 * (WEIGHT_PAGES + 1), 2 * (WEIGHT_PAGES + 1))
    assert charges[0].constant == load_platform("xeon-e-2288g").paging.page_swap_ns.at(2)
    # One of them alone has room.
    assert paging_charges(streaming(), LAST, platform_with(700)) == []


def curve_of(policy: str | None = None) -> PagingCurve:
    platform = platform_with(700)
    return paging_curve(streaming(), LAST, platform, policy=policy)  # type: ignore[arg-type]


def test_a_curve_goes_from_the_smallest_epc_to_one_that_holds_all() -> None:
    curve = curve_of()
    assert 30 <= curve.epc_bytes.size <= 40
    assert np.all(np.diff(curve.epc_bytes) > 0)
    assert curve.footprint_bytes == (WEIGHT_PAGES + 1) * PAGE_BYTES
    assert curve.reserved_bytes == RESERVED * PAGE_BYTES
    assert curve.fitting_bytes == (RESERVED + WEIGHT_PAGES + 1 + 32) * PAGE_BYTES
    assert 700 * PAGE_BYTES in curve.epc_bytes
    fits = curve.epc_bytes >= curve.fitting_bytes
    assert fits.any()
    assert not curve.load_count[fits].any()
    assert curve.load_count[0] == WEIGHT_PAGES + 1
    swap = curve.page_swap
    assert curve.seconds()[0].likely == pytest.approx(swap.likely * (WEIGHT_PAGES + 1) / 1e9)


def test_each_point_of_a_curve_is_what_is_charged_there() -> None:
    for policy in (None, "optimum", "fifo"):
        curve = curve_of(policy)
        for size, count in list(zip(curve.epc_bytes, curve.load_count, strict=True))[::9]:
            charges = paging_charges(
                streaming(),
                LAST,
                platform_with(int(size) // PAGE_BYTES),
                policy=policy,
            )
            assert total(charges)[1] == count


def test_what_a_repeated_inference_does_not_load_again_asks_for_no_epc() -> None:
    weights = tuple((1, page * 64, "load") for page in range(10, 10 + WEIGHT_PAGES))
    files = tuple((1, page * 64, "load") for page in range(1000, 1600))
    old, new = (1, 0, "load"), (1, 5000 * 64, "store")
    program = Program(
        ("load", "inference 1", LAST),
        [
            Span(0, None, (old, *files, *weights)),
            Span(1, 0, weights),
            Span(2, 1, (old, *weights, new)),
        ],
        ["MatMul", "MatMul"],
        (("heap", "unclassified"),),
        [Extent(0, 0, 6000 * 64)],
    )
    recording = program.record()
    # Room for the weights, not for the files: the old page has left for them.
    platform = platform_with(700)

    def loads(first: bool = True, is_repeated: bool = False) -> int:
        curve = paging_curve(recording, LAST, platform, first=first, is_repeated=is_repeated)
        used = compare_policies(recording, LAST, platform, first=first, is_repeated=is_repeated)
        assert curve.load_count[0] >= WEIGHT_PAGES
        (own,) = curve.load_count[curve.epc_bytes == 700 * PAGE_BYTES]
        assert own == next(p.load_count for p in used if p.policy == curve.policy)
        return int(own)

    assert loads() == 2
    assert loads(first=False) == 1
    assert loads(first=False, is_repeated=True) == 0


def test_the_cliff_is_where_a_stream_fits() -> None:
    cliff = curve_of().cliff_bytes
    assert cliff is not None
    assert curve_of().fitting_bytes - 64 * PAGE_BYTES <= cliff <= curve_of().fitting_bytes
    small = paging_curve(streaming(), LAST, platform_with(700), sizes=[1 << 20])
    assert small.cliff_bytes is None
    large = paging_curve(streaming(), LAST, platform_with(700), sizes=[8 << 20, 16 << 20])
    assert large.cliff_bytes is None
    assert large.load_count.tolist() == [0, 0]


@pytest.mark.parametrize("policy", ["linux", "optimum"])
@pytest.mark.parametrize("percent", [0, 5, 20, 1000])
def test_the_epc_for_an_overhead_is_enough_and_hardly_more(policy: str, percent: float) -> None:
    curve = curve_of(policy)
    native_seconds = 0.01
    sizes = curve.epc_for_overheads(native_seconds, [5, percent])[percent]
    for size, swap_ns in (
        (sizes.low, curve.page_swap.low),
        (sizes.likely, curve.page_swap.likely),
        (sizes.high, curve.page_swap.high),
    ):

        def overhead(size_bytes: float, swap_ns: float = swap_ns) -> float:
            found = paging_curve(
                streaming(),
                LAST,
                platform_with(700),
                sizes=[int(size_bytes)],
                policy=policy,  # type: ignore[arg-type]
            )
            return float(found.load_count[0] * swap_ns / (native_seconds * 1e9) * 100)

        assert overhead(size) <= percent
        if size > curve.epc_bytes[0]:
            assert overhead(max(size - 65 * PAGE_BYTES, curve.epc_bytes[0])) > percent


def test_what_is_simulated_ahead_is_all_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_thread: Counter[str] = Counter()
    sweep = ProcessVisits.sweep

    def counted_sweep(*args: Any, **options: Any) -> list[EpcRun]:
        by_thread[threading.current_thread().name] += 1
        return sweep(*args, **options)

    monkeypatch.setattr(ProcessVisits, "sweep", counted_sweep)
    platform = platform_with(RESERVED + 300)

    def found(processors: int) -> tuple[list[int], list[PolicyLoads]]:
        monkeypatch.setattr("sgxlens.enclave.phase_visits.processor_count", lambda: processors)
        by_thread.clear()
        recording = streaming.__wrapped__()
        with simulated_ahead(recording, LAST, platform):
            for thread in threading.enumerate():
                if thread.name == "sgxlens-simulations":
                    thread.join()
            curve = paging_curve(recording, LAST, platform)
            return curve.load_count.tolist(), compare_policies(recording, LAST, platform)

    alone = found(1)
    assert set(by_thread) == {threading.current_thread().name}
    assert found(2) == alone
    assert set(by_thread) == {"sgxlens-simulations"}


def test_what_is_simulated_ahead_ends_with_who_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sgxlens.enclave.phase_visits.processor_count", lambda: 2)
    recording = streaming.__wrapped__()
    phase = phase_visits(recording, facts_of(recording, LAST))
    many = [Simulation("optimum", 300 + i, 1, None) for i in range(200_000)]
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    start = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt), phase.simulated_ahead([many]):
        time.sleep(60)
    timer.join()
    assert time.monotonic() - start < 20
    assert all(thread.name != "sgxlens-simulations" for thread in threading.enumerate())


def test_what_cannot_be_simulated_ahead_is_told_when_it_is_asked_for() -> None:
    recording, platform = streaming.__wrapped__(), platform_with(66)
    with (
        pytest.raises(UsageError, match="too small"),
        simulated_ahead(recording, LAST, platform, policy="lru"),
    ):
        compare_policies(recording, LAST, platform)


def test_better_policies_save_what_fits() -> None:
    platform = platform_with(RESERVED + 300)
    found = {p.policy: p for p in compare_policies(streaming(), LAST, platform)}
    assert found["linux"].load_count == found["lru"].load_count == WEIGHT_PAGES + 1
    assert found["optimum"].load_count == pytest.approx(WEIGHT_PAGES - 300, abs=5)
    assert found["pinned"].load_count == pytest.approx(WEIGHT_PAGES - 300, abs=5)
    assert found["linux"].seconds.likely == pytest.approx(
        platform.paging.page_swap_ns.at(1).likely / 1e9 * (WEIGHT_PAGES + 1)
    )


# ---- bad input ----


def test_an_epc_that_is_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match=r"EPC of 264 KiB is too small .* takes 272 KiB in all"):
        paging_charges(streaming(), LAST, platform_with(66))
    with pytest.raises(
        UsageError, match=r"too small for 2 enclaves of .* MiB: 416 KiB of it are taken"
    ):
        paging_charges(streaming(), LAST, platform_with(150), replicas=2, fixed_page_count=50)
    with pytest.raises(UsageError, match=r"EPC of 4 KiB is too small"):
        paging_curve(streaming(), LAST, platform_with(700), sizes=[4096])
    with pytest.raises(UsageError, match=r"EPC of 128 MiB is too small"):
        paging_charges(
            streaming(), LAST, platform_with(32768), committed_page_count=1 << 24, policy="lru"
        )


def test_arguments_that_make_no_sense_are_refused() -> None:
    platform = platform_with(700)
    with pytest.raises(UsageError, match="0 replicas make no sense"):
        paging_charges(streaming(), LAST, platform, replicas=0)
    with pytest.raises(UsageError, match=r"no policy 'best': there is linux, "):
        paging_charges(streaming(), LAST, platform, policy="best")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one size"):
        paging_curve(streaming(), LAST, platform, sizes=[])
    with pytest.raises(UsageError, match="no phase 'inference 9'"):
        paging_charges(streaming(), "inference 9", platform)
    with pytest.raises(UsageError, match="not for 32"):
        paging_charges(streaming(), LAST, platform, threads=32)
    with pytest.raises(UsageError, match="native time must be above 0"):
        curve_of().epc_for_overheads(0, [5])
    with pytest.raises(UsageError, match="at least 0 percent"):
        curve_of().epc_for_overheads(1, [5, -5])


def changed(recording: Recording, column: str, value: int) -> Recording:
    table = recording.table("page_visits")
    values = table[column].to_pylist()
    values[-1] = value
    place = table.schema.get_field_index(column)
    recording._tables["page_visits"] = table.set_column(
        place, table.schema.field(column), pa.array(values, table.schema.field(column).type)
    )
    return recording


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("ended", 4000, "ends one before the first"),
        ("idle", 4000, "last access is not in it"),
        ("context", 4000, "a context that there is not"),
    ],
)
def test_damaged_visits_are_refused(column: str, value: int, why: str) -> None:
    recording = changed(attributed.program().record(), column, value)
    with pytest.raises(RecordingError, match=rf"corrupted: page_visits.parquet: .*{why}"):
        paging_charges(recording, LAST, platform_with(6), policy="lru")


def test_recordings_without_page_visits_are_refused() -> None:
    recording = attributed.program().record()
    del recording.metadata.tables["page_visits"]
    with pytest.raises(RecordingError, match=r"no page visits, .* record it again"):
        paging_charges(recording, LAST, platform_with(700))
    recording = attributed.program().record()
    recording.metadata.settings.visit_page_count = None
    with pytest.raises(RecordingError, match=r"no page visits, .* record it again"):
        paging_curve(recording, LAST, platform_with(700))
