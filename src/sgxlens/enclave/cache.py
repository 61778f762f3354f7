# SPDX-License-Identifier: Apache-2.0
"""Which accesses miss a last-level cache, from their reuse distances.

A fully associative LRU cache of C lines misses at distances of C and more. A real one is set
associative: an access of distance d misses if at least as many of the d lines accessed in between
fall into its set as the set has ways. With S sets that lines fall into independently, that is
P(Binomial(d, 1/S) >= ways): A. J. Smith, "A comparative study of set associative memory mapping
algorithms", IEEE TSE SE-4(2), 1978; Hill and Smith, "Evaluating associativity in CPU caches", IEEE
ToC 1989, doi:10.1109/12.40842. Slices chosen by a hash of the address, and scattered physical
pages, make the assumption a good one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sgxlens.recording.format import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

_ERROR = 1e-9


def miss_probability(
    distance_lines: npt.ArrayLike | Sequence[int], cache_bytes: float, ways: int
) -> npt.NDArray[np.float64]:
    """Probability that an access misses, by its reuse distance; absolute error below 1e-9.

    Args:
        distance_lines: reuse distances in lines.
        cache_bytes: size of the cache; at least one set. The number of sets may be a fraction, as
            of a cache of which a process finds a part.
        ways: lines of a set.

    Raises:
        ValueError: the cache has less than one set.
    """
    distance = np.asarray(distance_lines, dtype=np.float64)
    if not 0 < LINE_BYTES * ways <= cache_bytes:
        raise ValueError(f"a cache of {cache_bytes} bytes has not one set of {ways} lines")
    sets = cache_bytes / (LINE_BYTES * ways)
    if sets == 1:
        return (distance >= ways).astype(np.float64)
    # P(k lines of d in the set), k from 0 to ways - 1, each from the one before. Their logarithms,
    # for the first underflows where d is large.
    k = np.arange(1, ways, dtype=np.float64)
    left = np.maximum(distance[..., None] - k + 1, 0)
    with np.errstate(divide="ignore"):
        steps = np.log(left / k) - np.log(sets - 1)
    first = distance * np.log1p(-1 / sets)
    hits = np.exp(first)
    hits += np.exp(first[..., None] + np.cumsum(steps, axis=-1)).sum(axis=-1)
    missed = 1 - hits
    # What is left of rounding is no probability.
    return np.where(missed < _ERROR, 0.0, np.minimum(missed, 1.0))
