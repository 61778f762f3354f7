# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from sgxlens.errors import RecordingError
from sgxlens.recording.format import TABLES
from sgxlens.recording.reader import Recording
from sgxlens.report.native_times import NativeTime, NativeTimes, native_times

PHASES = ("start", "inference 1", "inference 2")


def recording(rows: list[tuple[int, str, int, int | None, float]], profiled: list[bool]) -> Any:
    native = SimpleNamespace(runs=[SimpleNamespace(profiled=flag) for flag in profiled])
    metadata = SimpleNamespace(tables={"native_times": None, "phases": None}, native=native)
    made = Recording(Path("made"), cast("Any", metadata))
    columns = ("run", "phase", "occurrence", "operator_index", "seconds")
    phases = [
        {"process": 0, "phase": i, "name": name, "start_position": i, "end_position": i + 1,
         "start_ns": i, "end_ns": i + 1, "instruction_count": 1}
        for i, name in enumerate(PHASES)
    ]  # fmt: skip
    for name, content in (
        ("native_times", [dict(zip(columns, row, strict=True)) for row in rows]),
        ("phases", phases),
    ):
        made._tables[name] = pa.Table.from_pylist(content, schema=TABLES[name].schema)
    return made


def found(*rows: tuple[int, str, int, int | None, float], profiled: list[bool]) -> NativeTimes:
    times = native_times(recording(list(rows), profiled))
    assert times is not None
    return times


def test_phases_are_taken_from_the_runs_that_time_no_operators() -> None:
    times = found(
        (0, "inference 1", 0, None, 3.0),
        (1, "inference 1", 0, None, 1.0),
        (2, "inference 1", 0, None, 9.0),
        (2, "inference 1", 0, 4, 0.5),
        profiled=[False, False, True],
    )
    assert times.phases == {1: NativeTime(2, 2.0, 1.0, 3.0)}
    assert times.operators == {(1, 4): NativeTime(1, 0.5, 0.5, 0.5)}


def test_runs_that_time_operators_are_better_than_none() -> None:
    times = found((0, "start", 0, None, 2.0), profiled=[True])
    assert times.phases == {0: NativeTime(1, 2.0, 2.0, 2.0)}


def test_the_last_inference_stands_for_further_ones() -> None:
    times = found(
        (0, "inference 1", 0, None, 9.0),
        (0, "inference 2", 0, None, 1.0),
        (0, "inference 3", 0, None, 2.0),
        (0, "inference 4", 0, None, 4.0),
        (0, "unknown", 0, None, 7.0),
        profiled=[False],
    )
    assert times.phases == {1: NativeTime(1, 9.0, 9.0, 9.0), 2: NativeTime(3, 2.0, 1.0, 4.0)}


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_what_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(RecordingError, match="native_times"):
        found((0, "start", 0, None, seconds), profiled=[False])


def test_a_recording_without_native_times() -> None:
    made = recording([], [])
    del made.metadata.tables["native_times"]
    assert native_times(made) is None
