# SPDX-License-Identifier: Apache-2.0
"""The native ReuseStack against its twin."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgxlens._native import ReuseStack, distance_bins
from sgxlens.reuse import _reference as twin

Granularity = Literal["line", "page"]
LOWS, HIGHS = (np.asarray(bounds).tolist() for bounds in distance_bins())
BINS = list(zip(LOWS, HIGHS, strict=True))
GRANULARITIES = st.sampled_from(["line", "page"])
INSTRUCTION_SETS = st.sampled_from(["baseline", "avx2", "avx512"])
LINE_LIMIT = 2**41


def assert_same(native: dict[str, Any], expected: twin.PhaseCounts) -> None:
    for name in ("access_count", "sampled_count", "cold_count"):
        assert native[name].tolist() == getattr(expected, name), name
    classes, bins = np.nonzero(native["distance_count"])
    counted = {
        (int(c), BINS[b]): int(native["distance_count"][c, b])
        for c, b in zip(classes, bins, strict=True)
    }
    assert counted == expected.distance_count
    assert native["footprint_any"] == len(expected.blocks)
    assert native["footprint_by_class"].tolist() == [len(b) for b in expected.blocks_by_class]
    assert native["first_touch_count"] == expected.first_touch_count


def check(
    phases: list[np.ndarray], stack: ReuseStack, granularity: Granularity, rate: float, batch: int
) -> None:
    expected = twin.ReuseStack(granularity, rate)
    for entries in phases:
        for start in range(0, len(entries), batch):
            stack.access(entries[start : start + batch])
        expected.access(entries.tolist())
        assert_same(stack.end_phase(), expected.end_phase())
        any_, by_class = stack.whole()
        assert (any_, np.asarray(by_class).tolist()) == expected.whole()


@dataclass(frozen=True)
class Shape:
    """How a random trace looks: lines in use, how local accesses are, how far lines are apart."""

    seed: int
    count: int
    lines: int
    locality: float
    stride: int
    base: int


def trace(shape: Shape) -> np.ndarray:
    rng = np.random.default_rng(shape.seed)
    # Powers of a uniform number: the higher, the more accesses go to few lines.
    ranks = (rng.random(shape.count) ** shape.locality * shape.lines).astype(np.uint64)
    sweep = np.arange(shape.count, dtype=np.uint64) % np.uint64(shape.lines)
    repeats = rng.random(shape.count) < 0.2
    lines = np.where(rng.random(shape.count) < 0.3, sweep, ranks)
    lines[1:] = np.where(repeats[1:], lines[:-1], lines[1:])
    lines = (np.uint64(shape.base) + lines * np.uint64(shape.stride)) % np.uint64(LINE_LIMIT)
    access = rng.choice(5, shape.count, p=[0.4, 0.35, 0.2, 0.03, 0.02]).astype(np.uint64)
    continuation = (rng.random(shape.count) < 0.05).astype(np.uint64)
    return lines << np.uint64(4) | continuation << np.uint64(3) | access


SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 2**32),
    count=st.integers(0, 3000),
    lines=st.integers(1, 1500),
    locality=st.floats(1.0, 8.0),
    stride=st.sampled_from([1, 2, 3, 4, 16, 64, 100, 4096, 2**20, 2**30]),
    base=st.sampled_from([0, 0x400000 >> 6, LINE_LIMIT - 1, LINE_LIMIT - 700]),
)


@settings(max_examples=150)
@given(
    shapes=st.lists(SHAPES, min_size=1, max_size=4),
    granularity=GRANULARITIES,
    initial_block_count=st.sampled_from([1, 16, 40, 200, 4096]),
    instruction_set=INSTRUCTION_SETS,
    batch=st.sampled_from([1, 7, 64, 500, 5000]),
)
def test_equals_twin(
    shapes: list[Shape],
    granularity: Granularity,
    initial_block_count: int,
    instruction_set: str,
    batch: int,
) -> None:
    # Small first sizes make the table grow and the timeline be compacted many times.
    stack = ReuseStack(
        granularity,
        initial_block_count=initial_block_count,
        instruction_set=instruction_set,
    )
    check([trace(shape) for shape in shapes], stack, granularity, 1.0, batch)


@settings(max_examples=60)
@given(
    shapes=st.lists(SHAPES, min_size=1, max_size=3),
    granularity=GRANULARITIES,
    rate=st.sampled_from([1e-9, 0.01, 0.1, 0.3, 0.5, 0.99]),
    instruction_set=INSTRUCTION_SETS,
)
def test_sampling_equals_twin(
    shapes: list[Shape], granularity: Granularity, rate: float, instruction_set: str
) -> None:
    stack = ReuseStack(
        granularity, sampling_rate=rate, initial_block_count=16, instruction_set=instruction_set
    )
    check([trace(shape) for shape in shapes], stack, granularity, rate, 400)


ENTRIES = st.builds(
    twin.make_entry,
    st.one_of(st.integers(0, 6), st.integers(60, 130), st.integers(0, LINE_LIMIT - 1)),
    st.integers(0, 4),
    continuation=st.booleans(),
)


@settings(max_examples=200)
@given(
    phases=st.lists(st.lists(ENTRIES, max_size=60), min_size=1, max_size=5),
    granularity=GRANULARITIES,
    instruction_set=INSTRUCTION_SETS,
)
def test_short_traces_equal_twin(
    phases: list[list[int]], granularity: Granularity, instruction_set: str
) -> None:
    stack = ReuseStack(granularity, initial_block_count=16, instruction_set=instruction_set)
    check([np.array(p, dtype=np.uint64) for p in phases], stack, granularity, 1.0, 1000)


@pytest.mark.parametrize("line_count", [64, 128, 1 << 12, (1 << 17) + 1])
@pytest.mark.parametrize("stride", [1, 4, 64, 1 << 14])
def test_sweeps_have_one_distance(line_count: int, stride: int) -> None:
    stack = ReuseStack("line", initial_block_count=256)
    sweep = (np.arange(line_count, dtype=np.uint64) * np.uint64(stride)) << np.uint64(4)
    for _ in range(5):
        stack.access(sweep)
    phase = stack.end_phase()
    (bin_,) = np.nonzero(phase["distance_count"][0])[0]
    assert BINS[bin_] == twin.bin_bounds(line_count - 1)
    assert phase["distance_count"][0, bin_] == 4 * line_count
    assert phase["cold_count"][0] == phase["first_touch_count"] == line_count


@pytest.mark.parametrize("granularity", ["line", "page"])
def test_memory_stays_within_its_bound(granularity: Granularity) -> None:
    stack = ReuseStack(granularity)
    constant = stack.peak_memory_bytes + (8 << 20)
    step = 64 if granularity == "page" else 1
    for start in range(0, 4_000_000, 50_000):
        blocks = np.arange(start, start + 50_000, dtype=np.uint64)
        stack.access((blocks * np.uint64(step)) << np.uint64(4))
        assert stack.peak_memory_bytes <= 50 * (start + 50_000) + constant


@pytest.mark.parametrize("stride", [1, 2, 8, 64, 512, 4096, 12345, 1 << 20])
def test_sampling_is_even_over_strides(stride: int) -> None:
    rate, count = 0.1, 100_000
    stack = ReuseStack("line", sampling_rate=rate)
    blocks = np.arange(count, dtype=np.uint64) * np.uint64(stride)
    stack.access(blocks << np.uint64(4))
    sampled = int(stack.end_phase()["sampled_count"][0])
    # Five standard deviations of a binomial count.
    assert abs(sampled - rate * count) < 5 * (count * rate * (1 - rate)) ** 0.5


def test_bins_tile_all_distances() -> None:
    assert BINS[0] == (0, 0)
    assert all(low == before + 1 for (_, before), (low, _) in pairwise(BINS))
    assert BINS[-1][1] == LINE_LIMIT - 1
    lows = {low for low, _ in BINS}
    assert {1 << k for k in range(41)} <= lows
    for bounds in BINS:
        assert twin.bin_bounds(bounds[0]) == twin.bin_bounds(bounds[1]) == bounds


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.5, float("nan")])
def test_refuses_sampling_rates(rate: float) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        ReuseStack("line", sampling_rate=rate)


@pytest.mark.parametrize("entry", [5, 7, 13, LINE_LIMIT << 4])
def test_refuses_invalid_entries(entry: int) -> None:
    stack = ReuseStack("line")
    with pytest.raises(ValueError, match="entry"):
        stack.access(np.array([0, entry], dtype=np.uint64))
    assert stack.end_phase()["access_count"].tolist() == [0] * 5


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint32])
def test_refuses_other_arrays(dtype: type) -> None:
    with pytest.raises(TypeError):
        ReuseStack("line").access(np.zeros(3, dtype=dtype))
