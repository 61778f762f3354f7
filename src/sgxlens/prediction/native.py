# SPDX-License-Identifier: Apache-2.0
"""Native times of phases and operators, as a prediction starts from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sgxlens.prediction.model import NativeBasis
from sgxlens.recording.phase_names import is_inference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.recording.reader import Operator, Phase, Recording


class NativeTimes:
    """The native times of one recording, with the one that the caller may have given.

    Args:
        recording: the recording.
        given_phase: the phase that `given_seconds` is of; inferences share it.
        given_seconds: a native time that takes the place of the recorded one; None: none.

    Raises:
        RecordingError: the recording is damaged.
    """

    def __init__(
        self, recording: Recording, given_phase: Phase, given_seconds: float | None
    ) -> None:
        self._summary = recording.native
        self._given_phase = given_phase
        self._given_seconds = given_seconds

    def of_phase(self, phase: Phase) -> NativeBasis | None:
        """The native time of a phase; None: it has none that is more than nothing."""
        same = phase == self._given_phase or (
            _is_inference(phase) and _is_inference(self._given_phase)
        )
        if self._given_seconds is not None:
            given = self._given_seconds
            return NativeBasis(given, given, given, 0, "given") if same else None
        found = self._summary.of_phase(phase) if self._summary is not None else None
        if found is None or found.median_seconds <= 0:
            return None
        return NativeBasis(
            median_seconds=found.median_seconds,
            low_seconds=found.low_seconds,
            high_seconds=found.high_seconds,
            sample_count=len(found.samples),
            source="recorded",
        )

    def of_operators(
        self, phase: Phase, basis: NativeBasis, operators: Sequence[Operator]
    ) -> dict[int, float]:
        """Native seconds of the operators of a phase by their number; without those nested in them.

        Operators are timed in runs that profile them, which takes time itself. If all were timed,
        they are scaled to add up to the phase; if some were not, they are scaled as the phase is
        longer or shorter in the profiled runs, and never to more than the phase.
        """
        if self._summary is None or not operators:
            return {}
        timed = self._summary.of_operators(phase)
        profiled = (
            self._summary.profiled_inference
            if _is_inference(phase)
            else self._summary.of_phase(phase)
        )
        own = {o.number: timed[o.index].median_seconds for o in operators if o.index in timed}
        for operator in operators:
            if operator.parent in own and operator.number in own:
                own[operator.parent] -= timed[operator.index].median_seconds
        own = {number: max(seconds, 0.0) for number, seconds in own.items()}
        together = math.fsum(own.values())
        if together <= 0:
            return {}
        scale = basis.median_seconds / together
        if len(own) < len(operators):
            longer = profiled.median_seconds if profiled is not None else 0.0
            scale = min(scale, basis.median_seconds / longer if longer > 0 else 1.0)
        return {number: seconds * scale for number, seconds in own.items()}


def _is_inference(phase: Phase) -> bool:
    return is_inference(phase.name)
