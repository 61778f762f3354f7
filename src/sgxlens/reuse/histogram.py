# SPDX-License-Identifier: Apache-2.0
"""Histograms of reuse distances."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Counts = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class ReuseHistogram:
    """How many accesses had which reuse distance.

    The reuse distance of an access is the number of distinct other blocks accessed since the
    previous access to its block. Bins are disjoint and ascending; bins that counted nothing may be
    left out. Histograms add up if their blocks have the same size and their bins agree.

    Attributes:
        distance_min_blocks: smallest distance of each bin, in blocks.
        distance_max_blocks: largest distance of each bin, inclusive, in blocks.
        count: accesses in each bin.
        cold_count: accesses to a block that was never accessed before.
        block_bytes: size of a block in bytes (64: cache lines, 4096: pages).
    """

    distance_min_blocks: Counts
    distance_max_blocks: Counts
    count: Counts
    cold_count: int
    block_bytes: int
    _cumulative: Counts = field(init=False, repr=False)

    def __init__(
        self,
        distance_min_blocks: npt.ArrayLike | Sequence[int],
        distance_max_blocks: npt.ArrayLike | Sequence[int],
        count: npt.ArrayLike | Sequence[int],
        cold_count: int,
        block_bytes: int,
    ) -> None:
        """Raises ValueError where the bins are not as described above."""
        low = _counts(distance_min_blocks, "distance_min_blocks")
        high = _counts(distance_max_blocks, "distance_max_blocks")
        counted = _counts(count, "count")
        if not low.shape == high.shape == counted.shape:
            raise ValueError("distance_min_blocks, distance_max_blocks and count differ in length")
        if np.any(low > high):
            raise ValueError("a bin ends before it starts")
        if np.any(low[1:] <= high[:-1]):
            raise ValueError("bins overlap or are not in ascending order")
        if cold_count < 0:
            raise ValueError("cold_count is negative")
        if block_bytes <= 0:
            raise ValueError("block_bytes is not positive")
        set_field = object.__setattr__
        set_field(self, "distance_min_blocks", low)
        set_field(self, "distance_max_blocks", high)
        set_field(self, "count", counted)
        set_field(self, "cold_count", int(cold_count))
        set_field(self, "block_bytes", int(block_bytes))
        set_field(self, "_cumulative", np.cumsum(counted, dtype=np.uint64))

    @classmethod
    def empty(cls, block_bytes: int) -> ReuseHistogram:
        """A histogram of no accesses."""
        return cls([], [], [], 0, block_bytes)

    @property
    def reuse_count(self) -> int:
        """Accesses to a block that was accessed before."""
        return int(self._cumulative[-1]) if self._cumulative.size else 0

    @property
    def total(self) -> int:
        """All accesses, cold ones included."""
        return self.reuse_count + self.cold_count

    def __add__(self, other: ReuseHistogram) -> ReuseHistogram:
        """The histogram of the accesses of both; ValueError if blocks or bins do not agree."""
        if not isinstance(other, ReuseHistogram):
            return NotImplemented
        if self.block_bytes != other.block_bytes:
            raise ValueError(f"blocks of {self.block_bytes} and {other.block_bytes} bytes")
        low, where = np.unique(
            np.concatenate([self.distance_min_blocks, other.distance_min_blocks]),
            return_inverse=True,
        )
        high = np.zeros(low.size, dtype=np.uint64)
        high_of_all = np.concatenate([self.distance_max_blocks, other.distance_max_blocks])
        np.maximum.at(high, where, high_of_all)
        if np.any(high[where] != high_of_all):
            raise ValueError("the bins of the histograms do not agree")
        count = np.zeros(low.size, dtype=np.uint64)
        np.add.at(count, where, np.concatenate([self.count, other.count]))
        return ReuseHistogram(
            low, high, count, self.cold_count + other.cold_count, self.block_bytes
        )

    def __eq__(self, other: object) -> bool:
        """Whether both count the same; bins that counted nothing do not matter."""
        if not isinstance(other, ReuseHistogram):
            return NotImplemented
        mine, its = self.count > 0, other.count > 0
        return (
            self.block_bytes == other.block_bytes
            and self.cold_count == other.cold_count
            and np.array_equal(self.distance_min_blocks[mine], other.distance_min_blocks[its])
            and np.array_equal(self.distance_max_blocks[mine], other.distance_max_blocks[its])
            and np.array_equal(self.count[mine], other.count[its])
        )

    __hash__ = None  # type: ignore[assignment]

    def quantile_blocks(self, fraction: float) -> tuple[int, int] | None:
        """The bin that holds a quantile of the reuse distances of all accesses.

        Args:
            fraction: 0 to 1; 0.5 is the median. Cold accesses count as farther than any other.

        Returns:
            The smallest and largest distance of the bin in blocks: the quantile lies between them,
            both included. None if it falls among the cold accesses.

        Raises:
            ValueError: `fraction` is out of range or there are no accesses.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction {fraction} is not between 0 and 1")
        if self.total == 0:
            raise ValueError("no accesses, no quantile")
        # In whole numbers: 0.07 * 100 is more than 7 in floating point.
        exact = Fraction(fraction).limit_denominator(10**9)
        rank = max(1, math.ceil(exact * self.total))
        index = int(np.searchsorted(self._cumulative, np.uint64(rank), side="left"))
        if index == self._cumulative.size:
            return None
        return int(self.distance_min_blocks[index]), int(self.distance_max_blocks[index])

    def __repr__(self) -> str:
        return (
            f"ReuseHistogram({self.total:,} accesses to blocks of {self.block_bytes} bytes,"
            f" {self.cold_count:,} cold, {self.count.size} bins)"
        )


def _counts(values: npt.ArrayLike | Sequence[int], name: str) -> Counts:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, dtype=np.uint64)
    if array.ndim != 1:
        raise ValueError(f"{name} is not one-dimensional")
    if array.dtype.kind not in "ui":
        raise ValueError(f"{name} holds {array.dtype}, not integers")
    if array.dtype.kind == "i" and array.min() < 0:
        raise ValueError(f"{name} is negative")
    result = array.astype(np.uint64)
    result.flags.writeable = False
    return result
