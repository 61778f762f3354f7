# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import attributed
from sgxlens.cli.main import main

MakeRecording = Callable[..., Path]


def test_show_prints_a_recording(
    make_recording: MakeRecording, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(make_recording())]) == 0
    assert "Phase 2: inference 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (["--phase", "1"], "Phase 1: inference 1"),
        (["--phase", "inference 1"], "Phase 1: inference 1"),
        (["--process", "0", "--phase", "start"], "Phase 0: start"),
        (["--all-phases"], "All phases together"),
    ],
)
def test_options_choose_the_phase(
    make_recording: MakeRecording,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    title: str,
) -> None:
    assert main(["show", str(make_recording()), *options]) == 0
    assert title in capsys.readouterr().out


def test_a_name_that_is_a_number_comes_first(
    make_recording: MakeRecording, rows: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = [rows.phase(i, name, i, i + 1) for i, name in enumerate(["1", "b"])]
    assert main(["show", str(make_recording({"phases": phases})), "--phase", "1"]) == 0
    assert "Phase 0: 1" in capsys.readouterr().out


def test_operators_are_sorted_and_cut(
    make_recording: MakeRecording, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_recording(attributed.tables()))
    assert main(["show", path, "--sort", "accesses", "--top", "1"]) == 0
    output = capsys.readouterr().out
    assert "Operators by accesses" in output
    assert "... and 1 more operators" in output
    assert main(["show", path, "--sort", "page-misses"]) == 2
    assert "needs --at" in capsys.readouterr().err


def test_json_is_of_the_phase_asked_for(
    make_recording: MakeRecording, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(make_recording()), "--json", "--phase", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["schema_version"]) == ("sgxlens-show", 1)
    assert report["selection"]["phases"] == [{"process": 0, "phase": 1, "name": "inference 1"}]
    assert report["reuse"]["line"]["access_count"] == 168


def test_the_schema_needs_no_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--json-schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "ShowReport"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--phase", "9"], "has no phase 9"),
        (["--process", "9"], "has no process 9"),
        (["--process", "-1"], "--process"),
        (["--phase", "1", "--all-phases"], "contradict"),
        (["--at", "92MB"], "is not a size"),
        (["--at", "1"], "at least a page"),
        (["--sort", "footprint"], "nothing to sort: not recorded"),
        (["--top", "0"], "--top"),
        (["--json", "--top", "3"], "--json has all rows"),
        (["--json", "--sort", "time"], "--json has all rows"),
    ],
)
def test_wrong_options_are_one_line(
    make_recording: MakeRecording,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert main(["show", str(make_recording()), *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("sgxlens: error: ")
    assert message in output.err
    assert output.err.count("\n") == 1


def test_what_is_no_recording_is_one_line(
    make_recording: MakeRecording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = make_recording(name="newer")
    file = newer / "recording.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 9}))
    damaged = make_recording(name="damaged")
    (damaged / "reuse.parquet").write_bytes(b"")
    for path in (tmp_path / "nope", tmp_path, newer, damaged):
        assert main(["show", str(path)]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.count("\n") == 1


def test_a_pipe_without_unicode_gets_no_traceback(make_recording: MakeRecording) -> None:
    program = "import sys; from sgxlens.cli.main import main; sys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", program, "show", str(make_recording(command=["名前"]))],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert b"??" in result.stdout
    assert b"\x1b" not in result.stdout
