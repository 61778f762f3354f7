# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.cells import cell_len

import predictable
from sgxlens.cli.main import main
from sgxlens.enclave.platform import platform_names

MakeRecording = Callable[..., Path]
Run = Callable[..., str]
GIVEN = ["--platform", "xeon-gold-6326"]


@pytest.fixture
def path(make_recording: MakeRecording) -> str:
    return str(make_recording(predictable.tables(), **predictable.metadata()))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Standard output of a command that must succeed."""

    def predict(*arguments: str) -> str:
        assert main(["predict", *arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return predict


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Run:
    """The line that a command which must fail says."""

    def predict(*arguments: str) -> str:
        assert main(["predict", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("sgxlens: error: ")
        assert err.count("\n") == 1
        return err

    return predict


def predicted(text: str) -> dict[str, Any]:
    """The report in JSON, which must be as its schema says."""
    from sgxlens.report.prediction_json import PredictReport, schema_text

    content: dict[str, Any] = json.loads(text)
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)
    again = PredictReport.model_validate(content).model_dump(mode="json", by_alias=True)
    assert again == content
    return content


def test_a_platform_is_predicted_in_full(path: str, run: Run) -> None:
    text = run(path, *GIVEN)
    for part in (
        "Phase 4 (inference 2) inside an enclave, by platform",
        "By cause",
        "Operators by added time",
        "/features/Conv",
        "Start-up, to the first result",
        "Not modelled",
    ):
        assert part in text, part


def test_without_a_platform_all_are_compared(path: str, run: Run) -> None:
    text = run(path)
    for name in platform_names():
        assert re.search(rf"^ +{name} ", text, re.MULTILINE)
    assert text.count("By cause") == 1


def test_several_platforms_are_shown_side_by_side_in_the_order_given(path: str, run: Run) -> None:
    text = run(path, "--platform", "xeon-gold-6326", "--platform", "xeon-e-2288g")
    assert text.index("xeon-gold-6326") < text.index("xeon-e-2288g")
    assert text.count("By cause") == 2


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_a_report_fits_the_terminal_without_colour(
    path: str, run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = run(path)
    assert "\x1b" not in text
    if columns != "60":
        for line in text.splitlines():
            assert cell_len(line) <= int(columns), line


def test_json_is_as_its_schema_says(path: str, run: Run) -> None:
    content = predicted(run(path, "--json"))
    assert content["schema"] == "sgxlens-predict"
    names = [p["deployment"]["platform"] for p in content["predictions"]]
    assert sorted(names) == sorted(platform_names())
    steady = content["predictions"][0]["steady"]
    assert steady["name"] == "inference 2"
    assert steady["native"]["median_seconds"] == pytest.approx(0.00525)
    assert main(["predict", "--json-schema"]) == 0


def test_the_native_time_of_another_machine_takes_the_place_of_the_recorded_one(
    path: str, run: Run
) -> None:
    content = predicted(run(path, *GIVEN, "--native-time", "42ms", "--json"))
    (prediction,) = content["predictions"]
    assert {p["name"] for p in prediction["phases"]} == {"inference 1", "inference 2"}
    steady = prediction["steady"]
    assert steady["native"]["median_seconds"] == 0.042
    assert steady["native"]["source"] == "given"
    operators = [row["native_seconds"] for row in steady["operators"]]
    assert operators == [pytest.approx(0.028), pytest.approx(0.014), pytest.approx(0)]
    assert prediction["startup"]["untimed_phases"] == ["start", "load", "warm-up 1"]
    text = run(path, *GIVEN, "--native-time", "42ms")
    assert "42.0 ms as given" in text
    assert "Without a native time, and left out: start, load, warm-up 1." in text


def test_overrides_replace_what_the_platform_says(path: str, run: Run) -> None:
    content = predicted(run(path, *GIVEN, "--epc", "64M", "--llc", "16M", "--json"))
    place = content["predictions"][0]["deployment"]
    assert place["epc_bytes"] == {"low": 64 << 20, "likely": 64 << 20, "high": 64 << 20}
    assert place["llc_bytes"]["likely"] == 16 << 20


def test_another_phase_may_be_predicted(path: str, run: Run) -> None:
    for phase in ("load", "1"):
        content = predicted(run(path, *GIVEN, "--phase", phase, "--json"))
        assert content["predictions"][0]["steady"]["name"] == "load"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--platform", "no-such"], "xeon-e-2288g"),
        (["--epc", "64MB"], "'64MB' is not a size"),
        (["--epc", "1"], "an EPC holds at least one page"),
        (["--llc", "1"], "LLC: 1 B are too little: a cache with 12 ways has at least one set"),
        (["--native-time", "42"], "'42' is not a time"),
        (["--native-time", "0ms"], "more than nothing"),
        (["--phase", "no such"], "has no phase 'no such': there are 0 (start)"),
        (["--threads", "4"], "the native times are of 1 thread, not of 4"),
        (["--runtime", "no-such"], "gramine-exitless"),
        (["--enclave-size", "64M"], "an enclave of 64 MiB is too small"),
        (["--enclave-size", "100M"], "must be a power of two"),
        (["--policy", "best"], "no policy 'best'"),
        (["--replicas", "0"], "0 is not in the range"),
        (["--replicas", "17"], "give fewer threads (of all replicas together)"),
        (["--allowed", "/m/**", "--trusted", "/m/**"], "cannot be both allowed and trusted"),
        (["--overhead", "-1"], "-1.0 is not in the range"),
        (["--json", "--top", "3"], "--json has all rows"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    path: str, refused: Run, options: list[str], message: str
) -> None:
    arguments = [*GIVEN, *options] if options[0] != "--platform" else options
    assert message in refused(path, *arguments)


def test_a_platform_named_twice_is_predicted_once(path: str, run: Run) -> None:
    content = predicted(run(path, *GIVEN, *GIVEN, "--json"))
    assert len(content["predictions"]) == 1


def test_other_threads_need_a_native_time(path: str, run: Run) -> None:
    content = predicted(run(path, *GIVEN, "--threads", "4", "--native-time", "2ms", "--json"))
    assert content["predictions"][0]["deployment"]["threads"] == 4


@pytest.mark.parametrize("name", ["model.onnx", "net.pt", "llama-7b.gguf", "script.py"])
def test_a_model_must_be_recorded_first(tmp_path: Path, refused: Run, name: str) -> None:
    (tmp_path / name).write_bytes(b"a model")
    message = refused(str(tmp_path / name), *GIVEN)
    assert "is no recording: first record" in message
    assert "sgxlens record" in message


def test_what_is_not_there_is_not_predicted(tmp_path: Path, refused: Run) -> None:
    assert "does not exist" in refused(str(tmp_path / "nothing"), *GIVEN)


def test_a_recording_without_native_times_says_how_to_get_them(
    make_recording: MakeRecording, run: Run, refused: Run
) -> None:
    tables = predictable.tables()
    del tables["native_times"]
    fields = predictable.metadata() | {
        "native": None,
        "notes": ["no native times: the recorded program did not end by itself"],
    }
    path = str(make_recording(tables, **fields))
    message = refused(path, *GIVEN)
    assert "no native times (the recorded program did not end by itself)" in message
    assert "--native-time 42ms" in message
    assert "--no-native" in message
    assert "42.0 ms as given" in run(path, *GIVEN, "--native-time", "42ms")


def test_a_phase_without_a_native_time_is_named(
    make_recording: MakeRecording, refused: Run
) -> None:
    tables = predictable.tables()
    tables["native_times"] = [r for r in tables["native_times"] if r["phase"] != "load"]
    path = str(make_recording(tables, **predictable.metadata()))
    assert "no native time of phase 'load'" in refused(path, *GIVEN, "--phase", "load")


@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_a_recording_without_page_visits_is_refused(
    make_recording: MakeRecording, refused: Run, rate: float
) -> None:
    tables = predictable.tables()
    del tables["page_visits"]
    fields = predictable.metadata()
    fields["settings"] |= {"sampling_rate": rate}
    message = refused(str(make_recording(tables, **fields)), *GIVEN)
    assert "has no page visits" in message
    assert ("without --sampling-rate" in message) == (rate < 1)


def test_platforms_that_nobody_named_may_not_fit_what_was_asked(
    path: str, run: Run, refused: Run
) -> None:
    content = predicted(run(path, "--epc", "2G", "--json"))
    names = {p["deployment"]["platform"] for p in content["predictions"]}
    assert names == {"ice-lake-cloud", "xeon-gold-6326"}
    assert {p["platform"] for p in content["left_out"]} == set(platform_names()) - names
    assert "Not for sgx1-client: EPC: 2 GiB are more than any SGX1" in run(path, "--epc", "2G")
    assert "more than any SGX1" in refused(path, "--epc", "2G", "--platform", "sgx1-client")
    assert "too small for an enclave of " in refused(path, "--epc", "1M")
    too_large = refused(path, "--enclave-size", "1T", "--platform", "sgx1-client")
    assert "too small for an enclave of 1 TiB" in too_large
    assert "which takes SGX2" in " ".join(run(path, "--runtime", "gramine-edmm").split())
