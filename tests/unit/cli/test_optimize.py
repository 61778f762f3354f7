# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from sgxlens.cli.main import main
from sgxlens.optimization.report import generated_schema_text, schema_text


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command fails."""
    assert main(["optimize", "--platform", "xeon-e-2288g", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sgxlens: error: ")
    assert error.count("\n") == 1
    return error


def test_what_makes_no_sense_is_refused_before_anything_runs(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    output = ["-o", str(tmp_path / "out")]
    for arguments, expected in (
        ([str(model), *output, "--recordings", "2"], "a budget of 2 recordings is too small"),
        ([str(tmp_path / "none.onnx"), *output], "does not exist"),
        ([str(tmp_path / "m.pt"), *output], "no ONNX model"),
        ([str(model), "-o", str(foreign), "--force"], "holds thesis.tex, which sgxlens optimize"),
        ([str(model), "-o", str(tmp_path / "a" / "b")], "no folder"),
        ([str(model), *output, "--work-folder", str(foreign)], "choose another folder"),
        ([str(model), *output, "--allow", "all"], "'all' is not one of"),
    ):
        assert expected in refused(capsys, *arguments)
    assert {entry.name for entry in tmp_path.iterdir()} == {"m.onnx", "foreign"}
    assert [entry.name for entry in foreign.iterdir()] == ["thesis.tex"]


def test_the_published_schema_is_that_of_the_models() -> None:
    assert schema_text() == generated_schema_text(), "run tools/write_json_schemas.py"
