# SPDX-License-Identifier: Apache-2.0
"""How long phases and operators took without the tracer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgxlens.recording.native_times import summary


@dataclass(frozen=True)
class NativeTime:
    """Times of the same piece of work in several native runs, in seconds."""

    sample_count: int
    median_seconds: float
    min_seconds: float
    max_seconds: float


def native_time(found: summary.NativeTime | None) -> NativeTime | None:
    """The time of a phase or operator, as reports have it; None: it was not timed."""
    if found is None:
        return None
    return NativeTime(
        sample_count=len(found.samples),
        median_seconds=found.median_seconds,
        min_seconds=found.min_seconds,
        max_seconds=found.max_seconds,
    )
