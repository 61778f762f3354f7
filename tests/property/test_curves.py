# SPDX-License-Identifier: Apache-2.0
"""Histograms and curves against lists of distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import lru
from sgxlens.reuse.curves import miss_ratio_curve
from sgxlens.reuse.histogram import ReuseHistogram

FAR = 300
distances = st.lists(st.none() | st.integers(0, FAR - 1), max_size=60)
#: Lower bounds of bins that cover all distances.
edges = st.sets(st.integers(1, FAR - 1), max_size=12).map(lambda inner: sorted({0, *inner}))


def histogram_of(values: Sequence[int | None], bounds: Sequence[int]) -> ReuseHistogram:
    """Bins [bounds[i], bounds[i + 1]), those that are empty left out."""
    rows = []
    for low, end in zip(bounds, [*bounds[1:], FAR], strict=True):
        count = sum(value is not None and low <= value < end for value in values)
        if count:
            rows.append((low, end - 1, count))
    lows, highs, counts = ([row[i] for row in rows] for i in range(3))
    return ReuseHistogram(lows, highs, counts, sum(value is None for value in values), 64)


def misses(values: Sequence[int | None], capacity: int) -> int:
    return sum(value is None or value >= capacity for value in values)


@given(distances, edges, st.lists(st.integers(0, FAR + 50), max_size=10))
def test_curves_bound_the_true_misses(
    values: list[int | None], bounds: list[int], capacities: list[int]
) -> None:
    curve = miss_ratio_curve(histogram_of(values, bounds), capacities)
    for index, capacity in enumerate(capacities):
        true = misses(values, capacity)
        assert curve.miss_count_low[index] <= true <= curve.miss_count_high[index]
        if capacity in bounds or capacity >= FAR:
            assert curve.is_exact[index]
    assert curve.capacity_bytes.tolist() == [64 * c for c in capacities]


@given(distances, edges)
def test_default_capacities_are_exact_and_complete(
    values: list[int | None], bounds: list[int]
) -> None:
    curve = miss_ratio_curve(histogram_of(values, bounds))
    assert curve.is_exact.all()
    for capacity, count in zip(curve.capacity_blocks, curve.miss_count, strict=True):
        assert count == misses(values, int(capacity))
    if values:
        assert curve.miss_ratio[0] == 1
        assert curve.miss_count[-1] == sum(value is None for value in values)


@given(distances, distances, edges)
def test_sums_count_both(
    left: list[int | None], right: list[int | None], bounds: list[int]
) -> None:
    total = histogram_of(left, bounds) + histogram_of(right, bounds)
    assert total == histogram_of(left + right, bounds)


@given(distances.filter(len), edges, st.integers(0, 100))
def test_quantiles_lie_in_their_range(
    values: list[int | None], bounds: list[int], percent: int
) -> None:
    ranked = sorted(values, key=lambda value: FAR if value is None else value)
    true = ranked[max(1, -(-percent * len(values) // 100)) - 1]
    span = histogram_of(values, bounds).quantile_blocks(percent / 100)
    if true is None:
        assert span is None
    else:
        assert span is not None
        assert span[0] <= true <= span[1]


@given(st.lists(st.integers(0, 12), max_size=80))
def test_the_curve_is_that_of_an_lru_memory(trace: list[int]) -> None:
    """Distances by definition, misses by simulation of the memory."""
    values: list[int | None] = []
    for index, block in enumerate(trace):
        before = [i for i in range(index) if trace[i] == block]
        values.append(len(set(trace[before[-1] + 1 : index])) if before else None)
    curve = miss_ratio_curve(histogram_of(values, range(FAR)), range(15))
    simulated = [lru.misses(((block, 0) for block in trace), capacity) for capacity in range(15)]
    assert curve.miss_count.tolist() == simulated
    assert np.all(curve.is_exact)
