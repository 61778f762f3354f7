# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.cells import cell_len

import paged
from sgxlens.cli.main import main
from sgxlens.report.advice import AdviseReport, generated_schema_text, schema_text

MakeRecording = Callable[..., Path]
SMALL = ["--platform", "xeon-e-2288g", "--epc", paged.SMALL_EPC]


@pytest.fixture
def path(make_recording: MakeRecording) -> str:
    return str(make_recording(paged.tables(), **paged.metadata()))


def advise(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Standard output of a command that must succeed."""
    assert main(["advise", *arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", ["80", "100"])
def test_advice_fits_the_terminal(
    path: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = advise(capsys, path, *SMALL)
    for part in (
        "What to change",
        "1. Batch 16 samples",
        "Gain, predicted",
        "Evidence",
        "What it costs",
        "Taken for granted",
        "How",
        "Looked for, and not advised",
    ):
        assert part in text, part
    assert "\x1b" not in text
    for line in text.splitlines():
        # What is to be copied is not broken.
        assert cell_len(line) <= int(columns) or line.startswith("    "), line


def test_where_nothing_is_worth_doing_it_says_so_and_why(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = advise(capsys, path, "--platform", "xeon-e-2288g")
    assert "Nothing is worth changing" in text
    assert "What to change" not in text
    assert "loads no page: no other order would be better" in " ".join(text.split())


def test_json_is_as_its_schema_says(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    content: dict[str, Any] = json.loads(advise(capsys, path, *SMALL, "--json"))
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)
    again = AdviseReport.model_validate(content).model_dump(mode="json", by_alias=True)
    assert again == content
    assert content["advice"][0]["rule"] == "batching"
    assert content["advice"][0]["advice"]["state"] == "predicted"
    assert advise(capsys, "--json-schema") == schema_text()


def test_the_schema_is_that_of_the_models() -> None:
    assert schema_text() == generated_schema_text(), "run tools/write_json_schemas.py"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Missing option '--platform'"),
        (["--platform", "no-such"], "no platform is called 'no-such'"),
        (["--platform", "xeon-e-2288g", "--runtime", "no-such"], "no runtime is called"),
        (["--platform", "xeon-e-2288g", "--epc", "64MB"], "'64MB' is not a size"),
        (["--platform", "xeon-e-2288g", "--phase", "none"], "has no phase 'none'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    path: str, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["advise", path, *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
