# SPDX-License-Identifier: Apache-2.0
"""The distinct values of long columns that have few of them, as numbers of pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sgxlens import _native
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
    return Distinct(*_native.distinct(_unsigned(column)))


class Places:
    """Where values are among some distinct ones.

    Args:
        values: distinct numbers, none of which is below 0.
    """

    def __init__(self, values: npt.NDArray[np.uint64] | Integers) -> None:
        self._places = _native.Places(_unsigned(values))

    def of(self, column: npt.NDArray[np.uint64] | Integers) -> Integers:
        """For each row of a column the index of its value; -1: it is none of them.

        Args:
            column: numbers, none of which is below 0.
        """
        return self._places.of(_unsigned(column))


def _unsigned(column: npt.NDArray[np.uint64] | Integers) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(column).view(np.uint64)
