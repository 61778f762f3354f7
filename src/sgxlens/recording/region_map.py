# SPDX-License-Identifier: Apache-2.0
"""Which region a line is of, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sgxlens._native import region_pieces
from sgxlens.recording.bitmaps import Bitmaps, Integers

_LINE_BITS = 6
#: The region of lines that no extent covers.
NO_REGION = -1


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pages cut where regions meet: arrays of one length.

    Attributes:
        row: which of the pages asked for.
        region: region of the piece; `NO_REGION`: none is known.
        lines: bit map of those lines of the piece that were asked for.
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
        # Extents are in the order of their starts: so are those of each interval.
        by_interval = np.argsort(interval, kind="stable")
        self._begins = np.searchsorted(
            interval[by_interval], np.arange(self._breaks.size + 1)
        ).astype(np.int64)
        extent = order[extent[by_interval]]
        self._positions = np.asarray(start_position, dtype=np.uint64)[extent]
        self._regions = np.asarray(region).astype(np.int64)[extent]

    def pieces(self, page: npt.NDArray[Any], position: npt.NDArray[Any], lines: Bitmaps) -> Pieces:
        """The regions of pages, of those pieces that hold any of the lines asked for.

        Args:
            page: numbers of the pages.
            position: for each of them the line access at which to look.
            lines: for each of them the lines asked for.
        """
        asked = (np.ascontiguousarray(a, dtype=np.uint64) for a in (page, position, lines))
        found = region_pieces(self._breaks, self._begins, self._positions, self._regions, *asked)
        return Pieces(*found)
