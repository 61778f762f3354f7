# SPDX-License-Identifier: Apache-2.0
"""Bit maps of the lines of a page, one unsigned 64-bit number each: bit i stands for line i."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bitmaps = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

LINES_PER_PAGE = 64
# Since numpy 2.0.
_BITWISE_COUNT = getattr(np, "bitwise_count", None)


def popcount(bitmaps: Bitmaps) -> Integers:
    """How many bits are set in each."""
    if _BITWISE_COUNT is not None:
        return np.asarray(_BITWISE_COUNT(bitmaps), dtype=np.int64)
    x = popcount_of_bytes(bitmaps) * np.uint64(0x0101010101010101)
    return np.asarray(x >> np.uint64(56), dtype=np.int64)


def popcount_of_bytes(bitmaps: Bitmaps) -> Bitmaps:
    """How many bits are set in each byte of each: the bytes of the result are those counts."""
    x = bitmaps - ((bitmaps >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.asarray(x, dtype=np.uint64)


def union(keys: Integers, *bitmaps: Bitmaps) -> tuple[Any, ...]:
    """The distinct keys, ascending, and for each of `bitmaps` the union over the rows of a key."""
    if keys.size == 0:
        return (keys, *bitmaps)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return (ordered[starts], *(np.bitwise_or.reduceat(b[order], starts) for b in bitmaps))


def total_by(group: Integers, values: npt.NDArray[Any], group_count: int) -> Integers:
    """The sum of `values` in each group; exact below 2^53."""
    return np.bincount(group, weights=values, minlength=group_count).astype(np.int64)
