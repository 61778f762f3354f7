# SPDX-License-Identifier: Apache-2.0
"""Bits that are set, with every numpy that sgxlens takes, against Python's own count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.recording import bitmaps


@given(st.lists(st.integers(0, 2**64 - 1)), st.booleans())
def test_bits_are_counted(numbers: list[int], is_new: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not is_new:
            patch.setattr(bitmaps, "_BITWISE_COUNT", None)
        found = bitmaps.popcount(np.array(numbers, dtype=np.uint64))
    assert found.tolist() == [number.bit_count() for number in numbers]
