# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from sgxlens.reuse.curves import miss_ratio_curve
from sgxlens.reuse.histogram import ReuseHistogram
from sgxlens.reuse.sampling import estimate_miss_ratio

CAPACITIES = [1, 64, 1 << 12, 1 << 20]


def _histogram(scale: int = 1) -> ReuseHistogram:
    return ReuseHistogram([0, 100, 5000], [0, 100, 5119], [700 * scale, 200, 90], 10, 64)


def test_rate_1_is_the_exact_curve() -> None:
    histogram = _histogram()
    estimate = estimate_miss_ratio(histogram, histogram.total, 1.0, CAPACITIES)
    exact = miss_ratio_curve(histogram, CAPACITIES).miss_ratio
    for ratios in (estimate.miss_ratio, estimate.miss_ratio_low, estimate.miss_ratio_high):
        np.testing.assert_array_equal(ratios, exact)


def test_misses_are_related_to_the_accesses_made() -> None:
    # The most accessed blocks are sampled by chance or not: it makes no difference.
    estimates = [
        estimate_miss_ratio(_histogram(scale), 100_000, 0.01, CAPACITIES).miss_ratio.tolist()
        for scale in (0, 1, 10)
    ]
    assert estimates[0] == estimates[1] == estimates[2] == [0.3, 0.3, 0.1, 0.01]


def test_bounds_enclose_the_estimate_and_narrow_with_capacity_and_rate() -> None:
    histogram = _histogram()
    widths = []
    for rate in (0.01, 0.1, 0.5):
        estimate = estimate_miss_ratio(histogram, round(1000 / rate), rate, CAPACITIES)
        assert (estimate.miss_ratio_low <= estimate.miss_ratio).all()
        assert (estimate.miss_ratio <= estimate.miss_ratio_high).all()
        width = estimate.miss_ratio_high - estimate.miss_ratio_low
        assert width[1] >= width[2] >= width[3]
        widths.append(width)
    assert (widths[0] >= widths[1]).all()
    assert (widths[1] >= widths[2]).all()


def test_no_miss_seen_does_not_mean_none() -> None:
    estimate = estimate_miss_ratio(ReuseHistogram.empty(64), 1000, 0.1, [100])
    assert estimate.miss_ratio.tolist() == [0]
    assert estimate.miss_ratio_low.tolist() == [0]
    assert 0 < estimate.miss_ratio_high[0] <= 1


def test_the_selection_of_one_class_misses_as_often_as_all_accesses_let_it() -> None:
    narrow = estimate_miss_ratio(_histogram(), 10_000, 0.1, [4096])
    wide = estimate_miss_ratio(_histogram(), 10_000, 0.1, [4096], all_access_count=100_000)
    assert wide.miss_ratio_high[0] > narrow.miss_ratio_high[0]


@pytest.mark.parametrize(
    ("access_count", "rate", "capacities"),
    [(0, 0.1, [1]), (10, 0.0, [1]), (10, 1.5, [1]), (10, 0.1, [0]), (10, 0.1, [1.5])],
)
def test_out_of_range(access_count: int, rate: float, capacities: list[int]) -> None:
    with pytest.raises(ValueError, match=r"accesses|rate|capacities"):
        estimate_miss_ratio(_histogram(), access_count, rate, capacities)
