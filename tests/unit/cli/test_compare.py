# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.cells import cell_len

import predictable
from compared import make_pair, model_target
from sgxlens.cli.main import main
from sgxlens.enclave.platform import platform_names

MakeRecording = Callable[..., Path]
Run = Callable[..., str]
GIVEN = ["--platform", "xeon-e-2288g"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Standard output of a command that must succeed."""

    def compare(*arguments: str) -> str:
        assert main(["compare", *arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return compare


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Run:
    """The line that a command which must fail says."""

    def compare(*arguments: str) -> str:
        assert main(["compare", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("sgxlens: error: ")
        assert err.count("\n") == 1
        return err

    return compare


def compared(text: str) -> dict[str, Any]:
    """The report in JSON, which must be as its schema says."""
    from sgxlens.report.comparison_json import CompareReport, generated_schema_text, schema_text

    assert schema_text() == generated_schema_text(), "run python tools/write_json_schemas.py"
    content: dict[str, Any] = json.loads(text)
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)
    again = CompareReport.model_validate(content).model_dump(mode="json", by_alias=True)
    assert again == content
    return content


def test_a_comparison_has_all_its_parts(make_recording: MakeRecording, run: Run) -> None:
    text = run(*make_pair(make_recording, slower=2), *GIVEN)
    for part in (
        "certainly longer",
        "Inside an enclave, by platform, in Gramine",
        "By cause",
        "How often",
        "Operators by changed time",
        "The graphs correspond: all 2 operators.",
        "/features/Conv",
        "What leaves the enclave",
        "Sizes",
        "on any platform",
        "Where the block was accessed before",
    ):
        assert part in text, part
    assert "For each sample" not in text


def test_json_has_every_number(make_recording: MakeRecording, run: Run) -> None:
    pair = make_pair(make_recording, {"syscalls": predictable.syscalls(9)}, slower=2)
    content = compared(run(*pair, *GIVEN, "--json"))
    assert content["schema"] == "sgxlens-compare"
    assert [r["path"] for r in content["recordings"]] == list(pair)
    (comparison,) = content["comparisons"]
    assert [side["label"] for side in comparison["sides"]] == ["A", "B"]
    (changes,) = comparison["changes"]
    native = changes["times"]["native_seconds"]
    assert native["difference"]["likely"] == pytest.approx(0.00525)
    assert native["direction"] == "more"
    rows = {row["name"]: row for row in changes["times"]["exits"]}
    assert (rows["getpid"]["before_count"], rows["getpid"]["after_count"]) == (3, 9)


def test_without_a_platform_all_are_compared(make_recording: MakeRecording, run: Run) -> None:
    pair = make_pair(make_recording)
    content = compared(run(*pair, "--json"))
    names = [c["deployment"]["platform"] for c in content["comparisons"]]
    assert sorted(names) == sorted(platform_names())
    text = run(*pair, "--epc", "2G")
    assert "Not for sgx1-client" in text
    assert text.count("By cause") == 1


def test_phases_may_be_given_for_all_or_for_each(make_recording: MakeRecording, run: Run) -> None:
    pair = make_pair(make_recording)
    for options, names in (
        (["--phase", "load"], ["load", "load"]),
        (["--phase", "1", "--phase", "inference 1"], ["load", "inference 1"]),
    ):
        (comparison,) = compared(run(*pair, *GIVEN, *options, "--json"))["comparisons"]
        assert [side["phase_name"] for side in comparison["sides"]] == names


def test_several_are_compared_with_the_first(make_recording: MakeRecording, run: Run) -> None:
    first, second = make_pair(make_recording)
    content = compared(run(first, second, second, *GIVEN, "--json"))
    (comparison,) = content["comparisons"]
    assert [changes["label"] for changes in comparison["changes"]] == ["B", "C"]
    text = run(first, second, second, *GIVEN)
    assert "C against A" in text


def test_batches_are_told_for_each_sample(make_recording: MakeRecording, run: Run) -> None:
    first = make_recording(
        predictable.tables(), "one", **(predictable.metadata() | {"target": model_target(1)})
    )
    second = make_recording(
        predictable.tables(), "many", **(predictable.metadata() | {"target": model_target(16)})
    )
    text = run(str(first), str(second), *GIVEN)
    assert "For each sample" in text
    assert "batch of 16" in text


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_a_report_fits_the_terminal_without_colour(
    make_recording: MakeRecording, run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = run(*make_pair(make_recording, slower=3))
    assert "\x1b" not in text
    if columns != "60":
        for line in text.splitlines():
            assert cell_len(line) <= int(columns), line


def _settings(**changed: Any) -> dict[str, Any]:
    return {"settings": predictable.metadata()["settings"] | changed}


def _host(cpu: str) -> dict[str, Any]:
    native = predictable.metadata()["native"]
    return {"native": native | {"host": native["host"] | {"cpu": cpu}}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (_settings(sampling_rate=0.1), "sampled at a rate of 0.1 and exact"),
        (_host("Another CPU"), "native times are of different hosts (Another CPU, 4 cores; A CPU"),
        ({"native": None}, "has no native times and the other has"),
        (
            {"tracer": {"isa": "sse2", "stream_version": 1, "valgrind": "3.19.0"}},
            "the instruction sets sse2 and avx",
        ),
    ],
)
def test_the_incomparable_is_refused(
    make_recording: MakeRecording, refused: Run, fields: dict[str, Any], message: str
) -> None:
    assert message in refused(*make_pair(make_recording, fields=fields), *GIVEN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--platform", "no-such"], "xeon-e-2288g"),
        (["--phase", "no such"], "has no phase 'no such'"),
        (["--phase", "load", "--phase", "load", "--phase", "load"], "3 phases for 2 recordings"),
        (["--native-time", "42ms"], "1 native times for 2 recordings"),
        (["--native-time", "42"], "'42' is not a time"),
        (["--json", "--top", "3"], "--json has all rows"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    make_recording: MakeRecording, refused: Run, options: list[str], message: str
) -> None:
    assert message in refused(*make_pair(make_recording), *options)


def test_one_recording_is_no_comparison(make_recording: MakeRecording, refused: Run) -> None:
    first, _ = make_pair(make_recording)
    assert "give two recordings or more" in refused(first, *GIVEN)
    assert "give two recordings or more" in refused(*GIVEN)
    assert "does not exist" in refused(first, f"{first}-missing", *GIVEN)


def test_a_page_replaces_a_page_but_no_other_file(
    make_recording: MakeRecording, run: Run, refused: Run, tmp_path: Path
) -> None:
    pair = make_pair(make_recording)
    page = tmp_path / "page.html"
    for _ in range(2):
        assert run(*pair, *GIVEN, "--html", str(page)) == ""
    assert "B takes " in page.read_text()
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    assert "--force" in refused(*pair, *GIVEN, "--html", str(other))
    assert other.read_text() == "mine"
    assert "give one of them" in refused(*pair, "--json", "--html", str(page))
    assert "--top" in refused(*pair, "--top", "3", "--html", str(page))
    assert "--html" in refused(*pair, "--force")
