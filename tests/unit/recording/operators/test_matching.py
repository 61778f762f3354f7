# SPDX-License-Identifier: Apache-2.0
"""Matching with what ONNX Runtime and the tracer said of one real run of SqueezeNet."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sgxlens.recording.operators.matching import Outcome, match
from sgxlens.recording.operators.profile import Event, Profile, read_profile

DATA = Path(__file__).parent / "data"
# What get_profiling_start_time_ns returned in that run.
START_NS = 1795392901406945876
Columns = dict[str, npt.NDArray[np.int64]]


def _clocks() -> Columns:
    with (DATA / "squeezenet.clocks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([int(row[name]) for row in rows]) for name in rows[0]}


def _threads(kernel_tid: int) -> dict[str, Any]:
    # The main thread, and the one other thread of the pool: they ran until the end.
    return {
        "thread": np.array([1, 7]),
        "kernel_tid": np.array([kernel_tid, kernel_tid + 17]),
        "start_position": np.array([0, 387535316]),
        "end_position": np.array([0, 0]),
        "ended": np.array([False, False]),
    }


def _real() -> Profile:
    return read_profile(DATA / "squeezenet.profile.json", START_NS)


def _spelled_out(profile: Profile, clocks: Columns) -> list[tuple[int, int]]:
    """The places by the definition: every pair of reads is tried for each event."""
    values = [
        (int(seconds) * 10**9 + int(nanoseconds), int(position))
        for seconds, nanoseconds, position, clock, thread in zip(
            *(clocks[n] for n in ("seconds", "nanoseconds", "position", "clock", "thread")),
            strict=True,
        )
        if (clock, thread) == (0, 1)
    ]
    places = []
    for event in profile.events:
        (place,) = [
            (start, end)
            for first, start in values
            for last, end in values
            if start < end
            and (first - START_NS) // 1000 == event.start_us
            and (last - first) // 1000 == event.duration_us
        ]
        places.append(place)
    return places


def test_every_event_of_a_real_profile_is_placed() -> None:
    profile, clocks = _real(), _clocks()
    placement = match(profile, clocks, _threads(profile.pid))
    assert placement.count(Outcome.PLACED) == len(profile.events) == 16
    found = list(zip(placement.starts.tolist(), placement.ends.tolist(), strict=True))
    assert found == _spelled_out(profile, clocks)
    assert set(placement.threads) == {1}
    nodes = [place for place, e in zip(found, profile.events, strict=True) if e.node is not None]
    for (_, end), (start, _) in pairwise(nodes):
        assert end < start


def test_the_start_of_profiling_is_found_among_the_reads() -> None:
    profile, clocks = _real(), _clocks()
    known = match(profile, clocks, _threads(profile.pid))
    found = match(replace(profile, start_ns=None), clocks, _threads(profile.pid))
    assert found.count(Outcome.PLACED) == len(profile.events)
    assert (found.starts == known.starts).all()
    assert (found.ends == known.ends).all()


def test_the_profile_of_another_run_places_nothing() -> None:
    profile, clocks = _real(), _clocks()
    clocks["nanoseconds"] += np.arange(len(clocks["nanoseconds"])) * 1500
    other = match(replace(profile, start_ns=None), clocks, _threads(profile.pid))
    assert other.count(Outcome.PLACED) == 0
    shifted = match(replace(profile, start_ns=START_NS - 10**9), _clocks(), _threads(profile.pid))
    assert shifted.count(Outcome.NO_READ) == len(profile.events)


def test_events_of_a_thread_that_was_not_recorded_are_not_placed() -> None:
    profile = _real()
    placement = match(profile, _clocks(), _threads(profile.pid + 1))
    assert placement.count(Outcome.NO_READ) == len(profile.events)


def test_an_event_without_a_read_leaves_the_others_placed() -> None:
    profile = _real()
    events = (*profile.events, Event(profile.pid, 10**9, 5, None))
    placement = match(replace(profile, events=events), _clocks(), _threads(profile.pid))
    assert placement.outcomes.tolist() == [Outcome.PLACED] * 16 + [Outcome.NO_READ]
    assert placement.starts[-1] == placement.ends[-1] == placement.threads[-1] == -1


def _match(values: list[int], *events: tuple[int, int]) -> tuple[list[str], list[tuple[int, int]]]:
    """Match on one thread whose read i has position 10 i, with a profile that starts at 0."""
    count = len(values)
    clocks = {
        "thread": np.full(count, 1),
        "position": np.arange(count) * 10,
        "clock": np.zeros(count),
        "seconds": np.zeros(count),
        "nanoseconds": np.array(values),
    }
    profile = Profile(Path("p"), 5, tuple(Event(5, ts, dur, None) for ts, dur in events), 0)
    placement = match(profile, clocks, _threads(5))
    names = [Outcome(int(outcome)).name for outcome in placement.outcomes]
    return names, list(zip(placement.starts.tolist(), placement.ends.tolist(), strict=True))


def test_order_decides_between_reads_of_one_microsecond() -> None:
    # The first ends and the second starts in the microsecond 5.
    names, places = _match([1000, 5100, 5900, 9950], (1, 4), (5, 4))
    assert names == ["PLACED", "PLACED"]
    assert places == [(0, 10), (20, 30)]


def test_an_event_within_another_is_kept_apart() -> None:
    # Both start in microsecond 1 and end in microsecond 5.
    names, places = _match([1000, 1400, 5100, 5300], (1, 4), (1, 3))
    assert names == ["PLACED", "PLACED"]
    assert places == [(0, 30), (10, 20)]


def test_a_further_read_in_the_same_microsecond_leaves_doubt() -> None:
    names, places = _match([1000, 5100, 5900, 20000, 24000], (1, 4), (20, 4))
    assert names == ["AMBIGUOUS", "PLACED"]
    assert places == [(-1, -1), (30, 40)]


def test_two_events_with_one_pair_of_reads_contradict() -> None:
    names, places = _match([1000, 5000, 9000, 9500], (1, 4), (1, 4), (9, 0))
    assert names == ["CONTRADICTORY", "CONTRADICTORY", "PLACED"]
    assert places[2] == (20, 30)


def test_crossing_events_contradict() -> None:
    names, _ = _match([1000, 5000, 9000, 15000], (1, 8), (5, 10))
    assert names == ["CONTRADICTORY", "CONTRADICTORY"]


def test_a_clock_that_was_set_back_is_cut_towards_zero() -> None:
    names, places = _match([5000, 3500, 9000, 8700], (5, -1), (9, 0))
    assert names == ["PLACED", "PLACED"]
    assert places == [(0, 10), (20, 30)]


def test_very_many_events_at_one_place_are_in_doubt_at_once() -> None:
    names, _ = _match([1000, 1001] * 500, *[(1, 0)] * 5000)
    assert set(names) == {"AMBIGUOUS"}


def test_values_of_clocks_beyond_all_time_do_no_harm() -> None:
    profile, clocks = _real(), _clocks()
    extremes = np.array([2**63 - 1, -(2**63), 2**62, -(2**62), 0])
    added = {
        name: np.concatenate([extremes if "seconds" in name else np.full(5, 1), values])
        for name, values in clocks.items()
    }
    added["clock"][:5] = 0
    placement = match(replace(profile, start_ns=None), added, _threads(profile.pid))
    assert placement.count(Outcome.PLACED) == len(profile.events)
