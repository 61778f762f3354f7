# SPDX-License-Identifier: Apache-2.0
"""The part of a report about reuse distances and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.recording.format import ANY_ACCESS, BLOCK_BYTES
from sgxlens.reuse.curves import miss_ratio_curve
from sgxlens.reuse.sampling import estimate_miss_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.recording.reader import Recording
    from sgxlens.reuse.curves import MissRatioCurve
    from sgxlens.reuse.histogram import ReuseHistogram
    from sgxlens.reuse.sampling import MissRatioEstimate

_SMALLEST_MEMORY_BYTES = 32 << 10
_LARGEST_MEMORY_BYTES = 1 << 30
#: A row of the histogram spans this factor of distances.
_ROW_FACTOR = 4
#: The quantiles of reuse distances that are shown, as shares of the accesses.
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class DistanceRow:
    """Accesses whose distance is at least `distance_min_blocks` and below `distance_end_blocks`."""

    distance_min_blocks: int
    distance_end_blocks: int
    counts: dict[str, int]


@dataclass(frozen=True)
class ReuseSection:
    """Reuse at both granularities; every dict is by granularity.

    Of a sampled recording the curves are what was sampled, and ``estimates`` what follows for the
    program, with bounds; it is None where the recording is exact or nothing was accessed.
    ``at_bytes`` is the capacity asked for, which is among ``capacity_bytes``.
    """

    histograms: dict[str, ReuseHistogram]
    rows: tuple[DistanceRow, ...]
    capacity_bytes: tuple[int, ...]
    at_bytes: int | None
    curves: dict[str, MissRatioCurve]
    estimates: dict[str, MissRatioEstimate] | None


def reuse_section(
    recording: Recording,
    phase: int | str | None,
    process: int | None,
    chosen: set[tuple[int, int]],
    at_bytes: int | None,
) -> ReuseSection:
    """Reuse of the phases chosen; `phase` and `process` select them as in `Recording.reuse`."""
    histograms = {name: recording.reuse(name, phase, process) for name in BLOCK_BYTES}
    capacities = _capacities(list(histograms.values()))
    if at_bytes is not None:
        capacities = sorted({*capacities, at_bytes})
    in_blocks = {name: [c // BLOCK_BYTES[name] for c in capacities] for name in histograms}
    return ReuseSection(
        histograms=histograms,
        rows=tuple(_distance_rows(histograms)),
        capacity_bytes=tuple(capacities),
        at_bytes=at_bytes,
        curves={name: miss_ratio_curve(h, in_blocks[name]) for name, h in histograms.items()},
        estimates=_estimates(recording, histograms, in_blocks, chosen),
    )


def _estimates(
    recording: Recording,
    histograms: dict[str, ReuseHistogram],
    capacities_blocks: dict[str, list[int]],
    chosen: set[tuple[int, int]],
) -> dict[str, MissRatioEstimate] | None:
    rate = recording.metadata.settings.sampling_rate
    if rate == 1:
        return None
    counts = dict.fromkeys(histograms, 0)
    for row in recording.table("footprints").to_pylist():
        if row["access"] == ANY_ACCESS and (row["process"], row["phase"]) in chosen:
            counts[row["granularity"]] += row["access_count"]
    if not all(counts.values()):
        return None
    return {
        name: estimate_miss_ratio(histogram, counts[name], rate, capacities_blocks[name])
        for name, histogram in histograms.items()
    }


def _capacities(histograms: Sequence[ReuseHistogram]) -> list[int]:
    """Sizes of memory in bytes, up to the first at which only cold misses are left everywhere."""
    needed = max(
        (int(h.distance_max_blocks[-1]) + 1) * h.block_bytes if h.count.size else 0
        for h in histograms
    )
    capacities = [_SMALLEST_MEMORY_BYTES]
    while capacities[-1] < min(needed, _LARGEST_MEMORY_BYTES):
        capacities.append(capacities[-1] * 2)
    return capacities


def _distance_rows(histograms: dict[str, ReuseHistogram]) -> list[DistanceRow]:
    """Rows from distance 0 to the largest; a bin belongs where its smallest distance is."""
    largest = max(
        (int(h.distance_min_blocks[-1]) for h in histograms.values() if h.count.size), default=-1
    )
    edges = [0]
    while edges[-1] <= largest:
        edges.append(edges[-1] * _ROW_FACTOR or 1)
    sums = {}
    for name, histogram in histograms.items():
        row_of_bin = np.searchsorted(edges, histogram.distance_min_blocks, side="right") - 1
        row_counts = np.zeros(len(edges), dtype=np.uint64)
        np.add.at(row_counts, row_of_bin, histogram.count)
        sums[name] = row_counts
    return [
        DistanceRow(edges[i], edges[i + 1], {name: int(sums[name][i]) for name in histograms})
        for i in range(len(edges) - 1)
    ]
