# SPDX-License-Identifier: Apache-2.0
"""Advice is applied to a real model, recorded, interrupted and taken up again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sgxlens
from page_data import page_data
from sgxlens.advice import Modification
from sgxlens.cli.main import main
from sgxlens.errors import UsageError
from sgxlens.verification import make_variants

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dense layers of 16 MiB, recorded for one sample."""
    import numpy as np

    helper = onnx.helper
    folder = tmp_path_factory.mktemp("dense")
    random = np.random.default_rng(0)
    held = [
        onnx.numpy_helper.from_array(random.random((2048, 2048), dtype=np.float32) / 2048, name)
        for name in ("first", "second")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2048]) for name in "xy"]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "dense.onnx"))
    sgxlens.record(folder / "dense.onnx", folder / "recording", runs=1, native=True)
    return folder / "recording"


def advise(recording: Path, *arguments: str) -> list[str]:
    return [
        sys.executable, "-c", "import sys; from sgxlens.cli.main import main; sys.exit(main())",
        "advise", str(recording), "--platform", "xeon-e-2288g", "--epc", "12M",
        "--rule", "batching", "--rule", "narrower_weights", "--verify", *arguments,
    ]  # fmt: skip


def children(marker: str) -> list[str]:
    """Command lines of processes that name `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if marker in line:
                found.append(line)
    return found


def test_verified_gains_stand_beside_predicted_ones(recording: Path, tmp_path: Path) -> None:
    content = {p: p.stat().st_mtime_ns for p in recording.parent.iterdir()}
    # Interrupted while it records: nothing half-written stays, and no process.
    process = subprocess.Popen(advise(recording), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    folder = Path(f"{recording}.verify")
    deadline = time.monotonic() + 300
    while not list(folder.glob("*/.sgxlens-*.partial")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert not list(folder.glob("*/.sgxlens-*"))
    assert not children(str(folder))
    prepared = {p: p.stat().st_mtime_ns for p in folder.glob("*/prepared.json")}
    assert len(prepared) == 2

    result = subprocess.run(advise(recording, "--json"), capture_output=True, check=True)
    rows = {row["rule"]: row["advice"] for row in json.loads(result.stdout)["advice"]}
    for rule in ("batching", "narrower_weights"):
        told = rows[rule]["verified"]
        assert rows[rule]["state"] == "verified"
        assert not told["was_there"]
        gain = told["gains"][0]
        # What is native in it, and so whether it is inside, depends on what else the machine does.
        assert len(told["inside"]) == 1
        assert gain["saved"]["likely"] > 0.5 * gain["before"]["likely"]
        assert told["outputs"]["max_relative"] <= told["outputs"]["tolerance"]
    # What was prepared before the interruption was not made again; the user's files are as before.
    assert {p: p.stat().st_mtime_ns for p in folder.glob("*/prepared.json")} == prepared
    assert {p: p.stat().st_mtime_ns for p in content} == content

    again = subprocess.run(advise(recording, "--json"), capture_output=True, check=True)
    assert all(row["advice"]["verified"]["was_there"] for row in json.loads(again.stdout)["advice"])

    # A report shows what is there, and makes nothing.
    page = tmp_path / "report.html"
    options = ["--platform", "xeon-e-2288g", "--epc", "12M", "-q", "-o", str(page)]
    assert main(["report", str(recording), *options]) == 0
    (shown,) = page_data(page.read_text())["advice"]
    states = {row["rule"]: row["advice"]["state"] for row in shown["advice"]}
    assert states["batching"] == states["narrower_weights"] == "verified"
    assert all(row["advice"]["unverified"] for row in shown["advice"] if row["rule"] not in rows)
    # Beside the lock of who works there.
    assert len(list(folder.glob("*/variant.json"))) == 2


def test_a_model_that_cannot_be_changed_leaves_the_others_alone(recording: Path) -> None:
    variants, reasons = make_variants(
        sgxlens.open(recording),
        [Modification(model=("no-such",)), Modification(environment={"OMP_NUM_THREADS": "1"})],
    )
    assert variants[0] is None
    assert "no-such" in reasons[0]
    assert variants[1] is not None
    assert variants[1].recording.metadata.outcome.is_clean
    assert getattr(variants[1].recording.metadata.target, "environment", None) == {
        "OMP_NUM_THREADS": "1"
    }


def test_a_model_that_is_gone_is_refused(recording: Path, tmp_path: Path) -> None:
    shutil.copytree(recording, tmp_path / "copy")
    model = recording.parent / "dense.onnx"
    model.rename(tmp_path / "elsewhere.onnx")
    try:
        with pytest.raises(UsageError, match=r"dense\.onnx cannot be read"):
            make_variants(sgxlens.open(tmp_path / "copy"), [Modification(batch=2)])
    finally:
        (tmp_path / "elsewhere.onnx").rename(model)
