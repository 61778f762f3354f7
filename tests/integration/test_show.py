# SPDX-License-Identifier: Apache-2.0
"""`sgxlens show` of real recordings: what it says is what the program did."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.cells import cell_len

from commands import SGXLENS, record_line, run
from recordings import PROGRAMS, compile_program, needs_tracer
from sgxlens.report.json import schema_text

pytestmark = needs_tracer

# Lines of code and stack besides the buffers.
NOISE_MAX = 32


def shown(recording: Path, *options: str) -> str:
    done = run(SGXLENS, "show", recording, *options, env={**os.environ, "COLUMNS": "80"})
    assert (done.status, done.errors) == (0, "")
    return done.output.decode()


def reported(recording: Path, *options: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(shown(recording, "--json", *options))
    jsonschema.Draft202012Validator(json.loads(schema_text())).validate(report)
    return report


def check_sums(report: dict[str, Any]) -> None:
    """Operators, regions and sources are each all accesses and misses of the phase."""
    for name in ("line", "page"):
        reuse = report["reuse"][name]
        (point,) = (
            point
            for point in reuse["miss_curve"]
            if point["capacity_bytes"] == report["selection"]["at_bytes"]
        )
        operators = report["operators"]
        groups = [
            [*(row["use"][name] for row in operators["rows"]), operators["between"][name]],
            [operators["total"][name]],
            [row["use"][name] for row in report["regions"]["rows"]],
            [row["use"][name] for row in report["regions"]["roles"]],
            [row["counts"][name] for row in report["reuse_sources"]["rows"]],
        ]
        for group in groups:
            assert sum(part["access_count"] for part in group) == reuse["access_count"]
            for bound in ("low", "high"):
                misses = sum(part["miss_count"][bound] for part in group)
                assert misses == point["miss_count"][bound]


def check_layout(text: str) -> None:
    for line in text.splitlines():
        assert cell_len(line) <= 80, line
    assert "\x1b" not in text
    # Nothing of the start-up stands before the inference.
    assert text.index("inference 2 ──") < text.index("Whole recording") < text.index("0  start")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two operators; of 1,984 lines each inference accesses all, in the same order."""
    folder = tmp_path_factory.mktemp("model")
    program = compile_program([PROGRAMS / "model.c"], folder / "model")
    assert run(*record_line(folder / "r", [program, "declare"])).status == 0
    return folder / "r"


def test_json_says_what_the_code_does(model: Path) -> None:
    report = reported(model, "--at", "64K")
    check_sums(report)
    assert [phase["name"] for phase in report["selection"]["phases"]] == ["inference 2"]
    first, second = report["operators"]["rows"]
    assert (first["name"], second["name"]) == ("first", "second")
    assert first["footprint_bytes_by_role"]["weights"] == 512 * 64
    assert second["footprint_bytes_by_role"]["weights"] == 1024 * 64
    assert second["footprint_bytes_by_role"]["activations"] == 256 * 64
    # 1,024 lines hold what was accessed within one operator or just before it, and no more.
    for row, lines in ((first, 512 + 64 + 256), (second, 1024 + 128)):
        misses = row["use"]["line"]["miss_count"]
        assert lines <= misses["low"] <= misses["high"] <= lines + NOISE_MAX
    (flow,) = (
        flow
        for flow in report["reuse_sources"]["flows"]["line"]
        if (flow["producer_index"], flow["consumer_index"]) == (0, 1)
    )
    assert 256 <= flow["access_count"] <= 256 + NOISE_MAX
    weights = next(row for row in report["regions"]["roles"] if row["role"] == "weights")
    assert weights["use"]["line"]["written_block_count"] == 0
    large = reported(model, "--at", "1M")
    assert sum(row["use"]["line"]["miss_count"]["high"] for row in large["operators"]["rows"]) == 0


def test_the_terminal_says_so_too(model: Path) -> None:
    text = shown(model, "--at", "64K", "--sort", "line-misses")
    check_layout(text)
    rows = [line.split() for line in text.splitlines()]
    names = [row[1] for row in rows if row[:1] in (["0"], ["1"]) and row[1] in ("first", "second")]
    assert names[:2] == ["second", "first"]
    assert "declared weights:b" in text
    assert "Unclassified:" in text


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_network_is_shown_in_full(tmp_path: Path, threads: str) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    options = ("--runs", "2", "--threads", threads)
    done = run(SGXLENS, "record", "-q", "-o", tmp_path / "r", path, *options, patience_seconds=600)
    assert done.status == 0, done
    report = reported(tmp_path / "r", "--at", "4M")
    check_sums(report)
    assert {row["type"] for row in report["operators"]["rows"]} >= {"Conv", "MaxPool", "Concat"}
    assert all(row["native_time"]["median_seconds"] > 0 for row in report["operators"]["rows"])
    (phase,) = (phase for phase in report["phases"] if phase["is_selected"])
    assert phase["name"] == "inference 2"
    assert phase["native_time"]["median_seconds"] < phase["elapsed_seconds"]
    text = shown(tmp_path / "r", "--at", "4M")
    check_layout(text)
    assert ("Sharing between threads" in text) or threads == "1"
    for title in ("Operators by page misses at 4 MiB", "Native time of operators"):
        assert title in text
