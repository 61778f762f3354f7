# SPDX-License-Identifier: Apache-2.0
"""Median and spread of the native times that a recording holds."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sgxlens.recording.phase_names import is_inference

if TYPE_CHECKING:
    import pyarrow as pa

    from sgxlens.recording.metadata import NativeInfo, ProcessInfo
    from sgxlens.recording.reader import Phase

PhaseKey = tuple[str, int]
"""Name of a phase, and which of that name from 0."""


@dataclass(frozen=True)
class NativeTime:
    """Times that the same work took natively.

    Attributes:
        samples: each of them, in seconds; at least one.
    """

    samples: tuple[float, ...]

    @property
    def median_seconds(self) -> float:
        """The middle one."""
        return statistics.median(self.samples)

    @property
    def low_seconds(self) -> float:
        """Lower quartile (interpolated linearly)."""
        return self._quartiles[0]

    @property
    def high_seconds(self) -> float:
        """Upper quartile (interpolated linearly)."""
        return self._quartiles[1]

    @cached_property
    def _quartiles(self) -> tuple[float, float]:
        if len(self.samples) == 1:
            return self.samples[0], self.samples[0]
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return low, high

    @property
    def min_seconds(self) -> float:
        """The shortest."""
        return min(self.samples)

    @property
    def max_seconds(self) -> float:
        """The longest."""
        return max(self.samples)


def numbered(names: Iterable[str]) -> list[PhaseKey]:
    """Each name with its occurrence: which of that name it is, from 0."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


def phase_keys(
    phases: Sequence[Phase], processes: Sequence[ProcessInfo]
) -> dict[tuple[int, int], PhaseKey]:
    """How native times call each phase, by process and index.

    Only the first process is timed, and what it becomes by ``exec``: its phases are numbered on.
    """
    pids = {info.process: info.pid for info in processes}
    timed = [phase for phase in phases if pids.get(phase.process) == pids.get(0)]
    keys = numbered(phase.name for phase in timed)
    return {(phase.process, phase.index): key for phase, key in zip(timed, keys, strict=True)}


class NativeSummary:
    """The native times of one recording.

    Phases are timed in runs that time nothing else; where there are none such, in the profiled
    ones. Operators are timed in profiled runs, so that they add up to more than their phase.

    Args:
        info: which runs there were, on which host.
        table: the table ``native_times``.
        keys: how the table calls the recorded phases, see `phase_keys`.

    Attributes:
        info: as above.

    Raises:
        ValueError: a time is not a number of seconds.
    """

    def __init__(
        self, info: NativeInfo, table: pa.Table, keys: Mapping[tuple[int, int], PhaseKey]
    ) -> None:
        self.info = info
        self._columns = {name: table[name].to_pylist() for name in table.column_names}
        self._keys = keys
        for seconds in self._columns["seconds"]:
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"it holds {seconds} seconds")

    def of_phase(self, phase: Phase) -> NativeTime | None:
        """The time of a recorded phase; None: it was not timed.

        All inferences of the timed program are repetitions of one another: each has all their
        samples, also those of inferences that only the native runs made.
        """
        key = self._keys.get((phase.process, phase.index))
        if key is None:
            return None
        return (self.inference if is_inference(phase.name) else None) or self.phases.get(key)

    def of_operators(self, phase: Phase) -> Mapping[int, NativeTime]:
        """Times of the operators of a recorded phase, by their index in it; as `of_phase`."""
        key = self._keys.get((phase.process, phase.index))
        if key is None:
            return {}
        return self.inference_operators if is_inference(phase.name) else self.operators.get(key, {})

    @property
    def run_time(self) -> NativeTime:
        """The whole run, from the start of the program to its end; with all its inferences."""
        plain = [run.seconds for run in self.info.runs if not run.profiled]
        return NativeTime(tuple(plain or [run.seconds for run in self.info.runs]))

    @cached_property
    def phases(self) -> dict[PhaseKey, NativeTime]:
        """Each phase, by its name and which of that name it is; one sample a run."""
        plain = self._phases(profiled=False)
        return plain or self._phases(profiled=True)

    @cached_property
    def inference(self) -> NativeTime | None:
        """An inference: all phases whose name begins with ``inference``, in all runs."""
        return _pooled(self.phases)

    @cached_property
    def profiled_inference(self) -> NativeTime | None:
        """As `inference`, while the operators were timed: what profiling costs."""
        return _pooled(self._phases(profiled=True))

    @cached_property
    def operators(self) -> dict[PhaseKey, dict[int, NativeTime]]:
        """Operators by phase, and then by their index in the phase."""
        found: defaultdict[PhaseKey, defaultdict[int, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for name, occurrence, index, seconds in self._rows("operator_index"):
            if index is not None:
                found[name, occurrence][index].append(seconds)
        return {key: _times(of_phase) for key, of_phase in found.items()}

    @cached_property
    def inference_operators(self) -> dict[int, NativeTime]:
        """Operators of an inference by their index, in all inferences of all runs."""
        found: defaultdict[int, list[float]] = defaultdict(list)
        for (name, _), of_phase in self.operators.items():
            if is_inference(name):
                for index, native_time in of_phase.items():
                    found[index] += native_time.samples
        return _times(found)

    def _phases(self, *, profiled: bool) -> dict[PhaseKey, NativeTime]:
        chosen = {n for n, run in enumerate(self.info.runs) if run.profiled == profiled}
        found: defaultdict[PhaseKey, list[float]] = defaultdict(list)
        for run, row in zip(self._columns["run"], self._rows("operator_index"), strict=True):
            name, occurrence, index, seconds = row
            if index is None and run in chosen:
                found[name, occurrence].append(seconds)
        return {key: NativeTime(tuple(samples)) for key, samples in found.items()}

    def _rows(self, index: str) -> Iterable[tuple[str, int, int | None, float]]:
        columns = self._columns
        return zip(
            columns["phase"],
            columns["occurrence"],
            columns[index],
            columns["seconds"],
            strict=True,
        )


def _pooled(phases: dict[PhaseKey, NativeTime]) -> NativeTime | None:
    samples = [
        sample
        for (name, _), native_time in phases.items()
        if is_inference(name)
        for sample in native_time.samples
    ]
    return NativeTime(tuple(samples)) if samples else None


def _times(samples: dict[int, list[float]]) -> dict[int, NativeTime]:
    return {index: NativeTime(tuple(values)) for index, values in sorted(samples.items())}
