# SPDX-License-Identifier: Apache-2.0
"""Distinct blocks accessed in windows of a phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import facts_of
from sgxlens.attribution.usage import blocks_by
from sgxlens.errors import UsageError

if TYPE_CHECKING:
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording


@dataclass(frozen=True, eq=False)
class WorkingSets:
    """Working sets of the windows of a phase, in their order: arrays of one length.

    A window is made of whole spans (from one boundary - mark, operator, clock read - to the next):
    of as few as have at least the accesses asked for, the last one of what is left. A span with
    more accesses makes a window longer than asked for.

    Attributes:
        window_accesses: least line accesses of a window, as asked for (a number).
        longest_span_accesses: line accesses of the longest span (a number): what the windows can
            be longer than asked for.
        start_position, end_position: line accesses before the start and the end of each window.
        access_count: line accesses in the window.
        lines, pages: distinct blocks accessed in it.
        written_lines, written_pages: those of them written in it.
    """

    window_accesses: int
    longest_span_accesses: int
    start_position: Integers
    end_position: Integers
    access_count: Integers
    lines: Integers
    pages: Integers
    written_lines: Integers
    written_pages: Integers


def working_sets(
    recording: Recording,
    phase: Phase | int | str,
    window_accesses: int,
    process: int | None = None,
) -> WorkingSets:
    """The working sets of windows of at least `window_accesses` line accesses.

    Those of operators are the footprints in `operator_table`.

    Raises:
        UsageError: there is no such phase, or more than one; the window has no access.
        RecordingError: the recording has no attribution, or is damaged.
    """
    if window_accesses < 1:
        raise UsageError(f"a window of {window_accesses} accesses is none")
    facts = facts_of(recording, phase, process)
    contexts, uses = facts.contexts, facts.uses
    spans, span = np.unique(contexts.span, return_inverse=True)
    start = np.full(spans.size, np.iinfo(np.int64).max)
    end = np.zeros(spans.size, dtype=np.int64)
    np.minimum.at(start, span, contexts.start_position)
    np.maximum.at(end, span, contexts.end_position)
    accesses = np.zeros(spans.size, dtype=np.int64)
    np.add.at(accesses, span, contexts.line_access_count)
    first = _first_spans(accesses, window_accesses)
    window_of_span = np.zeros(spans.size, dtype=np.int64)
    window_of_span[first[1:]] = 1
    window_of_span = np.cumsum(window_of_span)
    blocks = blocks_by(
        facts,
        window_of_span[span][uses.context],
        first.size,
        page=uses.page,
        lines=uses.lines,
        written=uses.written,
    )
    return WorkingSets(
        window_accesses=window_accesses,
        longest_span_accesses=int(accesses.max(initial=0)),
        start_position=np.minimum.reduceat(start, first) if first.size else start,
        end_position=np.maximum.reduceat(end, first) if first.size else end,
        access_count=np.add.reduceat(accesses, first) if first.size else accesses,
        lines=blocks["line"][0],
        pages=blocks["page"][0],
        written_lines=blocks["line"][1],
        written_pages=blocks["page"][1],
    )


def _first_spans(accesses: Integers, window_accesses: int) -> Integers:
    """The first span of each window."""
    before = np.concatenate([[0], np.cumsum(accesses)])
    first = []
    at = 0
    while at < accesses.size:
        first.append(at)
        # At least one span, so that the loop ends.
        at = max(at + 1, int(np.searchsorted(before, before[at] + window_accesses)))
    return np.array(first, dtype=np.int64)
