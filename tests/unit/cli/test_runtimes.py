# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sgxlens.cli.main import main
from sgxlens.enclave.data_files import constants
from sgxlens.enclave.runtime import Runtime, load_runtime, runtime_names
from sgxlens.report.terminal.runtimes import print_runtime


def test_all_runtimes_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["runtimes"]) == 0
    out = capsys.readouterr().out
    for name in runtime_names():
        assert f"\n{name} " in out
        assert f"\n{load_runtime(name).title}\n" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", runtime_names())
def test_each_rule_and_constant_is_shown_with_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["runtimes", name]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    # Where a long line is broken, the rest is on the next one.
    text = "".join(out.split())
    runtime = load_runtime(name)
    for group in (*runtime.syscalls, *runtime.events):
        assert "".join(", ".join(group.names).split()) in text
        for rule in group.rules:
            for part in (rule.when, rule.note, rule.source):
                assert "".join(part.split()) in text
    for constant in constants(runtime):
        assert "".join(constant.source.split()) in text


def test_json_of_one_is_a_runtime_file_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runtimes", "gramine-edmm", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["schema_version"]) == ("sgxlens-runtimes", 1)
    (found,) = report["runtimes"]
    again = Runtime.model_validate(found)
    assert again.model_dump() == load_runtime("gramine-edmm").model_dump()


def test_an_unknown_runtime_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runtimes", "graphene"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sgxlens: error: no runtime is called 'graphene': there are ")
    assert error.count("\n") == 1


def test_a_file_of_ones_own_is_shown_and_harmless(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "gramine"\ndescription = "a \\u001b[31m runtime"\n')
    output = io.StringIO()
    print_runtime(load_runtime(path), output)
    assert "\x1b" not in output.getvalue()
    assert "x1b[31m" in output.getvalue()
