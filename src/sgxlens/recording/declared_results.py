# SPDX-License-Identifier: Apache-2.0
"""How much of found memory holds results that the program declares after it has written them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sgxlens.recording.region_use import Columns, integers

#: A program says what a result is once it is there: while it is written it is some memory found.
RESULT_ROLES = ("activations", "output")


def declared_result_shares(
    kinds: Sequence[str], names: Sequence[str], extents: Columns
) -> npt.NDArray[np.float64]:
    """The share of each region's bytes that is ever declared to be a result of an operator.

    Args:
        kinds: of the regions, by their numbers.
        names: likewise; of a `declared` one ``ROLE:NAME``.
        extents: columns of the table of this name.
    """
    region = integers(extents["region"])
    starts = integers(extents["address"])
    ends = starts + integers(extents["size_bytes"])
    is_result = np.array(
        [
            kind == "declared" and name.partition(":")[0] in RESULT_ROLES
            for kind, name in zip(kinds, names, strict=True)
        ],
        dtype=bool,
    )
    results = _union(starts[is_result[region]], ends[is_result[region]])
    shares = np.zeros(len(kinds))
    for number in np.unique(region):
        mine = _union(starts[region == number], ends[region == number])
        total = _bytes_below(mine, np.array([np.iinfo(np.int64).max]))[0]
        if total and not is_result[number]:
            covered = _bytes_below(results, mine[1]) - _bytes_below(results, mine[0])
            shares[number] = covered.sum() / total
    return shares


_Ranges = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _union(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> _Ranges:
    """Ranges that do not overlap, in order, and cover the same."""
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    is_first = np.ones(len(starts), dtype=bool)
    is_first[1:] = starts[1:] > reach[:-1]
    is_last = np.append(is_first[1:], True) if len(starts) else is_first
    return starts[is_first], reach[is_last]


def _bytes_below(ranges: _Ranges, limits: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many bytes of the ranges lie below each limit."""
    starts, ends = ranges
    before = np.concatenate([[0], np.cumsum(ends - starts)])
    index = np.searchsorted(starts, limits, side="left")  # ranges that start below
    result: npt.NDArray[np.int64] = before[index]
    inside = index > 0
    last = index[inside] - 1
    result[inside] -= np.maximum(ends[last] - limits[inside], 0)
    return result
