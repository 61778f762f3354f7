# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from sgxlens.recording.metadata import HostInfo
from sgxlens.recording.native_times.keep import RecordedOperator, native_table
from sgxlens.recording.native_times.model import NativeRun, NativeTimes, OperatorTime, PhaseTime
from sgxlens.recording.native_times.summary import NativeSummary, NativeTime, numbered

HOST = HostInfo(cpu="A CPU", cores=1, kernel="6.1", memory_bytes=1 << 30)
Operators = Mapping[tuple[str, int], Sequence[RecordedOperator]]


def _times(*runs: Sequence[tuple[str, float]]) -> NativeTimes:
    return NativeTimes(
        host=HOST,
        runs=[
            NativeRun(
                seconds=sum(seconds for _, seconds in run),
                phases=[PhaseTime(name=name, seconds=seconds) for name, seconds in run],
            )
            for run in runs
        ],
    )


def _profiled(*operators: str, phase: str = "inference 1") -> NativeTimes:
    found = [
        OperatorTime(name=name.partition(":")[0], type=name.partition(":")[2], seconds=i + 1.0)
        for i, name in enumerate(operators)
    ]
    phases = [
        PhaseTime(name="start", seconds=1.0),
        PhaseTime(name=phase, seconds=20.0, operators=found),
    ]
    return NativeTimes(host=HOST, runs=[NativeRun(seconds=21.0, profiled=True, phases=phases)])


def _kept(
    times: NativeTimes, phases: Sequence[str], operators: Operators | None = None, **options: Any
) -> tuple[NativeSummary, list[str]]:
    columns, notes = native_table(times, phases, operators or {}, **options)
    return NativeSummary(times.info(None), pa.table(columns), {}), notes


def test_names_are_numbered_by_their_occurrence() -> None:
    assert numbered(["a", "b", "a", "a"]) == [("a", 0), ("b", 0), ("a", 1), ("a", 2)]


def test_each_phase_has_a_sample_of_each_run() -> None:
    times = _times(
        [("start", 5.0), ("x", 1.0), ("x", 10.0)],
        [("start", 6.0), ("x", 3.0), ("x", 30.0)],
        [("start", 4.0), ("x", 2.0), ("x", 20.0)],
    )
    native, notes = _kept(times, ["start", "x", "x"])
    assert not notes
    assert native.phases == {
        ("start", 0): NativeTime((5.0, 6.0, 4.0)),
        ("x", 0): NativeTime((1.0, 3.0, 2.0)),
        ("x", 1): NativeTime((10.0, 30.0, 20.0)),
    }
    time = native.phases["x", 1]
    assert (time.median_seconds, time.low_seconds, time.high_seconds) == (20.0, 15.0, 25.0)
    assert (time.min_seconds, time.max_seconds) == (10.0, 30.0)
    assert native.run_time.samples == (16.0, 39.0, 26.0)
    assert native.inference is None


def test_phases_that_were_not_recorded_are_left_out_but_for_inferences() -> None:
    run = [("start", 1.0), ("y", 1.0), ("inference 1", 2.0), ("inference 2", 3.0)]
    native, notes = _kept(_times(run), ["start", "inference 1", "end"])
    assert not notes
    assert set(native.phases) == {("start", 0), ("inference 1", 0), ("inference 2", 0)}
    assert native.inference == NativeTime((2.0, 3.0))


def test_the_whole_is_all_there_is_of_a_program_whose_marks_are_silent() -> None:
    native, notes = _kept(_times([("start", 7.0)]), ["start", "first"])
    assert "only the whole program is timed" in notes[0]
    assert native.phases == {}
    assert native.run_time == NativeTime((7.0,))


def test_a_program_without_marks_is_one_phase() -> None:
    native, notes = _kept(_times([("start", 7.0)]), ["start"])
    assert not notes
    assert native.phases == {("start", 0): NativeTime((7.0,))}


