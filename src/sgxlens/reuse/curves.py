# SPDX-License-Identifier: Apache-2.0
"""Miss-ratio curves: what a histogram of reuse distances says about LRU memories of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.reuse.histogram import ReuseHistogram

_LARGEST = np.iinfo(np.uint64).max


@dataclass(frozen=True, eq=False)
class MissRatioCurve:
    """Misses of a fully associative LRU memory against its capacity.

    An access hits a memory of C blocks if its reuse distance is below C; a cold access always
    misses. Where a capacity falls inside a bin that counted something, the histogram does not tell
    on which side of it the accesses of that bin are: the true count then lies between
    ``miss_count_low`` and ``miss_count_high``, and ``is_exact`` is False. Elsewhere both are equal.

    All attributes are arrays of one length, in the order of the capacities asked for.

    Attributes:
        capacity_blocks: capacity of the memory, in blocks.
        miss_count_low: accesses that certainly miss.
        miss_count_high: accesses that may miss.
        access_count: all accesses, cold ones included (a number).
        block_bytes: size of a block in bytes (a number).
    """

    capacity_blocks: npt.NDArray[np.uint64]
    miss_count_low: npt.NDArray[np.uint64]
    miss_count_high: npt.NDArray[np.uint64]
    access_count: int
    block_bytes: int

    @property
    def capacity_bytes(self) -> npt.NDArray[np.uint64]:
        """Capacity of the memory in bytes."""
        return self.capacity_blocks * np.uint64(self.block_bytes)

    @property
    def is_exact(self) -> npt.NDArray[np.bool_]:
        """Where the count of misses is known exactly."""
        return np.equal(self.miss_count_low, self.miss_count_high)

    @property
    def miss_count(self) -> npt.NDArray[np.uint64]:
        """Misses; the upper bound ``miss_count_high`` where ``is_exact`` is False."""
        return self.miss_count_high

    @property
    def miss_ratio(self) -> npt.NDArray[np.float64]:
        """Misses per access; of the upper bound where ``is_exact`` is False. NaN of no accesses."""
        return self._ratio(self.miss_count_high)

    @property
    def miss_ratio_low(self) -> npt.NDArray[np.float64]:
        """Accesses that certainly miss, per access. NaN of no accesses."""
        return self._ratio(self.miss_count_low)

    def _ratio(self, count: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
        if self.access_count == 0:
            return np.full(count.shape, np.nan)
        return count / np.float64(self.access_count)


def miss_ratio_curve(
    histogram: ReuseHistogram,
    capacities_blocks: npt.ArrayLike | Sequence[int] | None = None,
) -> MissRatioCurve:
    """The miss-ratio curve of a histogram.

    Args:
        histogram: reuse distances of the accesses.
        capacities_blocks: capacities in blocks, in any order. None: 0 and every
            capacity at which a bin starts or ends, where the misses are known exactly.

    Raises:
        ValueError: a capacity is negative or not a whole number.
    """
    low, high = histogram.distance_min_blocks, histogram.distance_max_blocks
    if capacities_blocks is None:
        ends = high[high < _LARGEST] + np.uint64(1)
        capacities = np.unique(np.concatenate([np.zeros(1, dtype=np.uint64), low, ends]))
    else:
        capacities = _capacities(capacities_blocks)
    # above[i]: accesses in bin i and all farther ones.
    above = np.zeros(low.size + 1, dtype=np.uint64)
    above[:-1] = np.cumsum(histogram.count[::-1], dtype=np.uint64)[::-1]
    above += np.uint64(histogram.cold_count)
    return MissRatioCurve(
        capacity_blocks=capacities,
        # Bins that start at the capacity or above miss for certain, those that end there may.
        miss_count_low=above[np.searchsorted(low, capacities, side="left")],
        miss_count_high=above[np.searchsorted(high, capacities, side="left")],
        access_count=histogram.total,
        block_bytes=histogram.block_bytes,
    )


def bin_misses(
    distance_min_blocks: npt.NDArray[np.uint64],
    distance_max_blocks: npt.NDArray[np.uint64],
    capacity_blocks: int,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which bins of distances miss an LRU memory: those that certainly do, and those that may.

    It is what `miss_ratio_curve` counts by, for many histograms with the same bins at once.
    """
    capacity = _capacities([capacity_blocks])[0]
    return distance_min_blocks >= capacity, distance_max_blocks >= capacity


def _capacities(values: npt.ArrayLike | Sequence[int]) -> npt.NDArray[np.uint64]:
    array = np.atleast_1d(np.asarray(values))
    if array.size == 0:
        return np.zeros(0, dtype=np.uint64)
    if array.dtype.kind not in "ui":
        raise ValueError(f"capacities are whole numbers of blocks, not {array.dtype}")
    if array.dtype.kind == "i" and array.min() < 0:
        raise ValueError("a capacity is negative")
    return array.astype(np.uint64).ravel()
