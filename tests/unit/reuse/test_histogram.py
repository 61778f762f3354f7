# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgxlens.reuse.curves import miss_ratio_curve
from sgxlens.reuse.histogram import ReuseHistogram


def test_totals_and_quantiles() -> None:
    histogram = ReuseHistogram([0, 64], [0, 67], [6, 3], 1, 64)
    assert (histogram.reuse_count, histogram.total) == (9, 10)
    assert histogram.quantile_blocks(0.6) == (0, 0)
    assert histogram.quantile_blocks(0.61) == (64, 67)
    assert histogram.quantile_blocks(0.9) == (64, 67)
    assert histogram.quantile_blocks(1) is None
    with pytest.raises(ValueError, match="not between 0 and 1"):
        histogram.quantile_blocks(1.5)
    with pytest.raises(ValueError, match="no quantile"):
        ReuseHistogram.empty(64).quantile_blocks(0.5)


def test_quantile_of_seven_in_a_hundred_is_the_seventh() -> None:
    histogram = ReuseHistogram([0, 1], [0, 1], [7, 93], 0, 64)
    assert histogram.quantile_blocks(0.07) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [0, 1], [1], 0, 64), "differ in length"),
        (([5], [4], [1], 0, 64), "ends before it starts"),
        (([0, 3], [3, 5], [1, 1], 0, 64), "overlap"),
        (([3, 0], [5, 1], [1, 1], 0, 64), "not in ascending order"),
        (([0], [0], [-1], 0, 64), "count is negative"),
        (([0.5], [1], [1], 0, 64), "distance_min_blocks holds float64"),
        (([[0]], [[0]], [[0]], 0, 64), "one-dimensional"),
        (([], [], [], -1, 64), "cold_count is negative"),
        (([], [], [], 0, 0), "block_bytes"),
    ],
)
def test_what_is_no_histogram(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReuseHistogram(*arguments)


def test_different_histograms_do_not_add_up() -> None:
    lines = ReuseHistogram([0, 4], [0, 7], [1, 1], 0, 64)
    with pytest.raises(ValueError, match="blocks of 64 and 4096 bytes"):
        _ = lines + ReuseHistogram.empty(4096)
    for low, high in ((4, 6), (5, 7), (6, 9)):
        with pytest.raises(ValueError, match="bin"):
            _ = lines + ReuseHistogram([low], [high], [1], 0, 64)


def test_equality_and_text() -> None:
    histogram = ReuseHistogram([0, 4], [0, 7], [1, 0], 2, 64)
    assert histogram == ReuseHistogram([0], [0], [1], 2, 64)
    assert histogram != ReuseHistogram([0], [0], [1], 3, 64)
    assert histogram != "histogram"
    assert "3 accesses to blocks of 64 bytes, 2 cold" in repr(histogram)
    with pytest.raises(ValueError, match="read-only"):
        histogram.count[0] = 5


def test_counts_beyond_32_bits_and_the_largest_distance() -> None:
    top = np.iinfo(np.uint64).max
    histogram = ReuseHistogram(
        [0, 1 << 40], np.array([0, top], dtype=np.uint64), [1 << 40, 1 << 41], 1 << 42, 64
    )
    assert histogram.total == (1 << 40) + (1 << 41) + (1 << 42)
    curve = miss_ratio_curve(histogram)
    assert curve.capacity_blocks.tolist() == [0, 1, 1 << 40]
    assert curve.miss_count.tolist()[1] == (1 << 41) + (1 << 42)


def test_a_curve_inside_a_bin_gives_bounds() -> None:
    curve = miss_ratio_curve(ReuseHistogram([64], [67], [10], 2, 4096), [64, 66, 68])
    assert curve.miss_count_low.tolist() == [12, 2, 2]
    assert curve.miss_count_high.tolist() == curve.miss_count.tolist() == [12, 12, 2]
    assert curve.is_exact.tolist() == [True, False, True]
    assert curve.miss_ratio_low.tolist() == [1, 2 / 12, 2 / 12]
    assert curve.capacity_bytes.tolist() == [64 * 4096, 66 * 4096, 68 * 4096]


def test_a_curve_of_nothing() -> None:
    curve = miss_ratio_curve(ReuseHistogram.empty(64))
    assert curve.capacity_blocks.tolist() == [0]
    assert np.isnan(curve.miss_ratio).all()
    assert miss_ratio_curve(ReuseHistogram.empty(64), []).miss_count.size == 0


@pytest.mark.parametrize("capacities", [[-1], [1.5]])
def test_capacities_are_whole_numbers(capacities: list[Any]) -> None:
    with pytest.raises(ValueError, match="capacit"):
        miss_ratio_curve(ReuseHistogram.empty(64), capacities)
