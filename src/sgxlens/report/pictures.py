# SPDX-License-Identifier: Apache-2.0
"""What only a page draws: more points of curves, and a finer picture of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import NO_REGION, SOURCE_KINDS, facts_of
from sgxlens.attribution.timeline import timeline
from sgxlens.recording.format import BLOCK_BYTES
from sgxlens.report.attribution_section import Granularity
from sgxlens.reuse.curves import miss_ratio_curve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.attribution.reuse_rows import ReuseRows
    from sgxlens.attribution.timeline import Timeline
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording

#: The picture is thinned to so many cells in height and so many rectangles.
_ROWS_MAX = 1024
_RECTANGLES_MAX = 24_000
_SMALLEST_MEMORY_BYTES = 32 << 10
_POINTS_PER_DOUBLING = 4


@dataclass(frozen=True)
class CurveGroup:
    """Misses of some of the accesses, one number for each capacity.

    ``name`` is a role or a reuse source, of a region its number (empty: lines of no region), and
    ``all`` of all accesses. Of a capacity inside a bin of reuse distances
    ``miss_counts`` has the accesses that may miss.
    """

    name: str
    access_count: int
    miss_counts: list[int]


@dataclass(frozen=True)
class Curves:
    """Misses of the phase's accesses in an LRU memory at one granularity.

    ``by_role`` and ``by_source`` each add up to ``all``; ``by_region`` has the regions that were
    asked for.
    """

    capacity_bytes: list[int]
    all: CurveGroup
    by_role: list[CurveGroup]
    by_source: list[CurveGroup]
    by_region: list[CurveGroup]


@dataclass(frozen=True)
class Picture:
    """Which pages are used when, as `sgxlens.report.memory_section.TimelineSection`, but finer.

    Rectangles are arrays of one length: column, first cell, number of cells, and use: the sum of 1
    (read), 2 (written) and 4 (executed). Cells are arrays of one length: address of the first page,
    index into ``roles``, and number of the region of the most pages (null: none is known).
    """

    page_count: int
    step_count: int
    cell_page_count: int
    column_step_count: int
    roles: list[str]
    cell_addresses: list[int]
    cell_roles: list[int]
    cell_regions: list[int | None]
    column_operator_indices: list[list[int]]
    rectangle_columns: list[int]
    rectangle_cells: list[int]
    rectangle_cell_counts: list[int]
    rectangle_uses: list[int]


def curves(
    recording: Recording, phase: Phase, regions: Sequence[int | None] = ()
) -> dict[Granularity, Curves]:
    """Miss curves of a phase by role, by reuse source, and of single regions.

    Args:
        recording: the recording.
        phase: the phase.
        regions: numbers of the regions that have a curve of their own; None: lines of no region.

    Raises:
        RecordingError: the recording has no attribution, or is damaged.
    """
    facts = facts_of(recording, phase)
    names: tuple[Granularity, ...] = ("line", "page")
    capacities = _capacities(facts.reuse[name] for name in names)
    return {name: _curves(facts, facts.reuse[name], capacities, regions) for name in names}


def _capacities(of_granularities: Iterable[ReuseRows]) -> list[int]:
    """Sizes in bytes, whole pages, up to the first at which only cold misses are left."""
    needed = max(
        (int(rows.distance_max.max(initial=0)) + 1) * rows.block_bytes for rows in of_granularities
    )
    page = BLOCK_BYTES["page"]
    found = [_SMALLEST_MEMORY_BYTES]
    step = 0
    while found[-1] < needed:
        step += 1
        size = _SMALLEST_MEMORY_BYTES * 2.0 ** (step / _POINTS_PER_DOUBLING)
        found.append(int(size) // page * page)
    return found


def _curves(
    facts: PhaseFacts,
    rows: ReuseRows,
    capacities: Sequence[int],
    regions: Sequence[int | None],
) -> Curves:
    roles, role_of_region = facts.roles
    role = role_of_region[rows.region]
    everything = np.zeros(rows.count.size, dtype=np.int64)
    # As `roles` has it: what is of no region stands last, at -1.
    places = {number: place for place, number in enumerate(regions)}
    numbers = [*(region.number for region in facts.regions), None]
    place_of_region = np.array([places.get(number, -1) for number in numbers], dtype=np.int64)
    names = ["" if number is None else str(number) for number in regions]
    return Curves(
        capacity_bytes=list(capacities),
        all=_groups(rows, everything, ["all"], capacities)[0],
        by_role=_groups(rows, role, roles, capacities),
        by_source=_groups(rows, rows.kind, SOURCE_KINDS, capacities),
        by_region=_groups(rows, place_of_region[rows.region], names, capacities),
    )


def _groups(
    rows: ReuseRows, group: Integers, names: Sequence[str], capacities: Sequence[int]
) -> list[CurveGroup]:
    """The curves of groups of rows that have accesses; of groups below 0 there is none."""
    found = []
    for name, histogram in zip(names, rows.histograms(group, len(names)), strict=True):
        if not histogram.total and name != "all":
            continue
        curve = miss_ratio_curve(histogram, [size // rows.block_bytes for size in capacities])
        found.append(CurveGroup(name, histogram.total, curve.miss_count_high.tolist()))
    return found


def picture(recording: Recording, phase: Phase) -> Picture:
    """The picture of a phase's memory, thinned to what a screen can show.

    Raises:
        RecordingError: the recording has no attribution, or is damaged.
    """
    found = timeline(recording, phase, _RECTANGLES_MAX, max_rows=_ROWS_MAX)
    numbers = [region.number for region in facts_of(recording, phase).regions]
    height, width = found.pages_per_cell, found.steps_per_cell
    steps = found.step_operator
    operators = [
        list(dict.fromkeys(o for o in steps[start : start + width].tolist() if o >= 0))
        for start in range(0, steps.size, width)
    ]
    regions = _most(found.page_region, height)
    return Picture(
        page_count=int(found.pages.size),
        step_count=int(steps.size),
        cell_page_count=height,
        column_step_count=width,
        roles=list(found.roles),
        cell_addresses=_addresses(found, height),
        cell_roles=_most(found.page_role, height),
        cell_regions=[None if region == NO_REGION else numbers[region] for region in regions],
        column_operator_indices=[
            [found.operators[o].index for o in column] for column in operators
        ],
        rectangle_columns=found.column.tolist(),
        rectangle_cells=found.first_cell.tolist(),
        rectangle_cell_counts=found.cell_count.tolist(),
        rectangle_uses=found.flags.tolist(),
    )


def _addresses(found: Timeline, height: int) -> list[int]:
    return [page * BLOCK_BYTES["page"] for page in found.pages[::height].tolist()]


def _most(of_page: Integers, height: int) -> list[int]:
    """For each cell of `height` pages the value that most of its pages have."""
    if not of_page.size:
        return []
    least = int(of_page.min())
    width = int(of_page.max()) - least + 1
    keys, counts = np.unique(
        np.arange(of_page.size) // height * width + of_page - least, return_counts=True
    )
    # Of values that as many pages have, the least one: keys ascend.
    order = np.lexsort((-counts, keys // width))
    _, first = np.unique(keys[order] // width, return_index=True)
    found: list[int] = (keys[order][first] % width + least).tolist()
    return found
