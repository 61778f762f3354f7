# SPDX-License-Identifier: Apache-2.0
"""A real model is optimised; what is written runs by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sgxlens
from sgxlens.optimization.optimize import optimize
from sgxlens.optimization.result import Optimization

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow
_WIDTH = 1024


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dense layers of 4 MiB, for one sample, with their weights in a file beside it."""
    helper = onnx.helper
    path = tmp_path_factory.mktemp("dense") / "dense.onnx"
    random = np.random.default_rng(0)
    held = [
        onnx.numpy_helper.from_array(
            random.random((_WIDTH, _WIDTH), dtype=np.float32) / _WIDTH, name
        )
        for name in ("first", "second")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, _WIDTH]) for n in "xy"]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, str(path), save_as_external_data=True, location="dense.data")
    return path


@pytest.fixture(scope="module")
def result(model: Path) -> Optimization:
    output = model.with_name("out")
    return optimize(model, "xeon-e-2288g", output, epc="6M", recordings=3, runs=1)


def test_the_written_folder_is_faster_by_its_own_recording(result: Optimization) -> None:
    assert result.batch_after is not None
    assert result.batch_after > 1
    assert result.speedup.likely > 2
    assert [attempt.outcome for attempt in result.attempts] == ["kept"]
    assert result.recording_count == 3
    proof = sgxlens.open(result.after.recording)
    assert proof.metadata.command[1] == f"{result.output}/loader.py"
    names = [phase.name for phase in proof.phases]
    assert names == ["start", "import", "load", "warm-up 1", "inference 1", "end"]
    assert result.after.outputs is not None
    assert result.after.outputs.is_within
    added = sum(cause.after.likely for cause in result.causes)
    assert added == pytest.approx(result.after.sample.after.likely)


def test_it_runs_where_there_is_no_sgxlens(result: Optimization, tmp_path: Path) -> None:
    hidden = tmp_path / "sgxlens"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('not here')")
    run = subprocess.run(
        [sys.executable, f"{result.output}/loader.py", "--output", str(tmp_path / "y.npz")],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "SGXLENS_MARK_PHASES": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"y [{result.batch_after}, {_WIDTH}]" in run.stdout
    with np.load(tmp_path / "y.npz") as file:
        assert file["arr_0"].shape == (result.batch_after, _WIDTH)


def test_the_folder_is_whole_and_its_configuration_passes_lint(result: Optimization) -> None:
    folder = Path(result.output)
    names = {entry.name for entry in folder.iterdir()}
    assert names == {"model.onnx", "session.json", "loader.py", "example.npz", "environment.env",
                     "requirements.txt", "app.manifest.template", "report.json",
                     "REPORT.md"}  # fmt: skip
    session = json.loads((folder / "session.json").read_text())
    assert session["intra_op_threads"] == 1
    manifest = folder / "app.manifest.template"
    assert f'"file:{folder}/loader.py"' in manifest.read_text()
    assert "SGXLENS" not in manifest.read_text()
    report = sgxlens.lint(manifest, recording=result.after.recording, platform="xeon-e-2288g")
    assert [one.finding for one in report.found if one.finding.severity == "error"] == []
    text = (folder / "REPORT.md").read_text()
    assert "batching" in text
    assert "a sample inside" in text


def test_recordings_are_used_again_and_nothing_is_replaced_unasked(
    result: Optimization, model: Path
) -> None:
    folder = Path(result.output)
    kept = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    with pytest.raises(sgxlens.UsageError, match="--force"):
        optimize(model, "xeon-e-2288g", folder)
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == kept
    program = "import sys; from sgxlens.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "optimize", str(model), "--platform", "xeon-e-2288g",
               "--epc", "6M", "--recordings", "3", "--runs", "1", "-o", str(folder),
               "--force"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (folder / "UNFINISHED").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    # Ctrl-C: the folder is again what it was.
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == kept
    assert [p for p in folder.parent.iterdir() if p.name.startswith(".sgxlens")] == []
