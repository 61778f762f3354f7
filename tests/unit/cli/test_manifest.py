# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import predictable
import sgxlens
from sgxlens.cli.main import main

MakeRecording = Callable[..., Path]


@pytest.fixture
def path(make_recording: MakeRecording) -> str:
    return str(make_recording(predictable.tables(), **predictable.metadata()))


def test_it_is_printed_or_written(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["manifest", path]) == 0
    text = capsys.readouterr().out
    assert text == sgxlens.manifest(path).text
    output = tmp_path / "app.manifest.template"
    assert main(["manifest", path, "-o", str(output)]) == 0
    assert output.read_text(encoding="utf-8") == text


def test_a_file_is_replaced_only_if_that_is_wanted(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mine"
    output.write_text("mine", encoding="utf-8")
    assert main(["manifest", path, "-o", str(output)]) == 2
    assert "--force" in capsys.readouterr().err
    assert output.read_text(encoding="utf-8") == "mine"
    assert main(["manifest", path, "-o", str(output), "--force"]) == 0
    assert output.read_text(encoding="utf-8").startswith("# Gramine 1.9")
    assert main(["manifest", path, "--force"]) == 2
    assert "give it with --output" in capsys.readouterr().err


def test_reasons_stand_beside_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifest", path, "--runtime", "occlum"]) == 0
    out, err = capsys.readouterr()
    assert "resource_limits" in json.loads(out)
    assert "all that the program maps" in err


def test_a_model_is_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifest", str(tmp_path / "model.onnx")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
