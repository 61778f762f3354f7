# SPDX-License-Identifier: Apache-2.0
"""A recording as notebooks show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.errors import RecordingError
from sgxlens.markup import html_table
from sgxlens.recording.format import BLOCK_BYTES
from sgxlens.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from sgxlens.recording.reader import Recording

_PHASES_MAX = 20


def recording_html(recording: Recording) -> str:
    """How notebooks show it: what was recorded, and its phases."""
    metadata = recording.metadata
    rate = metadata.settings.sampling_rate
    try:
        phases = [
            [
                f"{phase.index} ({phase.name})"
                + (f" of process {phase.process}" if phase.process else ""),
                format_count(phase.line_access_count),
                format_bytes(
                    round(recording.footprint_blocks("page", phase.index, phase.process) / rate)
                    * BLOCK_BYTES["page"]
                ),
            ]
            for phase in recording.phases[:_PHASES_MAX]
        ]
        rest = len(recording.phases) - len(phases)
    except RecordingError as error:
        return html_table(f"Recording {recording.path}", (), [["damaged", error.message]])
    facts = [
        metadata.target.kind,
        str(getattr(metadata.target, "model", None) or " ".join(metadata.command)),
        "exact" if rate == 1 else f"sampled at a rate of {rate:g}",
        metadata.outcome.status,
    ]
    native = recording.native.inference if recording.native is not None else None
    if native is not None:
        facts.append(f"an inference natively {format_seconds(native.median_seconds)}")
    note = "; ".join(facts) + (f"; {rest} more phases" if rest > 0 else "")
    headings = ("phase", "accesses to lines", "pages touched")
    return html_table(f"Recording {recording.path}", headings, phases, note)
