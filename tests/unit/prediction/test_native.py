# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attributed
import predictable
from sgxlens.errors import RecordingError
from sgxlens.prediction.native import NativeTimes
from sgxlens.recording.reader import Operator, Phase, Recording, open_recording

MakeRecording = Callable[..., Path]
Make = Callable[..., Recording]


@pytest.fixture
def make(make_recording: MakeRecording) -> Make:
    def recording(**tables: Any) -> Recording:
        return open_recording(
            make_recording({**predictable.tables(), **tables}, force=True, **predictable.metadata())
        )

    return recording


def phase(recording: Recording, name: str) -> Phase:
    (found,) = recording.select_phases(name)
    return found


def operators(recording: Recording, of: Phase) -> list[Operator]:
    return [operator for operator in recording.operators if operator.phase == of.index]


def shares(recording: Recording, name: str, given: float | None = None) -> list[float]:
    """Native seconds of the operators of a phase, in their order."""
    one = phase(recording, name)
    natives = NativeTimes(recording, one, given)
    basis = natives.of_phase(one)
    assert basis is not None
    found = natives.of_operators(one, basis, operators(recording, one))
    assert math.fsum(found.values()) <= basis.median_seconds * (1 + 1e-12)
    return [found[o.number] for o in operators(recording, one) if o.number in found]


def test_inferences_share_the_times_of_all_runs_that_did_not_profile(make: Make) -> None:
    recording = make()
    natives = NativeTimes(recording, phase(recording, "inference 2"), None)
    first, last = (natives.of_phase(phase(recording, f"inference {n}")) for n in (1, 2))
    assert first == last
    assert first is not None
    assert first.median_seconds == pytest.approx(0.00525)
    assert (first.sample_count, first.source) == (4, "recorded")
    load = natives.of_phase(phase(recording, "load"))
    assert load is not None
    assert load.median_seconds == pytest.approx(0.105)


def test_operators_are_scaled_to_add_up_to_their_phase(make: Make) -> None:
    recording = make()
    assert shares(recording, "inference 2") == [pytest.approx(0.0035), pytest.approx(0.00175)]
    assert shares(recording, "warm-up 1") == [pytest.approx(0.0056), pytest.approx(0.0028)]
    assert shares(recording, "inference 2", 0.3) == [pytest.approx(0.2), pytest.approx(0.1)]


def test_where_an_operator_was_not_timed_the_others_keep_their_share_of_the_profiled_phase(
    make: Make,
) -> None:
    rows = [
        row
        for row in predictable.tables()["native_times"]
        if row["operator_name"] != attributed.GEMM
    ]
    # 4 of 6 ms in the profiled run.
    assert shares(make(native_times=rows), "inference 2") == [pytest.approx(0.00525 * 4 / 6)]


def test_a_nested_operator_is_not_counted_twice(make: Make) -> None:
    tables = attributed.tables()
    for row in tables["operators"]:
        if row["index"] == 1:
            row["parent"] = row["operator"] - 1
    # Of the outer operator's 4 ms, 2 are of the inner one.
    recording = make(operators=tables["operators"])
    assert shares(recording, "inference 2") == [pytest.approx(0.002625), pytest.approx(0.002625)]


def test_without_native_times_only_the_given_one_is_there(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording(attributed.tables()))
    steady = phase(recording, "inference 2")
    assert NativeTimes(recording, steady, None).of_phase(steady) is None
    natives = NativeTimes(recording, steady, 0.3)
    basis = natives.of_phase(steady)
    assert basis is not None
    assert (basis.median_seconds, basis.sample_count, basis.source) == (0.3, 0, "given")
    assert natives.of_operators(steady, basis, operators(recording, steady)) == {}
    assert natives.of_phase(phase(recording, "load")) is None


@pytest.mark.parametrize("seconds", [float("nan"), -1.0, float("inf")])
def test_a_time_that_is_none_is_damage(make: Make, seconds: float) -> None:
    recording = make(native_times=[predictable.native_row(0, "load", seconds)])
    with pytest.raises(RecordingError, match="it holds"):
        NativeTimes(recording, phase(recording, "load"), None)


def test_a_phase_of_no_time_has_none(make: Make) -> None:
    recording = make(native_times=[predictable.native_row(0, "load", 0.0)])
    load = phase(recording, "load")
    assert NativeTimes(recording, load, None).of_phase(load) is None
