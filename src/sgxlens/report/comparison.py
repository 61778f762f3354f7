# SPDX-License-Identifier: Apache-2.0
"""What a report of a comparison says, as plain data: every renderer shows the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.enclave.charges import CAUSE_TITLES
from sgxlens.errors import UsageError
from sgxlens.prediction.several import slowest
from sgxlens.report.prediction import LeftOut
from sgxlens.units import format_seconds, format_seconds_range, format_signed_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.comparison.direction import Direction
    from sgxlens.comparison.model import Changes, Comparison, TimeChanges
    from sgxlens.recording.metadata import RecordingMetadata
    from sgxlens.recording.reader import Recording


@dataclass(frozen=True)
class ComparisonDocument:
    """A report of several recordings on one or several platforms.

    Attributes:
        metadata: the ``recording.json`` of each recording.
        comparisons: one for each platform, at least one.
        detailed: which of them are shown in full, as indices.
        left_out: platforms that could not be compared.
    """

    metadata: tuple[RecordingMetadata, ...]
    comparisons: tuple[Comparison, ...]
    detailed: tuple[int, ...]
    left_out: tuple[LeftOut, ...]


def comparison_document(
    recordings: Sequence[Recording],
    comparisons: Sequence[Comparison],
    *,
    detailed: Sequence[int] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> ComparisonDocument:
    """The report of `comparisons` of the same recordings.

    Args:
        recordings: the recordings, in the order in which they were compared.
        comparisons: at least one.
        detailed: indices of those that are shown in full; None: all.
        left_out: names of platforms that could not be compared, and why.

    Raises:
        UsageError: there is no comparison.
    """
    if not comparisons:
        raise UsageError("no platform to compare on: give --platform, see `sgxlens platforms`")
    return ComparisonDocument(
        metadata=tuple(recording.metadata for recording in recordings),
        comparisons=tuple(comparisons),
        detailed=tuple(range(len(comparisons)) if detailed is None else detailed),
        left_out=tuple(LeftOut(*pair) for pair in left_out),
    )


def slowest_baseline(comparisons: Sequence[Comparison]) -> int:
    """Which of at least one comparison is shown first: that on which the baseline is slowest."""
    baselines = [one.sides[0].prediction for one in comparisons]
    return slowest([one for one in baselines if one is not None]) if None not in baselines else 0


#: How a direction is said of times, and of anything else.
LONGER: dict[Direction, str] = {
    "more": "certainly longer",
    "less": "certainly shorter",
    "same": "no difference",
    "uncertain": "within the uncertainty",
}


def change_verdict(comparison: Comparison, changes: Changes) -> str:
    """What changed from the baseline to one other recording, in plain words."""
    times = changes.times
    if times is None:
        return comparison.no_times
    baseline = comparison.sides[0].label
    inside = times.sgx_seconds
    difference = inside.difference
    words = (
        f"{changes.label} takes {format_seconds(inside.after.likely)} inside an enclave, {baseline}"
        f" {format_seconds(inside.before.likely)}: {format_signed_seconds(difference.likely)}"
        f" ({format_seconds_range(difference.low, difference.high, signed=True)}),"
        f" {LONGER[inside.direction]}."
    )
    per_sample = times.per_sample
    if per_sample is not None:
        one = per_sample.sgx_seconds
        words += (
            f" For each sample it is {format_seconds(one.after.likely)} instead of"
            f" {format_seconds(one.before.likely)}: {LONGER[one.direction]}."
        )
    return f"{words} {_why(times)}"


def _why(times: TimeChanges) -> str:
    parts = [("native time", times.native_seconds)]
    parts += [(CAUSE_TITLES[row.cause], row.added_seconds) for row in times.causes]
    parts.sort(key=lambda part: -abs(part[1].difference.likely))
    largest = abs(parts[0][1].difference.likely)
    named = [
        f"{name} ({format_signed_seconds(change.difference.likely)})"
        for name, change in parts
        if change.direction != "same" and abs(change.difference.likely) >= 0.1 * largest > 0
    ]
    return f"What changes is {', '.join(named)}." if named else "Nothing else changes."
