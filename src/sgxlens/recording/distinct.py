# SPDX-License-Identifier: Apache-2.0
"""The distinct values of long columns that have few of them, as numbers of pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sgxlens._native import distinct, places_in
from sgxlens.recording.bitmaps import Integers


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct values of a column.

    Attributes:
        values: the values, ascending.
        first: for each of them the row in which it is first.
        index: for each row of the column the index of its value.
    """

    values: npt.NDArray[np.uint64]
    first: Integers
    index: Integers


def distinct_values(column: npt.NDArray[np.uint64] | Integers) -> Distinct:
    """What `numpy.unique` tells, in a tenth of its time where few values are distinct.

    Args:
        column: numbers, none of which is below 0.
    """
    return Distinct(*distinct(_unsigned(column)))


def places_of(
    values: npt.NDArray[np.uint64], column: npt.NDArray[np.uint64] | Integers
) -> Integers:
    """For each row of a column the index of its value in `values`; -1: it is none of them.

    Args:
        values: distinct numbers.
        column: numbers, none of which is below 0.
    """
    return places_in(_unsigned(values), _unsigned(column))


def _unsigned(column: npt.NDArray[np.uint64] | Integers) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(column).view(np.uint64)
