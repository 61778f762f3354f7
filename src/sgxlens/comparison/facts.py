# SPDX-License-Identifier: Apache-2.0
"""What recordings say of a phase whatever the platform, and how two of them differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.attribution.facts import has_attribution
from sgxlens.attribution.sources import sources
from sgxlens.attribution.working_sets import working_sets
from sgxlens.comparison.model import FactChanges, Granularity, SizeChange, SourceChange
from sgxlens.recording.format import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.recording.reader import Phase, Recording

#: A window of working sets is this part of the shorter phase.
_WINDOWS = 64
_GRANULARITIES: tuple[Granularity, ...] = ("line", "page")

Subject = tuple["Recording", "Phase"]


def fact_changes(before: Subject, after: Subject) -> FactChanges:
    """How two phases differ.

    Sizes are ``line_footprint`` and ``page_footprint``, distinct blocks of the phase, and
    ``line_working_set`` and ``page_working_set``, those of the window that touches most.

    Raises:
        RecordingError: a recording is damaged.
    """
    is_attributed = all(has_attribution(recording) for recording, _ in (before, after))
    shorter = min(phase.line_access_count for _, phase in (before, after))
    window = max(1, shorter // _WINDOWS) if is_attributed else None
    return FactChanges(
        line_access_counts=(before[1].line_access_count, after[1].line_access_count),
        instruction_counts=(before[1].instruction_count, after[1].instruction_count),
        sizes=tuple(_sizes(before, after, window)),
        working_set_line_accesses=window,
        sources=tuple(_sources(before, after)) if is_attributed else (),
    )


def _sizes(before: Subject, after: Subject, window: int | None) -> Iterator[SizeChange]:
    for name in _GRANULARITIES:
        yield SizeChange(f"{name}_footprint", *(_footprint(s, name) for s in (before, after)))
    if window is not None:
        largest = [_working_set(subject, window) for subject in (before, after)]
        for name in _GRANULARITIES:
            yield SizeChange(f"{name}_working_set", *(of[name] for of in largest))


def _footprint(subject: Subject, granularity: str) -> int:
    recording, phase = subject
    blocks = recording.footprint_blocks(granularity, phase.index, phase.process)
    # Of a sampled recording so many blocks were followed.
    return round(blocks / recording.metadata.settings.sampling_rate) * BLOCK_BYTES[granularity]


def _working_set(subject: Subject, window: int) -> dict[Granularity, int]:
    recording, phase = subject
    found = working_sets(recording, phase, window)
    largest = {"line": found.lines, "page": found.pages}
    return {name: int(largest[name].max(initial=0)) * BLOCK_BYTES[name] for name in _GRANULARITIES}


def _sources(before: Subject, after: Subject) -> Iterator[SourceChange]:
    tables = [sources(recording, phase, None).rows for recording, phase in (before, after)]
    for name in _GRANULARITIES:
        totals = [sum(row.access_count for row in table[name]) for table in tables]
        for left, right in zip(tables[0][name], tables[1][name], strict=True):
            if left.access_count or right.access_count:
                yield SourceChange(
                    source=left.kind,
                    granularity=name,
                    before_count=left.access_count,
                    after_count=right.access_count,
                    before_ratio=left.access_count / totals[0] if totals[0] else None,
                    after_ratio=right.access_count / totals[1] if totals[1] else None,
                )
