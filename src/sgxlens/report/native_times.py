# SPDX-License-Identifier: Apache-2.0
"""How long phases and operators took without the tracer."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from sgxlens.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.recording.reader import Phase, Recording

#: Name of a phase, and which of that name it is, from 0.
_Key = tuple[str, int]
_NUMBER = re.compile(r"\s*\d+\Z")


@dataclass(frozen=True)
class NativeTime:
    """Times of the same piece of work in several native runs, in seconds."""

    sample_count: int
    median_seconds: float
    min_seconds: float
    max_seconds: float


@dataclass(frozen=True)
class NativeTimes:
    """Native times of one process, by the number of the phase.

    ``operators`` is by phase and the index of the operator in it. Operators are timed in runs of
    their own, since that takes time itself.
    """

    phases: dict[int, NativeTime]
    operators: dict[tuple[int, int], NativeTime]


def native_times(recording: Recording) -> NativeTimes | None:
    """The native times of the first process; None: it was not timed.

    Phases of one name but for a number at its end, as in ``inference 2``, are repetitions: the last
    of them that was recorded stands for those that were only run natively.

    Raises:
        RecordingError: a time is not a number of seconds.
    """
    if not recording.has_table("native_times"):
        return None
    info = recording.metadata.native
    profiled = [run.profiled for run in info.runs] if info is not None else []
    phase_of = _recorded([p for p in recording.phases if p.process == 0])
    plain: defaultdict[int, list[float]] = defaultdict(list)
    timed: defaultdict[int, list[float]] = defaultdict(list)
    operators: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for row in recording.table("native_times").to_pylist():
        seconds = row["seconds"]
        if not (math.isfinite(seconds) and seconds >= 0):
            raise RecordingError(
                f"{recording.path} is corrupted: native_times.parquet: it holds {seconds} seconds"
            )
        phase = phase_of.get((row["phase"], row["occurrence"]))
        if phase is None:
            phase = phase_of.get((_NUMBER.sub("", row["phase"]), -1))
        if phase is None:
            continue
        if row["operator_index"] is not None:
            operators[phase, row["operator_index"]].append(seconds)
        elif row["run"] < len(profiled) and profiled[row["run"]]:
            timed[phase].append(seconds)
        else:
            plain[phase].append(seconds)
    return NativeTimes(
        phases={phase: _summary(times) for phase, times in {**timed, **plain}.items()},
        operators={key: _summary(times) for key, times in operators.items()},
    )


def _recorded(phases: Sequence[Phase]) -> dict[_Key, int]:
    """The phases by name and occurrence; the last of a series by its stem and -1."""
    counts: defaultdict[str, int] = defaultdict(int)
    found: dict[_Key, int] = {}
    for phase in phases:
        found[phase.name, counts[phase.name]] = phase.index
        counts[phase.name] += 1
        if _NUMBER.search(phase.name):
            found[_NUMBER.sub("", phase.name), -1] = phase.index
    return found


def _summary(times: Sequence[float]) -> NativeTime:
    return NativeTime(
        sample_count=len(times),
        median_seconds=median(times),
        min_seconds=min(times),
        max_seconds=max(times),
    )
