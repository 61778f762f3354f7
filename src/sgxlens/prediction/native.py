# SPDX-License-Identifier: Apache-2.0
"""Native times of phases and operators, as a prediction starts from them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from sgxlens.errors import RecordingError
from sgxlens.prediction.model import NativeBasis
from sgxlens.recording.phase_names import is_inference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sgxlens.recording.native_times.summary import NativeSummary, NativeTime, PhaseKey
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
        self._summary: NativeSummary | None = recording.native
        self._keys = _phase_keys(recording)
        self._given_phase = given_phase
        self._given_seconds = given_seconds
        if self._summary is not None:
            _check_times(recording, self._summary)

    def of_phase(self, phase: Phase) -> NativeBasis | None:
        """The native time of a phase; None: it has none that is more than nothing."""
        same = phase == self._given_phase or (
            _is_inference(phase) and _is_inference(self._given_phase)
        )
        if self._given_seconds is not None:
            given = self._given_seconds
            return NativeBasis(given, given, given, 0, "given") if same else None
        found = self._recorded(phase)
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
        timed: Mapping[int, NativeTime]
        if _is_inference(phase):
            timed, profiled = self._summary.inference_operators, self._summary.profiled_inference
        else:
            timed = self._summary.operators.get(self._keys[phase.process, phase.index], {})
            profiled = self._recorded(phase)
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

    def _recorded(self, phase: Phase) -> NativeTime | None:
        if self._summary is None:
            return None
        if _is_inference(phase) and self._summary.inference is not None:
            return self._summary.inference
        key = self._keys.get((phase.process, phase.index))
        return None if key is None else self._summary.phases.get(key)


def _is_inference(phase: Phase) -> bool:
    return is_inference(phase.name)


def _phase_keys(recording: Recording) -> dict[tuple[int, int], PhaseKey]:
    """How the native times call each phase: those of the first process, and of what it becomes."""
    pids = {info.process: info.pid for info in recording.metadata.processes}
    keys: dict[tuple[int, int], PhaseKey] = {}
    counts: Counter[str] = Counter()
    for phase in recording.phases:
        if pids.get(phase.process) == pids.get(0):
            keys[phase.process, phase.index] = (phase.name, counts[phase.name])
            counts[phase.name] += 1
    return keys


def _check_times(recording: Recording, summary: NativeSummary) -> None:
    samples = [s for time in summary.phases.values() for s in time.samples]
    samples += [s for of in summary.operators.values() for t in of.values() for s in t.samples]
    for seconds in samples:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise RecordingError(
                f"{recording.path} is corrupted: native_times.parquet: it holds {seconds} seconds"
            )
