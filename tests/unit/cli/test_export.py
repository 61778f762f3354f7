# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest

import predictable
import sgxlens
from sgxlens.cli.main import main
from trace_format import check_trace

MakeRecording = Callable[..., Path]
Run = Callable[..., str]
GIVEN = ["--platform", "xeon-e-2288g"]
HOSTILE = "</script>\"$x^2$ \u202e=cmd|' /features/Conv"


@pytest.fixture
def path(make_recording: MakeRecording) -> str:
    return str(make_recording(predictable.tables(), **predictable.metadata()))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """What a command that must succeed says."""

    def export(*arguments: Any) -> str:
        status = main(["export", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert (status, out) == (0, ""), err
        return err

    return export


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Run:
    """The line that a command which must fail says."""

    def export(*arguments: Any) -> str:
        assert main(["export", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("sgxlens: error: ")
        assert err.count("\n") == 1
        return err

    return export


def test_a_trace_has_operators_counters_and_system_calls(
    path: str, run: Run, tmp_path: Path
) -> None:
    output = tmp_path / "trace.json"
    said = run(path, "--format", "chrome-trace", "-o", output, *GIVEN)
    assert said.startswith(f"sgxlens: wrote {output} (")
    events = check_trace(output.read_bytes())
    prediction = sgxlens.predict(path, "xeon-e-2288g")
    phases = [e for e in events if e["ph"] == "X" and e["cat"] == "phase"]
    assert [e["name"] for e in phases] == [
        "build of the enclave",
        *(p.name for p in prediction.phases),
    ]
    assert phases[-1]["dur"] == pytest.approx(prediction.steady.sgx_seconds.likely * 1e6, abs=1e-3)
    operators = [e for e in events if e["ph"] == "X" and e["cat"] == "operator"][-2:]
    for event, row in zip(operators, prediction.steady.operators, strict=False):
        assert event["name"] == row.name
        assert row.native_seconds is not None
        expected = row.native_seconds + row.added_seconds.likely
        assert event["dur"] == pytest.approx(expected * 1e6, abs=2e-3)
    calls = [e for e in events if e["ph"] == "i"]
    assert {e["name"] for e in calls} == {"getpid", "sethostname"}
    assert all(operators[1]["ts"] <= e["ts"] <= phases[-1]["ts"] + phases[-1]["dur"] for e in calls)
    assert all(e["args"]["becomes"] for e in calls)
    counters = {e["name"] for e in events if e["ph"] == "C"}
    assert "line misses" in counters


def test_counters_hold_what_is_charged(path: str, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "trace.json.gz"
    run(path, "--format", "chrome-trace", "-o", output, *GIVEN)
    events = check_trace(gzip.decompress(output.read_bytes()))
    prediction = sgxlens.predict(path, "xeon-e-2288g")
    steps = [e for e in events if e["ph"] == "C" and e["name"] == "line misses"]
    # The area below the steps is the count.
    area = sum(
        one["args"]["per ms"] * (after["ts"] - one["ts"]) / 1e3 for one, after in pairwise(steps)
    )
    misses = sum(
        item.count.likely
        for phase in prediction.phases
        for item in phase.items
        if item.cause == "encryption"
    )
    assert area == pytest.approx(misses, rel=1e-2)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_tables_hold_the_numbers_of_the_reports(
    path: str, run: Run, tmp_path: Path, format_: str
) -> None:
    folder = tmp_path / "tables"
    run(path, "--format", format_, "-o", folder, *GIVEN, "--platform", "xeon-gold-6326")

    def rows(name: str) -> list[dict[str, Any]]:
        file = folder / f"{name}.{format_}"
        if format_ == "parquet":
            found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
            return found
        with file.open(newline="", encoding="utf-8") as text:
            return list(csv.DictReader(text))

    predictions = [sgxlens.predict(path, name) for name in ("xeon-e-2288g", "xeon-gold-6326")]
    for row, prediction in zip(rows("predictions"), predictions, strict=True):
        assert row["platform"] == prediction.deployment.platform
        assert float(row["inside_likely_seconds"]) == prediction.steady.sgx_seconds.likely
    causes = [r for r in rows("causes") if r["phase_name"] == "inference 2"]
    assert len(causes) == 2 * 5
    assert len(rows("operators")) == 2
    assert {r["granularity"] for r in rows("miss_curve")} == {"line", "page"}
    counts = sum(
        int(r["access_count"]) for r in rows("reuse_histogram") if r["granularity"] == "line"
    )
    recording = sgxlens.open(path)
    assert counts == recording.reuse("line", predictions[0].steady.phase).total
    for name in ("regions", "sensitivity", "paging_curve", "exits", "items", "operator_times"):
        assert rows(name), name


def test_names_stay_what_they_are(make_recording: MakeRecording, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tables = predictable.tables()
    for row in tables["operators"]:
        row["name"] = HOSTILE
    for row in tables["native_times"]:
        if row["operator_name"] is not None:
            row["operator_name"] = HOSTILE
    hostile = make_recording(tables, **predictable.metadata())
    run(hostile, "--format", "csv", "-o", tmp_path / "t", "--figures", tmp_path / "f", *GIVEN)
    with (tmp_path / "t/operators.csv").open(newline="", encoding="utf-8") as text:
        assert {row["name"] for row in csv.DictReader(text)} == {HOSTILE}
    drawn = ET.parse(tmp_path / "f/operators.svg").getroot()  # noqa: S314 -- written above
    words = " ".join(
        "".join(node.itertext()) for node in drawn.iter("{http://www.w3.org/2000/svg}text")
    )
    assert "$x^2$" in words
    assert "\u202e" not in words
    run(hostile, "--format", "chrome-trace", "-o", tmp_path / "t.json", *GIVEN)
    names = {e["name"] for e in check_trace((tmp_path / "t.json").read_bytes())}
    assert HOSTILE in names


@pytest.mark.parametrize("format_", ["svg", "png", "pdf"])
def test_figures_are_drawn(path: str, run: Run, tmp_path: Path, format_: str) -> None:
    pytest.importorskip("matplotlib")
    run(path, "--figures", tmp_path / "f", "--figure-format", format_)
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    found = {file.name: file.read_bytes() for file in (tmp_path / "f").iterdir()}
    # It is so small that it never misses, and pages nothing.
    names = {"time-by-cause", "reuse-distance", "operators"}
    assert set(found) == {f"{name}.{format_}" for name in names}
    assert all(content.startswith(starts[format_]) for content in found.values())
    if format_ == "svg":
        run(path, "--figures", tmp_path / "again", "--figure-format", format_)
        again = {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()}
        assert found == again
        assert b"inside the enclave (" in found["time-by-cause.svg"]
        assert b"xeon-e-2288g (EPC 92 MiB)" in found["time-by-cause.svg"]


def test_without_matplotlib_one_line_says_what_to_do(
    path: str, refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgxlens.report.export.figures.find_spec", lambda _: None)
    message = refused(path, "--figures", tmp_path / "f", *GIVEN)
    assert "pip install 'sgxlens[figures]'" in message
    assert not (tmp_path / "f").exists()


def test_a_recording_without_native_times_still_has_tables_and_figures(
    make_recording: MakeRecording, run: Run, refused: Run, tmp_path: Path
) -> None:
    tables = predictable.tables()
    del tables["native_times"]
    bare = make_recording(tables, **(predictable.metadata() | {"native": None}))
    said = run(bare, "--format", "csv", "-o", tmp_path / "t")
    assert "no prediction: " in said
    assert (tmp_path / "t/reuse_histogram.csv").exists()
    assert not (tmp_path / "t/causes.csv").exists()
    assert "no trace without times" in refused(
        bare, "--format", "chrome-trace", "-o", tmp_path / "t.json"
    )
    assert not (tmp_path / "t.json").exists()


def test_nothing_is_overwritten_unasked(path: str, run: Run, refused: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("mine")
    trace = [path, "--format", "chrome-trace", *GIVEN, "-o"]
    assert "--force to replace it" in refused(*trace, mine)
    assert mine.read_text() == "mine"
    run(*trace, mine, "--force")
    check_trace(mine.read_bytes())
    tables = [path, "--format", "csv", *GIVEN, "-o"]
    run(*tables, tmp_path / "t")
    (tmp_path / "t/notes.txt").write_text("mine")
    assert "is not empty" in refused(*tables, tmp_path / "t")
    run(*tables, tmp_path / "t", "--force")
    assert (tmp_path / "t/notes.txt").read_text() == "mine"
    assert "it is no folder" in refused(*tables, mine)
    assert "it is a folder" in refused(*trace, tmp_path)
    assert "there is no folder" in refused(*trace, tmp_path / "no/such.json")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to export"),
        (["--format", "csv"], "--format without -o"),
        (["-o", "x"], "-o without --format"),
        (["--figure-format", "png", "--format", "csv", "-o", "x"], "without --figures"),
        (["--format", "csv", "-o", "x", "--figures", "x"], "name the same place"),
        (["--format", "xml", "-o", "x"], "'xml' is not one of"),
        (
            ["--format", "chrome-trace", "-o", "x", *GIVEN, "--platform", "sgx1-client"],
            "a trace is of one platform",
        ),
        (["--format", "csv", "-o", "x", "--platform", "no-such"], "xeon-e-2288g"),
        (["--format", "csv", "-o", "x", "--phase", "no such"], "has no phase 'no such'"),
        (["--format", "csv", "-o", "x", "--native-time", "42"], "'42' is not a time"),
    ],
)
def test_options_that_make_no_sense_are_refused(  # noqa: PLR0917 -- pytest passes them by name
    path: str,
    refused: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(path, *options)
    assert not (tmp_path / "x").exists()
