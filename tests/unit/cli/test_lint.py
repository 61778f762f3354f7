# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sgxlens.cli.main import main
from sgxlens.report.lint import LintPart, generated_schema_text, schema_text

CLEAN = Path(__file__).parents[1] / "configuration/manifests/minimal.manifest.template"


@pytest.fixture
def path(tmp_path: Path) -> str:
    text = CLEAN.read_text(encoding="utf-8")
    found = tmp_path / "app.manifest.template"
    found.write_text(text.replace('"128M"', '"100M"').replace("debug = f", "debg = f"), "utf-8")
    return str(found)


def test_each_finding_has_file_and_line_and_what_to_do(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", path]) == 1
    out = capsys.readouterr().out
    assert f"{path}:13: error: 100M is not a power of two [enclave_size]\n" in out
    assert '\n      sgx.enclave_size = "128M"\n' in out
    assert "Did you mean sgx.debug?" in out
    assert "2 errors.\n" in out
    assert "Not known, and what depends on it not checked: log_level" in out
    assert "\x1b" not in out
    assert main(["lint", path, "--ignore", "enclave_size", "--ignore", "unknown_key"]) == 0
    assert "Nothing found." in capsys.readouterr().out


def test_variables_are_given_as_to_gramine_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(CLEAN), "-D", "log_level=debug"]) == 1
    assert 'the log is on level "debug" [log_level]' in capsys.readouterr().out
    assert main(["lint", str(CLEAN), "-Dlog_level=error"]) == 0
    assert "Not known" not in capsys.readouterr().out


def test_json_is_as_its_schema_says(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", path, "--json"]) == 1
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)
    assert LintPart.model_validate(content).model_dump(mode="json", by_alias=True) == content
    assert content["counts"] == {"error": 2, "warning": 0, "note": 0}
    assert content["found"][0]["finding"]["line"] == 12
    assert main(["lint", "--json-schema"]) == 0
    assert capsys.readouterr().out == schema_text()


def test_the_schema_is_that_of_the_models() -> None:
    assert schema_text() == generated_schema_text(), "run tools/write_json_schemas.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.manifest"], "cannot read none.manifest: No such file"),
        ([str(CLEAN), "-D", "=x"], "'=x' should be NAME=VALUE"),
        ([str(CLEAN), "--ignore", "x"], "no check is called 'x'"),
        ([str(CLEAN), "--platform", "x"], "no platform is called 'x'"),
        ([str(CLEAN), "--recording", "none"], "none"),
        ([str(Path(__file__).parent)], "is not a file"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["lint", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
