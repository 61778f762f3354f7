# SPDX-License-Identifier: Apache-2.0
"""Which region a line is of, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sgxlens.recording.bitmaps import LINES_PER_PAGE, Bitmaps, Integers

_ALL_LINES = np.uint64(0xFFFFFFFFFFFFFFFF)
_LINE_BITS = 6
#: The region of lines that no extent covers.
NO_REGION = -1


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pages cut where regions meet: arrays of one length.

    Attributes:
        row: which of the pages asked for.
        region: region of the piece; `NO_REGION`: none is known.
        lines: bit map of the lines of the page that are in the piece.
    """

    row: Integers
    region: Integers
    lines: Bitmaps


class RegionMap:
    """The extents of one process, looked up by page and position.

    Of extents that overlap, the one with the later start holds, in equal starts the later in the
    table. A line that an extent covers in part is of that extent.

    Args:
        region, address, size_bytes, start_position: columns of the table ``extents``.
    """

    def __init__(
        self,
        region: npt.NDArray[Any],
        address: npt.NDArray[Any],
        size_bytes: npt.NDArray[Any],
        start_position: npt.NDArray[Any],
    ) -> None:
        order = np.argsort(start_position, kind="stable")
        start = np.asarray(address, dtype=np.uint64)[order]
        size = np.asarray(size_bytes, dtype=np.uint64)[order]
        used = size > 0
        start, size, order = start[used], size[used], order[used]
        first = (start >> np.uint64(_LINE_BITS)).astype(np.int64)
        last = ((start + (size - np.uint64(1))) >> np.uint64(_LINE_BITS)).astype(np.int64)
        self._breaks = np.unique(np.concatenate([first, last + 1]))
        # Between two breaks nothing changes but in time: one list of regions by start for each.
        low = np.searchsorted(self._breaks, first)
        count = np.searchsorted(self._breaks, last + 1) - low
        extent = np.repeat(np.arange(first.size), count)
        within = np.arange(extent.size) - np.repeat(np.cumsum(count) - count, count)
        interval = low[extent] + within
        positions = np.asarray(start_position, dtype=np.uint64)[order]
        self._positions, rank = np.unique(positions, return_inverse=True)
        key = interval * (self._positions.size + 1) + rank[extent] + 1
        by_key = np.argsort(key, kind="stable")
        self._keys = key[by_key]
        self._regions = np.asarray(region).astype(np.int64)[order][extent[by_key]]

    def pieces(self, page: npt.NDArray[Any], position: npt.NDArray[Any]) -> Pieces:
        """The regions of pages.

        Args:
            page: numbers of the pages.
            position: for each of them the line access at which to look.
        """
        start = (np.asarray(page, dtype=np.uint64) << np.uint64(_LINE_BITS)).astype(np.int64)
        end = start + LINES_PER_PAGE
        low = np.searchsorted(self._breaks, start, side="right") - 1
        count = np.searchsorted(self._breaks, end, side="left") - low
        row = np.repeat(np.arange(start.size), count)
        interval = low[row] + np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
        bounds = np.concatenate([[-(1 << 62)], self._breaks, [1 << 62]])
        first = np.maximum(bounds[interval + 1], start[row]) - start[row]
        stop = np.minimum(bounds[interval + 2], end[row]) - start[row]
        lines = (_ALL_LINES >> (LINES_PER_PAGE - (stop - first)).astype(np.uint64)) << first.astype(
            np.uint64
        )
        rank = np.searchsorted(self._positions, np.asarray(position, dtype=np.uint64), "right")
        base = interval * (self._positions.size + 1)
        found = np.searchsorted(self._keys, base + rank[row], side="right") - 1
        region = np.full(row.size, NO_REGION, dtype=np.int64)
        is_known = found >= 0
        is_known[is_known] = self._keys[found[is_known]] > base[is_known]
        region[is_known] = self._regions[found[is_known]]
        return Pieces(row, region, lines)
