# SPDX-License-Identifier: Apache-2.0
"""Accesses of a phase by reuse distance, and where the previous access was, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from sgxlens.attribution.columns import unsigned
from sgxlens.recording.distinct import Places
from sgxlens.reuse.curves import bin_misses
from sgxlens.reuse.histogram import ReuseHistogram

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from sgxlens.recording.bitmaps import Integers

_Weight = TypeVar("_Weight", np.bool_, np.float64)


@dataclass(frozen=True, eq=False)
class ReusePart:
    """Rows of ``reuse_sources``: arrays of one length, of indices as in `ReuseRows`."""

    context: Integers
    region: Integers
    bin: Integers
    count: Integers


class Bins:
    """The bins of the reuse distances of some rows of ``reuse_sources``.

    Args:
        distance_min: the column of that name.

    Attributes:
        distance_min: nearest distance of each bin, ascending.
        distance_max: the farthest; of a bin of which no row has gone through `of`, 0.
    """

    def __init__(self, distance_min: pa.ChunkedArray) -> None:
        self.distance_min = np.sort(unsigned(pc.unique(distance_min).drop_null()))
        self._places = Places(self.distance_min)
        # The last is of cold accesses.
        self._ends = np.zeros(self.distance_min.size + 1, dtype=np.uint64)
        self._is_known = np.zeros(self._ends.size, dtype=bool)

    @property
    def distance_max(self) -> npt.NDArray[np.uint64]:
        """See the class."""
        return self._ends[:-1]

    def of(self, rows: pa.Table) -> Integers:
        """Of each of some of the rows the index of its bin; that of cold ones is after the last.

        Raises:
            ValueError: rows of one bin end at several distances.
        """
        low, high = rows["distance_min"], unsigned(rows["distance_max"])
        index = self._places.of(unsigned(low))
        if low.null_count:
            index[~low.is_valid().to_numpy()] = self.distance_min.size
        before = self._ends.copy()
        self._ends[index] = high
        if np.any(self._ends[index] != high) or np.any((before != self._ends)[self._is_known]):
            raise ValueError("bins overlap")
        self._is_known[index] = True
        return index


@dataclass(frozen=True, eq=False)
class Origins:
    """Where the previous accesses were, and which class the accesses are of; as in `ReuseRows`."""

    source_operator: Integers
    kind: Integers
    is_other_thread: npt.NDArray[np.bool_]
    access: Integers


@dataclass(frozen=True, eq=False)
class ReuseRows:
    """Rows of ``reuse_sources`` of one granularity: arrays of one length.

    Operators, regions and contexts are indices; ``kind`` is one into `SOURCE_KINDS`, ``access`` one
    into `ACCESS_CLASSES`, ``bin`` one into ``distance_min`` and ``distance_max``, which are as long
    as there are bins; the bin of cold accesses comes after the last of them.
    ``operator_of_context`` is by context. What ``find_origins`` finds is found when it is first
    asked for: most phases are never asked.
    """

    context: Integers
    operator_of_context: Integers
    region: Integers
    bin: Integers
    count: Integers
    distance_min: npt.NDArray[np.uint64]
    distance_max: npt.NDArray[np.uint64]
    block_bytes: int
    find_origins: Callable[[], Origins]

    @cached_property
    def operator(self) -> Integers:
        """The operator of the access."""
        return self.operator_of_context[self.context]

    @cached_property
    def _origins(self) -> Origins:
        return self.find_origins()

    @property
    def source_operator(self) -> Integers:
        """The operator of the previous access."""
        return self._origins.source_operator

    @property
    def kind(self) -> Integers:
        """The kind of place of the previous access."""
        return self._origins.kind

    @property
    def is_other_thread(self) -> npt.NDArray[np.bool_]:
        """Whether another thread made the previous access."""
        return self._origins.is_other_thread

    @property
    def access(self) -> Integers:
        """The class of the access."""
        return self._origins.access

    def misses(self, memory_bytes: int) -> tuple[Integers, Integers]:
        """Of each row the accesses that certainly miss an LRU memory, and those that may."""
        capacity = memory_bytes // self.block_bytes
        certain, possible = bin_misses(self.distance_min, self.distance_max, capacity)
        return self.weighted(certain, cold=True), self.weighted(possible, cold=True)

    def weighted(self, of_bin: npt.NDArray[_Weight], cold: float) -> npt.NDArray[Any]:
        """Of each row the accesses times a weight: one for each bin, and that of cold accesses."""
        return self.count * np.append(of_bin, of_bin.dtype.type(cold))[self.bin]

    def histogram(self, chosen: npt.NDArray[np.bool_]) -> ReuseHistogram:
        """The reuse distances of some of the rows."""
        return self.histograms(np.where(chosen, 0, -1), 1)[0]

    def histograms(self, group: Integers, group_count: int) -> list[ReuseHistogram]:
        """The reuse distances of each group of rows.

        Args:
            group: of each row the index of its group; below 0: it is of none.
            group_count: how many groups there are.
        """
        width = self.distance_min.size + 1
        is_of_one = group >= 0
        place = group[is_of_one] * width + self.bin[is_of_one]
        counts = np.bincount(place, self.count[is_of_one], group_count * width)
        return [
            self._histogram(row) for row in counts.astype(np.uint64).reshape(group_count, width)
        ]

    def _histogram(self, counts: npt.NDArray[np.uint64]) -> ReuseHistogram:
        is_used = counts[:-1] > 0
        return ReuseHistogram(
            self.distance_min[is_used],
            self.distance_max[is_used],
            counts[:-1][is_used],
            int(counts[-1]),
            self.block_bytes,
        )
