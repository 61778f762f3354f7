# SPDX-License-Identifier: Apache-2.0
"""Miss ratios of sampled recordings, and how far they may be off.

A sampled recording follows the blocks whose hash falls below a threshold, a share R of all, and
scales their reuse distances by 1 / R (Waldspurger et al., "Efficient MRC Construction with SHARDS",
FAST 2015). Two things make its miss-ratio curve differ from the exact one:

- *Which blocks are followed.* Let m be the misses of a block in a memory of C blocks, M their sum
  over all blocks and N the accesses. The sum over the blocks followed, divided by R, has the
  expectation M and the variance (1 - R) / R times the sum of the squares of m. Between two misses
  of a block at least C others are accessed, so m <= N / (C + 1) + 1 in any program, and the
  variance is at most (1 - R) / R * (N / (C + 1) + 1) * M. In ratios: the standard deviation is at
  most about sqrt(miss ratio / (R * C)), where R * C is the sampled blocks that the memory holds.
- *Scaled distances.* Of the d blocks that make a distance, a binomial number is followed, so that
  the scaled distance has the standard deviation sqrt(d * (1 - R) / R).

The bounds take both at `DEVIATIONS` standard deviations. They are bounds of confidence for each
capacity by itself, not guarantees: hashing is taken for drawing blocks at random. By Chebyshev's
inequality each holds with 8 in 9 for any program; where misses are spread over many blocks, so
that the estimate is about normal, with 997 in 1,000. Most programs stay far within them, because
few blocks miss as often as a block can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sgxlens.reuse.curves import miss_ratio_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.reuse.histogram import ReuseHistogram

DEVIATIONS = 3.0

_Ratios = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MissRatioEstimate:
    """A miss-ratio curve from a sampled recording, with bounds.

    All attributes are arrays of one length, in the order of the capacities asked for.

    Attributes:
        capacity_blocks: capacity of the memory, in blocks.
        miss_ratio: the estimate, 0 to 1.
        miss_ratio_low: the lower bound.
        miss_ratio_high: the upper bound.
    """

    capacity_blocks: npt.NDArray[np.uint64]
    miss_ratio: _Ratios
    miss_ratio_low: _Ratios
    miss_ratio_high: _Ratios


def estimate_miss_ratio(
    histogram: ReuseHistogram,
    access_count: int,
    sampling_rate: float,
    capacities_blocks: npt.ArrayLike | Sequence[int],
    *,
    all_access_count: int | None = None,
) -> MissRatioEstimate:
    """The miss ratios of memories of some capacities, from a sampled histogram.

    Misses are related to the accesses that were made, not to those sampled ("SHARDS-adj"): whether
    the few blocks that are accessed most are among those followed then does not matter.

    Args:
        histogram: the sampled accesses of a selection of phases and classes; distances scaled.
        access_count: all accesses of that selection, sampled or not.
        sampling_rate: the share of blocks followed; 1 gives the exact curve.
        capacities_blocks: capacities in blocks, at least 1.
        all_access_count: accesses of all classes in the selected phases, where the selection is of
            some classes only.

    Raises:
        ValueError: a rate or capacity out of range, or no accesses.
    """
    if not 0 < sampling_rate <= 1:
        raise ValueError(f"a sampling rate of {sampling_rate} is not within 0 (excl.) to 1")
    if access_count <= 0:
        raise ValueError("no accesses, no miss ratio")
    capacities = np.atleast_1d(np.asarray(capacities_blocks))
    if capacities.size and (capacities.dtype.kind not in "ui" or capacities.min() < 1):
        raise ValueError("capacities are whole numbers of blocks, at least 1")
    capacities = capacities.astype(np.uint64)
    all_count = access_count if all_access_count is None else all_access_count

    variance_factor = (1 - sampling_rate) / sampling_rate
    size = capacities.astype(np.float64)
    shift = DEVIATIONS * np.sqrt(size * variance_factor)
    nearer = np.maximum(np.floor(size - shift), 1).astype(np.uint64)
    farther = np.ceil(size + shift).astype(np.uint64)

    middle = miss_ratio_curve(histogram, capacities).miss_count_high / sampling_rate
    most = miss_ratio_curve(histogram, nearer).miss_count_high / sampling_rate
    least = miss_ratio_curve(histogram, farther).miss_count_low / sampling_rate
    # The bounds are the true counts M at which the estimate is DEVIATIONS * sqrt(spread * M) off.
    misses_of_a_block = all_count / (nearer.astype(np.float64) + 1) + 1
    spread = DEVIATIONS**2 * variance_factor * misses_of_a_block
    high = most + spread / 2 + np.sqrt(spread * most + spread**2 / 4)
    low = least + spread / 2 - np.sqrt(spread * least + spread**2 / 4)
    return MissRatioEstimate(
        capacity_blocks=capacities,
        miss_ratio=np.minimum(middle / access_count, 1.0),
        miss_ratio_low=np.clip(low / access_count, 0.0, 1.0),
        miss_ratio_high=np.clip(high / access_count, 0.0, 1.0),
    )
