# SPDX-License-Identifier: Apache-2.0
"""How much of each page is used: what is loaded for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens._native import NativeEpcVisitsError
from sgxlens.attribution.columns import rows_of
from sgxlens.attribution.facts import column, facts_of
from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.bitmaps import LINES_PER_PAGE, popcount, union
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.reuse.page_visits import VISIT_COLUMNS, PageVisits, last_accesses, lru_loads

if TYPE_CHECKING:
    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.recording.bitmaps import Bitmaps, Integers
    from sgxlens.recording.reader import Phase, Recording


@dataclass(frozen=True, eq=False)
class Stays:
    """The stays of pages in an LRU memory, from load to eviction, that are used in the phase.

    Of each stay the lines count that are accessed in it during the phase. The recording has lines
    by context, not by stay. Where a page may be accessed in several of its stays during one
    context, that context's lines may be of any of them: they count in ``line_count_high`` of each,
    and in ``line_count_low`` of none.

    Attributes:
        capacity_pages: pages in the memory, which was empty when the process started (a number).
        loaded_page: for each load in the phase its page, an index into `SpatialUse.pages`.
        page: for each stay its page, an index into `SpatialUse.pages`.
        line_count_low, line_count_high: for each stay bounds of the lines used.
    """

    capacity_pages: int
    loaded_page: Integers
    page: Integers
    line_count_low: Integers
    line_count_high: Integers

    @property
    def load_count(self) -> int:
        """How many pages are loaded in the phase."""
        return int(self.loaded_page.size)

    @property
    def exact_share(self) -> float:
        """Share of the stays whose lines are known exactly, 0 to 1; 1 of none."""
        if not self.page.size:
            return 1.0
        return float(np.mean(self.line_count_low == self.line_count_high))


@dataclass(frozen=True, eq=False)
class SpatialUse:
    """Lines used of the pages of a phase.

    Attributes:
        phase: the phase.
        pages: numbers of the pages accessed, ascending.
        line_count: for each page the distinct lines accessed in the phase.
        written_line_count: those of them that are written.
        roles: the roles there are.
        page_role: for each page the role of the most of its lines, an index into `roles`.
        lines_by_role: for each role that occurs and number of lines, 0 to 64, the pages of which
            so many lines have that role and are accessed. A page may count in several roles.
        stays: how it is while a page stays in a memory; None: no size was asked for.
    """

    phase: Phase
    pages: Integers
    line_count: Integers
    written_line_count: Integers
    roles: tuple[str, ...]
    page_role: Integers
    lines_by_role: dict[str, Integers]
    stays: Stays | None

    @property
    def pages_by_line_count(self) -> Integers:
        """For each number of lines, 0 to 64, the pages of which so many are accessed."""
        return np.bincount(self.line_count, minlength=LINES_PER_PAGE + 1)


def spatial_use(
    recording: Recording,
    phase: Phase | int | str,
    memory_bytes: int | None = None,
    process: int | None = None,
) -> SpatialUse:
    """How many lines of each page a phase uses, and how many while the page is in a memory.

    Args:
        recording: the recording.
        phase: the phase, its index in its process or its name.
        memory_bytes: size of an LRU memory of pages; None: leave out `SpatialUse.stays`.
        process: the process, where several have a phase of that index or name.

    Raises:
        UsageError: there is no such phase, or more than one; the memory is smaller than what the
            page visits of the recording can tell of.
        RecordingError: the recording has no attribution, or is damaged.
    """
    facts = facts_of(recording, phase, process)
    uses = facts.uses
    # Each page is used: the keys are all of them.
    _, lines, written = union(uses.page, uses.lines, uses.written)
    roles, role_of = facts.roles
    return SpatialUse(
        phase=facts.phase,
        pages=facts.pages.astype(np.int64),
        line_count=popcount(lines),
        written_line_count=popcount(written),
        roles=roles,
        page_role=role_of[facts.page_region],
        lines_by_role=_lines_by_role(facts),
        stays=None if memory_bytes is None else _stays(recording, facts, memory_bytes),
    )


def _lines_by_role(facts: PhaseFacts) -> dict[str, Integers]:
    pieces = facts.use_pieces
    roles, role_of = facts.roles
    pages = max(facts.pages.size, 1)
    key, lines = union(role_of[pieces.region] * pages + facts.uses.page[pieces.use], pieces.lines)
    count = popcount(lines)
    return {
        role: np.bincount(count[key // pages == index], minlength=LINES_PER_PAGE + 1)
        for index, role in enumerate(roles)
        if np.any(key // pages == index)
    }


def _stays(recording: Recording, facts: PhaseFacts, memory_bytes: int) -> Stays:
    capacity = memory_bytes // PAGE_BYTES
    filter_pages = recording.metadata.settings.visit_page_count
    if filter_pages is None:
        raise RecordingError(f"{recording.path} has no page visits")
    if capacity < filter_pages:
        raise UsageError(
            f"a memory of {capacity} pages is too small: what stays in it can be told from"
            f" {filter_pages} pages on"
        )
    rows = rows_of(recording, "page_visits", facts.phase.process, VISIT_COLUMNS)
    visits = PageVisits.from_rows(rows, filter_pages)
    try:
        loads = lru_loads(visits, capacity)
    except NativeEpcVisitsError as error:
        raise facts.corrupted("page_visits", str(error)) from error
    # Time goes by spans: of the threads of one span it is not known who was first.
    context = column(recording, facts.phase.process, "page_visits", "context")
    spans = facts.spans_of(context)
    starts = np.arange(visits.page.size)
    is_load = np.zeros(starts.size, dtype=np.int64)
    is_load[loads] = 1
    last = last_accesses(visits)
    # A page's last access in a visit comes before the start of that many visits.
    last_span = np.append(spans, np.iinfo(np.int32).max)[np.minimum(last, starts.size)]
    pages, of_visit = np.unique(visits.page, return_inverse=True)
    order = np.argsort(of_visit, kind="stable")
    # Ascending by page, then in the order of their starts: a number for each stay.
    stay = np.cumsum(is_load[order]) - 1
    uses = facts.uses
    of_page = np.searchsorted(pages, facts.pages)
    row_page, row_span = of_page[uses.page], facts.contexts.span[uses.context]
    width = np.int64(1) << 32
    begins = of_visit[order] * width + spans[order]
    ends = of_visit[order] * width + last_span[order]
    # The last visit that begins by then, and the first that is not over before.
    high = np.searchsorted(begins, row_page * width + row_span, side="right") - 1
    low = np.minimum(np.searchsorted(ends, row_page * width + row_span, side="left"), high)
    first, count = stay[low], stay[high] - stay[low] + 1
    row = np.repeat(np.arange(count.size), count)
    stay_of = first[row] + np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    found, lines = union(stay_of, uses.lines[row])
    is_certain = count[row] == 1
    certain: Bitmaps = np.zeros(found.size, dtype=np.uint64)
    sure, sure_lines = union(stay_of[is_certain], uses.lines[row[is_certain]])
    certain[np.searchsorted(found, sure)] = sure_lines
    page_of_stay = np.zeros(int(stay.max(initial=-1)) + 1, dtype=np.int64)
    page_of_stay[stay] = of_visit[order]
    numbers = pages[page_of_stay[found]]
    here = loads[np.isin(context[loads], facts.contexts.number)]
    if not np.all(np.isin(visits.page[here], facts.pages)):
        raise RecordingError(
            f"{recording.path} is corrupted: page_visits.parquet: a page is not used"
        )
    return Stays(
        capacity_pages=capacity,
        loaded_page=np.searchsorted(facts.pages, visits.page[here]),
        page=np.searchsorted(facts.pages, numbers),
        line_count_low=popcount(certain),
        line_count_high=popcount(lines),
    )
