# SPDX-License-Identifier: Apache-2.0
"""Native times of a program and of its changed copy, taken in turns.

A machine is not as fast today as yesterday, nor while others use it. So neither is compared with
the times that a recording kept: both run alternately, the one that is first changes from turn to
turn. Whatever else the machine does only makes a run longer, so that the shortest inference (or
start) of all turns counts; how far the ratio differs from turn to turn is kept with it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.enclave.quantities import Range
from sgxlens.errors import TargetError
from sgxlens.recording.native_times.measure import NativeSettings, NotTimed, TimedTarget, measure
from sgxlens.recording.phase_names import is_inference, is_warm_up

if TYPE_CHECKING:
    from sgxlens.recording.native_times.model import NativeRun, NativeTimes

TURNS = 5
#: Runs of the changed program that time its operators.
_PROFILED_RUNS = 2
#: The upper over the lower quartile of the turns of a program, beyond which they do not tell how
#: long it takes. On an idle machine it was at most 1.05 (AlexNet, and eight changed copies of it),
#: beside other work that kept both processors busy up to 2.2.
STEADY_SPREAD = 1.25


@dataclass(frozen=True)
class Timed:
    """A program to be timed, with all of its environment."""

    target: TimedTarget
    environment: Mapping[str, str]


def time_in_turns(
    first: Timed, second: Timed, on_progress: Callable[[str], None]
) -> tuple[NativeTimes, NativeTimes]:
    """The times of both, one run of each a turn; and of the operators of the second.

    Raises:
        TargetError: one of them fails.
    """

    def run(timed: Timed, runs: int, profiled_runs: int, doing: str) -> NativeTimes:
        settings = NativeSettings(
            environment=timed.environment,
            runs=runs,
            profiled_runs=profiled_runs,
            on_progress=lambda _: on_progress(doing),
        )
        try:
            return measure(timed.target, settings)
        except NotTimed as error:
            raise TargetError(str(error)) from error

    found: dict[int, list[NativeTimes]] = {0: [], 1: []}
    pair = (first, second)
    for turn in range(TURNS):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            doing = f"native times, turn {turn + 1} of {TURNS}"
            found[which].append(run(pair[which], 1, 0, doing))
    if second.target.native_command(profiled=True) is not None:
        found[1].append(run(second, 0, _PROFILED_RUNS, "native times of operators"))
    return _joined(found[0]), _joined(found[1])


def inference_ratio(before: NativeTimes, after: NativeTimes, phase: str) -> Range:
    """Native time of the changed phase over that of the other.

    Returns:
        As likely the ratio of the shortest times of all turns; low and high are those of a turn.

    Raises:
        TargetError: a run has no such phase.
    """
    return _ratio(before, after, lambda run: _shortest(run, phase))


def turn_spread(before: NativeTimes, after: NativeTimes, phase: str) -> float:
    """How far the turns of a program disagree: upper over lower quartile, see `STEADY_SPREAD`.

    Returns:
        That of the times that `inference_ratio` compares, of the program that disagrees more.

    Raises:
        TargetError: a run has no such phase.
    """
    try:
        of_each = [[_shortest(run, phase) for run in _plain(times)] for times in (before, after)]
        quartiles = [statistics.quantiles(found, n=4, method="inclusive") for found in of_each]
        return max(upper / lower for lower, _, upper in quartiles)
    except (ValueError, ZeroDivisionError, statistics.StatisticsError) as error:
        raise TargetError("natively a phase is missing or took no time") from error


def _shortest(run: NativeRun, phase: str) -> float:
    return min(
        p.seconds
        for p in run.phases
        if p.name == phase or (is_inference(phase) and is_inference(p.name))
    )


def startup_ratio(before: NativeTimes, after: NativeTimes) -> Range:
    """The same of everything up to the first result.

    Raises:
        TargetError: a run took no time.
    """

    def seconds(run: NativeRun) -> float:
        total = 0.0
        for phase in run.phases:
            total += phase.seconds
            if is_warm_up(phase.name) or is_inference(phase.name):
                break
        return total

    return _ratio(before, after, seconds)


def _ratio(before: NativeTimes, after: NativeTimes, seconds: Callable[[NativeRun], float]) -> Range:
    try:
        before_seconds, after_seconds = (
            [seconds(run) for run in _plain(times)] for times in (before, after)
        )
        ratios = [b / a for a, b in zip(before_seconds, after_seconds, strict=True)]
        likely = min(after_seconds) / min(before_seconds)
    except (ValueError, ZeroDivisionError) as error:
        raise TargetError("natively a phase is missing or took no time") from error
    return Range(min(*ratios, likely), likely, max(*ratios, likely))


def _plain(times: NativeTimes) -> list[NativeRun]:
    return [run for run in times.runs if not run.profiled]


def _joined(parts: list[NativeTimes]) -> NativeTimes:
    # Of a run alone there may be a note that the machine was busy: of most, it is worth saying.
    notes = [part.notes[0] for part in parts if part.notes]
    return parts[0].model_copy(
        update={
            "runs": [run for part in parts for run in part.runs],
            "notes": notes[:1] if 2 * len(notes) > len(parts) else [],
        }
    )
