# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgxlens.errors import UsageError
from sgxlens.recording.native_times.model import (
    NativeTimes,
    check_writable,
    load_times,
    write_times,
)
from sgxlens.recording.reader import open_recording

MakeRecording = Callable[..., Path]

TIMES: dict[str, Any] = {
    "schema": "sgxlens-native-times",
    "schema_version": 1,
    "host": {"cpu": "A CPU", "cores": 4, "kernel": "6.1.0", "memory_bytes": 16 << 30},
    "threads": 1,
    "runs": [
        {"seconds": 1.5, "phases": [{"name": "start", "seconds": 1}]},
        {
            "seconds": 1.75,
            "profiled": True,
            "phases": [
                {"name": "start", "seconds": 1.25},
                {
                    "name": "inference 1",
                    "seconds": 0.5,
                    "operators": [{"name": "conv", "type": "Conv", "seconds": 0.25}],
                },
            ],
        },
    ],
}


def _file(tmp_path: Path, *place: str | int, value: object = None) -> Path:
    """The file of times, with the value at `place` replaced."""
    content = copy.deepcopy(TIMES)
    inner: Any = content
    for step in place[:-1]:
        inner = inner[step]
    if place:
        inner[place[-1]] = value
    path = tmp_path / "times.json"
    path.write_text(json.dumps(content))
    return path


def test_a_file_by_hand_is_read(tmp_path: Path) -> None:
    times = load_times(_file(tmp_path))
    assert times.host.cpu == "A CPU"
    assert [run.profiled for run in times.runs] == [False, True]
    assert times.runs[1].phases[1].operators[0].seconds == 0.25


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    times = load_times(_file(tmp_path))
    write_times(times, tmp_path / "again.json")
    assert load_times(tmp_path / "again.json") == times


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("runs",), [], "runs"),
        (("runs", 0, "seconds"), "1.5", "runs.0.seconds"),
        (("runs", 0, "seconds"), -1.0, "runs.0.seconds"),
        (("runs", 0, "seconds"), float("nan"), "runs.0.seconds"),
        (("runs", 1, "profiled"), 1, "runs.1.profiled"),
        (("runs", 0, "phases", 0, "name"), 7, "runs.0.phases.0.name"),
        (("runs", 1, "phases", 1, "operators", 0, "secs"), 1, "phases.1.operators.0.secs"),
        (("threads",), 0, "threads"),
        (("host", "cpu"), None, "host.cpu"),
        (("host",), None, "host"),
        (("hosts",), {}, "hosts"),
        (("created",), "yesterday", "created"),
        (("schema_version",), "1", "schema_version"),
    ],
)
def test_a_wrong_field_is_named(
    tmp_path: Path, place: tuple[str | int, ...], value: object, field: str
) -> None:
    path = _file(tmp_path, *place, value=value)
    with pytest.raises(UsageError, match=rf"times\.json: \S*{field}: ") as caught:
        load_times(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "neither a recording nor JSON"),
        (b"\xff\xfe\x00", "neither a recording nor JSON"),
        (b"[" * 100_000, "neither a recording nor JSON"),
        (b"[]", "has no native times"),
        (b"{}", "has no native times"),
        (b'{"schema": "sgxlens-native-times", "schema_version": 2}', "newer sgxlens"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "times.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        load_times(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_times(tmp_path / "none.json")


def test_a_recording_without_native_times_is_refused(make_recording: MakeRecording) -> None:
    with pytest.raises(UsageError, match="has no native times"):
        load_times(make_recording())


def test_times_come_out_of_a_recording_as_they_went_in(
    tmp_path: Path, make_recording: MakeRecording
) -> None:
    times = load_times(_file(tmp_path))
    rows: list[dict[str, Any]] = []
    for run, of_run in enumerate(times.runs):
        for phase in of_run.phases:
            row = {"run": run, "phase": phase.name, "occurrence": 0}
            whole = {"operator_index": None, "operator_name": None, "seconds": phase.seconds}
            rows.append(row | whole)
            rows += [
                {**row, "operator_index": i, "operator_name": o.name, "seconds": o.seconds}
                for i, o in enumerate(phase.operators)
            ]
    path = make_recording({"native_times": rows}, native=times.info("times.json"))
    found = load_times(path)
    expected = NativeTimes.model_validate(TIMES).model_dump()
    expected["runs"][1]["phases"][1]["operators"][0]["type"] = ""  # a recording has it elsewhere
    assert found.model_dump() == expected
    info = open_recording(path).metadata.native
    assert info is not None
    assert info.source == "times.json"


def test_a_file_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    check_writable(tmp_path / "times.json")
    for path in (tmp_path, tmp_path / "none" / "times.json"):
        with pytest.raises(UsageError, match="cannot write"):
            check_writable(path)
