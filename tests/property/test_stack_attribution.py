# SPDX-License-Identifier: Apache-2.0
"""What a native ReuseStack attributes, against its twin."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgxlens._native import BlockLog, ReuseStack, distance_bins
from sgxlens.reuse import _reference as twin

LOWS, HIGHS = (np.asarray(bounds).tolist() for bounds in distance_bins())
COLD_BIN = 0xFFFF
REGION, VISIT, NOTE, TIME, RENUMBERED = range(5)


@dataclass(frozen=True)
class Slice:
    """Some accesses of one context.

    `sweep`: how many of the accesses go through all blocks in turn; the others go to a few.
    """

    seed: int
    context: int
    regions_seed: int
    count: int
    lines: int
    sweep: float
    stride: int


SLICES = st.builds(
    Slice,
    seed=st.integers(0, 2**32),
    context=st.integers(0, 2),
    regions_seed=st.integers(0, 3),
    count=st.integers(0, 1500),
    lines=st.integers(1, 600),
    sweep=st.floats(0.0, 1.0),
    stride=st.sampled_from([1, 3, 64, 100, 4096]),
)
BASE = 2**30


def entries_of(some: Slice) -> np.ndarray:
    rng = np.random.default_rng(some.seed)
    turns = np.arange(some.count) % some.lines
    few = (rng.random(some.count) ** 3 * some.lines).astype(np.int64)
    lines = np.where(rng.random(some.count) < some.sweep, turns, few)
    repeats = rng.random(some.count) < 0.4
    lines[1:] = np.where(repeats[1:], lines[:-1], lines[1:])
    access = rng.choice(5, some.count, p=[0.3, 0.35, 0.3, 0.03, 0.02])
    continuation = rng.random(some.count) < 0.05
    entries = (BASE + lines * some.stride) << 4 | continuation << 3 | access
    return entries.astype(np.uint64)


def regions_of(seed: int, shift: int) -> tuple[list[int], list[int]]:
    """Starts of regions, as blocks, and their numbers; all alike for seed 0."""
    if seed == 0:
        return [], []
    rng = np.random.default_rng(seed)
    starts = np.unique((BASE + rng.integers(0, 2000, 12)) >> shift).tolist()
    return starts, rng.choice([0, 1, 2, 7, 500, 1023], len(starts)).tolist()


def counted(rows: np.ndarray) -> Counter[Any]:
    counts: Counter[Any] = Counter()
    for source, region, access, bin_, count in rows.tolist():
        if bin_ == COLD_BIN:
            counts[None, region, access, None] += count
        else:
            counts[source, region, access, (LOWS[bin_], HIGHS[bin_])] += count
    return counts


def assert_told(calls: list[list[int]], expected: twin.ContextCounts, in_order: bool) -> None:
    assert [b for call, b, _ in calls if call == REGION] == expected.regions_asked
    told: list[tuple[str, int, int]] = []
    times: list[list[tuple[int, int]]] = []
    for call, block, value in calls:
        if call == VISIT:
            told.append(("visit", block, value))
            times.append([])
        elif call == NOTE:
            told.extend(("note", block, c) for c in range(5) if value >> c & 1)
        elif call == TIME and value != 0:
            times[-1].append((value, block))
    assert (told if in_order else sorted(told)) == (
        expected.told if in_order else sorted(expected.told)
    )
    for at_visit, recent in zip(times, expected.recent, strict=True):
        timed = {block for _, block in at_visit}
        assert len(timed) == len(at_visit)
        assert [block for _, block in sorted(at_visit)] == [b for b in recent if b in timed]


def region_function(starts: list[int], numbers: list[int]) -> Callable[[int], int]:
    def region_of(block: int) -> int:
        i = bisect_right(starts, block)
        return numbers[i - 1] if i > 0 else 0

    return region_of


@dataclass(frozen=True)
class Setup:
    """Of the stacks; batch: how many accesses are given at once."""

    granularity: Literal["line", "page"]
    visit_distance: int | None
    rate: float
    initial_block_count: int
    instruction_set: str
    batch: int


# Small first sizes make the table grow and the timeline be compacted many times.
SETUPS = st.builds(
    Setup,
    granularity=st.sampled_from(["line", "page"]),
    visit_distance=st.sampled_from([None, 128, 150, 256]),
    rate=st.sampled_from([1.0, 1.0, 1.0, 0.6]),
    initial_block_count=st.sampled_from([1, 40, 200, 4096]),
    instruction_set=st.sampled_from(["baseline", "avx2", "avx512"]),
    batch=st.sampled_from([1, 7, 500, 5000]),
)


@settings(max_examples=80)
@given(
    phases=st.lists(st.lists(SLICES, min_size=1, max_size=4), min_size=1, max_size=3),
    setup=SETUPS,
)
def test_equals_twin(phases: list[list[Slice]], setup: Setup) -> None:
    granularity, visit_distance = setup.granularity, setup.visit_distance
    shift = 6 if granularity == "page" else 0
    blocks = np.unique(
        np.concatenate([entries_of(s) >> np.uint64(4 + shift) for p in phases for s in p])
    )
    timed = blocks[:: max(1, len(blocks) // 20)].tolist()
    stack = ReuseStack(
        granularity,
        sampling_rate=setup.rate,
        initial_block_count=setup.initial_block_count,
        instruction_set=setup.instruction_set,
    )
    log = BlockLog(timed)
    stack.attribute(log, visit_distance)
    expected = twin.ReuseStack(granularity, setup.rate, visit_distance)
    for number, slices in enumerate(phases):
        sums: Counter[Any] = Counter()
        for some in slices:
            context = 3 * number + some.context
            starts, numbers = regions_of(some.regions_seed, shift)
            log.set_regions(np.array(starts, np.uint64), np.array(numbers, np.uint64))
            stack.begin_context(context)
            expected.begin_context(context, region_function(starts, numbers))
            entries = entries_of(some)
            for start in range(0, len(entries), setup.batch):
                stack.access(entries[start : start + setup.batch])
            expected.access(entries.tolist())
            counts = counted(np.asarray(stack.end_context()))
            wanted = expected.end_context()
            assert counts == wanted.counts
            assert_told(np.asarray(log.take()).tolist(), wanted, visit_distance is not None)
            for (_, _, access, bounds), count in counts.items():
                sums[access, bounds] += count
        phase = stack.end_phase()
        counted_by_class = {
            (c, (LOWS[b], HIGHS[b])): int(phase["distance_count"][c, b])
            for c, b in np.argwhere(phase["distance_count"]).tolist()
        }
        ended = expected.end_phase()
        assert counted_by_class == ended.distance_count
        assert phase["cold_count"].tolist() == ended.cold_count
        assert phase["footprint_any"] == len(ended.blocks)
        assert phase["footprint_by_class"].tolist() == [len(b) for b in ended.blocks_by_class]
        assert {k: n for k, n in sums.items() if k[1] is not None} == ended.distance_count


def test_times_are_renumbered_in_a_context() -> None:
    stack = ReuseStack("page", initial_block_count=16)
    log = BlockLog()
    stack.attribute(log, 128)
    stack.begin_context(1)
    stack.access(
        ((np.arange(5000, dtype=np.uint64) % np.uint64(140)) * np.uint64(64)) << np.uint64(4)
    )
    calls = np.asarray(log.take())[:, 0].tolist()
    assert calls.count(RENUMBERED) > 2
    assert calls.count(VISIT) == 5000
    rows = np.asarray(stack.end_context()).tolist()
    assert sorted(rows) == [[0, 0, 0, COLD_BIN, 140], [1, 0, 0, LOWS.index(136), 4860]]


def test_refuses_what_it_cannot_tell_apart() -> None:
    stack = ReuseStack("page")
    log = BlockLog()
    with pytest.raises(ValueError, match="visits"):
        stack.attribute(log, 127)
    stack.attribute(log)
    with pytest.raises(ValueError, match="context"):
        stack.begin_context(1 << 17)
    with pytest.raises(ValueError, match="regions"):
        log.set_regions(np.array([0], np.uint64), np.array([1024], np.uint64))
