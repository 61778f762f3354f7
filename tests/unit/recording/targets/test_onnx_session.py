# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sgxlens.errors import UsageError
from sgxlens.recording.environment import with_variables
from sgxlens.recording.record import described
from sgxlens.recording.targets.command import CommandTarget
from sgxlens.recording.targets.onnx import OnnxTarget
from sgxlens.recording.targets.onnx_session import SessionSettings, session_settings


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_text('{"graph_optimization": "basic", "arena": {"max_bytes": 4096}}')
    settings = session_settings(path)
    assert settings.graph_optimization == "basic"
    assert settings.arena is not None
    assert settings.arena.extend_strategy == "power_of_two"
    assert settings.enable_mem_pattern


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "session.json: Invalid JSON"),
        ('{"threads": 2}', "there is no field 'threads': there are intra_op_threads"),
        ('{"arena": {"max_bytes": 0}}', "arena.max_bytes: Input should be greater"),
        ('{"config": {"session.x": 1}}', "config.session.x: Input should be a valid string"),
        ("[]", "session.json: .*object"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "session.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        session_settings(path)
    with pytest.raises(UsageError, match="cannot read"):
        session_settings(tmp_path / "none.json")


def test_changed_settings_keep_other_entries() -> None:
    settings = SessionSettings(config={"a": "1"}).changed({"config": {"b": "2"}})
    assert settings.config == {"a": "1", "b": "2"}
    with pytest.raises(UsageError, match="no field 'spin'"):
        settings.changed({"spin": True})


def test_threads_are_said_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--threads 1 contradicts intra_op_threads 2"):
        OnnxTarget(tmp_path / "m.onnx", threads=1, session={"intra_op_threads": 2})


def test_variables_are_kept_and_set() -> None:
    assert described(CommandTarget(["true"]), {"A": "b=c"})["environment"] == {"A": "b=c"}
    assert with_variables({"B": "1"}, {"A": "b=c"}) == {"A": "b=c", "B": "1"}
    assert with_variables(None, {"A": "1"}) == {**os.environ, "A": "1"}
    with pytest.raises(UsageError, match="can be called 'A=B'"):
        with_variables(None, {"A=B": ""})


def test_a_model_runs_with_settings_of_every_kind(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    ends = [value], [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "relu.onnx"
    path.write_bytes(model.SerializeToString())
    session: dict[str, Any] = {
        "intra_op_threads": 2,
        "execution_mode": "parallel",
        "graph_optimization": "disable",
        "enable_mem_pattern": False,
        "arena": {"extend_strategy": "same_as_requested", "initial_chunk_bytes": 1 << 16},
        "config": {"session.disable_prepacking": "1"},
        "run_config": {"memory.enable_memory_arena_shrinkage": "cpu:0"},
    }
    with OnnxTarget(path, runs=1, warmup=0, session=session) as target:
        info = target.info()
        told = json.loads((Path(target.command()[-1]) / "options.json").read_text())
        subprocess.run(target.command(), check=True)
    assert info["threads"] == told["threads"] == 2
    assert info["session"] == session_settings(session).model_dump() == told["session"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert info["model_file"] == {"size_bytes": path.stat().st_size, "sha256": digest}