def test_the_start_of_a_program_that_replaced_itself_is_not_told_apart() -> None:
    times = _times([("start", 7.0), ("x", 1.0)])
    native, _ = _kept(times, ["start", "start", "x"], has_start=False)
    assert set(native.phases) == {("x", 0)}


@pytest.mark.parametrize(
    ("native_names", "recorded_names", "indices"),
    [
        (["a", "b", "c"], ["a", "b", "c"], [0, 1, 2]),
        (["a", "a", "b"], ["a", "b", "a"], [0, 2, 1]),
        (["reorder", "a", "b"], ["a", "b"], [None, 0, 1]),
        (["a"], ["reorder", "a"], [1]),
        (["a", "a"], ["a"], [0, None]),
    ],
)
def test_operators_are_found_by_name_in_order(
    native_names: list[str], recorded_names: list[str], indices: list[int | None]
) -> None:
    operators = {("inference 1", 0): [(i, name, "") for i, name in enumerate(recorded_names)]}
    native, notes = _kept(_profiled(*native_names), ["start", "inference 1"], operators)
    found = native.operators[("inference 1", 0)]
    # The operator at place i natively took i + 1 seconds.
    expected = {i: NativeTime((n + 1.0,)) for n, i in enumerate(indices) if i is not None}
    assert found == expected
    missing = indices.count(None)
    assert [note[:6] for note in notes] == ([f"{missing} of {len(indices)}"[:6]] if missing else [])


@pytest.mark.parametrize(
    ("native_operators", "recorded", "indices"),
    [
        (["a:Conv", "c:Pool"], ["a:Conv", "b:Pool"], [0, 1]),
        (["c:Pool", "a:Conv", "d:Pool"], ["a:Conv", "b:Pool", "e:Pool"], [1, 0, 2]),
        (["c:Pool", "d:Pool"], ["b:Pool"], [None, None]),
        (["c:Pool"], ["b:Pool", "e:Pool"], [None]),
        (["c:"], ["b:"], [None]),
        (["a:Pool"], ["a:Conv", "b:Pool"], [0]),
    ],
)
def test_operators_of_another_name_are_found_by_type_if_there_are_as_many(
    native_operators: list[str], recorded: list[str], indices: list[int | None]
) -> None:
    operators = {("inference 1", 0): [(i, *text.split(":", 1)) for i, text in enumerate(recorded)]}
    times = _profiled(*native_operators)
    native, _ = _kept(times, ["start", "inference 1"], operators)  # type: ignore[arg-type]
    expected = {i: NativeTime((n + 1.0,)) for n, i in enumerate(indices) if i is not None}
    assert native.inference_operators == expected


def test_operators_of_further_inferences_are_those_of_the_last_recorded() -> None:
    operators = {
        ("inference 1", 0): [(0, "x", "")],
        ("inference 2", 0): [(0, "a", ""), (1, "b", "")],
    }
    times = _profiled("a", "b", phase="inference 9")
    native, notes = _kept(times, ["start", "inference 1", "inference 2"], operators)
    assert not notes
    assert native.inference_operators == {0: NativeTime((1.0,)), 1: NativeTime((2.0,))}
    assert native.profiled_inference == NativeTime((20.0,))


def test_phases_are_of_the_runs_without_a_profile() -> None:
    profiled = _profiled("a")
    plain = _times([("start", 1.0), ("inference 1", 18.0)])
    both = plain.model_copy(update={"runs": [*plain.runs, *profiled.runs]})
    native, _ = _kept(both, ["start", "inference 1"])
    assert native.inference == NativeTime((18.0,))
    assert native.profiled_inference == NativeTime((20.0,))
    assert native.run_time == NativeTime((19.0,))
    # Where there are no others, those with one are better than nothing.
    native, _ = _kept(profiled, ["start", "inference 1"])
    assert native.inference == NativeTime((20.0,))


def test_names_that_are_no_text_are_made_printable() -> None:
    native, _ = _kept(_times([("start", 1.0), ("\udcff", 2.0)]), ["start", "\udcff"])
    assert ("\\xff", 0) in native.phases
