# SPDX-License-Identifier: Apache-2.0
"""The distinct values of a column, against `numpy.unique`, which defines them."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sgxlens.recording.distinct import Places, distinct_values

_NUMBERS = st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1))


@example([0, 2**64 - 1, 0])
# More than the table has room for at first.
@example([*range(3000, 0, -1), *range(5, 2500)])
@given(st.lists(_NUMBERS, max_size=200))
def test_distinct_values_are_those_of_numpy(numbers: list[int]) -> None:
    column = np.array(numbers, dtype=np.uint64)
    values, first, index = np.unique(column, return_index=True, return_inverse=True)
    found = distinct_values(column)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.first, first)
    np.testing.assert_array_equal(found.index, index)


def test_distinct_values_of_rows_that_do_not_follow_each_other() -> None:
    found = distinct_values(np.arange(12, dtype=np.int64)[::-4] % 8)
    assert (found.values.tolist(), found.index.tolist()) == ([3, 7], [0, 1, 0])


@example([], [1])
@given(st.lists(_NUMBERS, max_size=50, unique=True), st.lists(_NUMBERS, max_size=200))
def test_places_are_those_of_a_list(values: list[int], numbers: list[int]) -> None:
    found = Places(np.array(values, dtype=np.uint64)).of(np.array(numbers, dtype=np.uint64))
    assert found.tolist() == [values.index(n) if n in values else -1 for n in numbers]
