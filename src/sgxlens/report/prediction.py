# SPDX-License-Identifier: Apache-2.0
"""What a report of predictions says, as plain data: every renderer shows the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.metadata import RecordingMetadata
    from sgxlens.recording.reader import Recording


@dataclass(frozen=True)
class LeftOut:
    """A platform that nobody named and that what was asked for makes no sense for."""

    platform: str
    reason: str


@dataclass(frozen=True)
class PredictionDocument:
    """A report of one recording on one or several platforms.

    Attributes:
        path: the folder of the recording.
        metadata: its ``recording.json``.
        predictions: one for each platform and runtime, at least one.
        detailed: which of them are shown in full, as indices; the others are only compared.
        left_out: platforms that could not be compared.
    """

    path: str
    metadata: RecordingMetadata
    predictions: tuple[Prediction, ...]
    detailed: tuple[int, ...]
    left_out: tuple[LeftOut, ...]


def prediction_document(
    recording: Recording,
    predictions: Sequence[Prediction],
    *,
    detailed: Sequence[int] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> PredictionDocument:
    """The report of `predictions` of a recording.

    Args:
        recording: the recording.
        predictions: what it would cost, at least one.
        detailed: indices of those that are shown in full; None: all.
        left_out: names of platforms that could not be compared, and why.

    Raises:
        UsageError: there is no prediction.
    """
    if not predictions:
        raise UsageError("no platform to predict for: give --platform, see `sgxlens platforms`")
    return PredictionDocument(
        path=str(recording.path),
        metadata=recording.metadata,
        predictions=tuple(predictions),
        detailed=tuple(range(len(predictions)) if detailed is None else detailed),
        left_out=tuple(LeftOut(*pair) for pair in left_out),
    )
