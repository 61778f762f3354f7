# SPDX-License-Identifier: Apache-2.0
"""Pieces of pages by region, against a search of all extents line by line, which defines them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgxlens._native import region_pieces
from sgxlens.recording.region_map import NO_REGION, RegionMap

_PAGES = 4


class _Extent(NamedTuple):
    region: int
    address: int
    size_bytes: int
    start_position: int


class _Asked(NamedTuple):
    page: int
    position: int
    lines: int


_EXTENTS = st.builds(
    _Extent,
    st.integers(0, 5),
    st.integers(0, _PAGES * 4096),
    st.one_of(st.integers(0, 200), st.integers(0, 3 * 4096)),
    st.integers(0, 6),
)
_ASKED = st.builds(
    _Asked,
    st.integers(0, _PAGES + 2),
    st.integers(0, 7),
    st.one_of(st.just(2**64 - 1), st.integers(0, 2**64 - 1)),
)


def _region_of(extents: list[_Extent], line: int, position: int) -> int:
    """Of the extents that cover a line in part and have started, the one that started last."""
    found, last = NO_REGION, -1
    for extent in extents:
        end = extent.address + extent.size_bytes
        is_of_line = extent.address < (line + 1) * 64 and end > line * 64 and extent.size_bytes
        if is_of_line and last <= extent.start_position <= position:
            found, last = extent.region, extent.start_position
    return found


@given(st.lists(_EXTENTS, max_size=12), st.lists(_ASKED, max_size=8))
def test_pieces_hold_each_line_asked_for_with_its_region(
    extents: list[_Extent], asked: list[_Asked]
) -> None:
    columns = np.array(extents, dtype=np.uint64).reshape(-1, 4).T
    pages = np.array(asked, dtype=np.uint64).reshape(-1, 3).T
    pieces = RegionMap(*columns).pieces(*pages)
    found = [
        (row, bit, region)
        for row, region, lines in zip(
            pieces.row.tolist(), pieces.region.tolist(), pieces.lines.tolist(), strict=True
        )
        for bit in range(64)
        if lines >> bit & 1
    ]
    assert found == [
        (row, bit, _region_of(extents, one.page * 64 + bit, one.position))
        for row, one in enumerate(asked)
        for bit in range(64)
        if one.lines >> bit & 1
    ]
    assert pieces.lines.all()


def test_columns_that_do_not_fit_together_are_refused() -> None:
    none, one = np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    unsigned = none.view(np.uint64)
    for begins, page in ((none, unsigned), (one, one.view(np.uint64)), (one + 1, unsigned)):
        with pytest.raises(ValueError, match="one value of each kind"):
            region_pieces(none, begins, unsigned, none, page, unsigned, unsigned)
