# SPDX-License-Identifier: Apache-2.0
"""How much of a region is declared to be results, against counting byte by byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.recording.declared_results import declared_result_shares

KINDS = ["produced", "scratch", "declared", "declared", "declared"]
NAMES = ["", "", "activations:x", "output:y", "weights:w"]

_extents = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 40), st.integers(0, 12)), max_size=12
)


@given(_extents)
def test_shares_equal_those_counted(extents: list[tuple[int, int, int]]) -> None:
    columns = {
        name: np.array([extent[i] for extent in extents], dtype=np.uint64)
        for i, name in enumerate(("region", "address", "size_bytes"))
    }
    held = [
        {b for r, start, size in extents if r == number for b in range(start, start + size)}
        for number in range(len(KINDS))
    ]
    results = held[2] | held[3]
    shares = declared_result_shares(KINDS, NAMES, columns)
    for number in (0, 1, 4):
        expected = len(held[number] & results) / len(held[number]) if held[number] else 0
        assert shares[number] == expected
    assert shares[2] == shares[3] == 0


def test_no_extents() -> None:
    nothing = np.zeros(0, dtype=np.uint64)
    columns = dict.fromkeys(("region", "address", "size_bytes"), nothing)
    assert declared_result_shares(KINDS, NAMES, columns).tolist() == [0] * len(KINDS)
