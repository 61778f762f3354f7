# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgxlens.errors import TargetError, UsageError
from sgxlens.recording.targets.onnx import OnnxTarget

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def save(path: Path, nodes: list[Any], inputs: list[Any], **parts: Any) -> Path:
    helper = onnx.helper
    outputs = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, parts.get("initializers", []))
    domains = [helper.make_opsetid(*d) for d in parts.get("domains", [("", 13)])]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = parts.get("ir_version", 8)
    path.write_bytes(model.SerializeToString())
    return path


def value(name: str, kind: str, shape: list[Any]) -> Any:
    return onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    """y = relu(x), x of the shape N x 3."""
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    return save(tmp_path / "relu.onnx", [node], [value("x", "FLOAT", ["N", 3])])


def test_a_model_is_ready_to_run(relu: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.npz"
    with OnnxTarget(relu, batch=2, runs=1, warmup=0, outputs=outputs) as target:
        command = target.command()
        folder = Path(command[-1])
        assert command[:3] == [sys.executable, "-m", "sgxlens.recording.targets.onnx_runner"]
        assert folder.stat().st_mode & 0o077 == 0
        assert json.loads((folder / "options.json").read_text())["mode"] == "record"
        info = target.info()
        assert info["inputs"] == [{"name": "x", "type": "float32", "shape": [2, 3]}]
        assert info["model"] == str(relu)
        subprocess.run(command, check=True)
        given = np.load(folder / "input_0.npy")
    assert not folder.exists()
    np.testing.assert_array_equal(np.load(outputs)["arr_0"], np.maximum(given, 0))


def test_inputs_may_come_from_a_file(relu: Path, tmp_path: Path) -> None:
    array = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)
    np.savez(tmp_path / "in.npz", x=array)
    with OnnxTarget(relu, input_file=tmp_path / "in.npz") as target:
        np.testing.assert_array_equal(np.load(Path(target.command()[-1]) / "input_0.npy"), array)
        assert target.info()["seed"] is None


def test_a_users_module_is_not_taken_for_numpy(
    relu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    OnnxTarget(relu, batch=1).close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "start at 1"),
        ({"runs": 0}, "start at 1"),
        ({"warmup": -1}, "start at 1"),
        ({"batch": 0}, "start at 1"),
        ({"input_file": "in.npz", "batch": 2}, "without --dim and --batch"),
        ({"dims": {"M": 2}}, "no dynamic dimension is called 'M': there is N"),
    ],
)
def test_options_that_make_no_sense(relu: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OnnxTarget(relu, **options)


def test_files_that_are_no_model(tmp_path: Path, relu: Path) -> None:
    with pytest.raises(TargetError, match="does not exist"):
        OnnxTarget(tmp_path / "nope.onnx")
    with pytest.raises(TargetError, match="is a folder"):
        OnnxTarget(tmp_path)
    for content in (b"text\n" * 20, bytes(100), relu.read_bytes()[:-20]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(TargetError, match="is not an ONNX model"):
            OnnxTarget(tmp_path / "bad.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"")
    with pytest.raises(TargetError, match="is empty"):
        OnnxTarget(tmp_path / "bad.onnx")


def test_open_dimensions_are_listed(relu: Path) -> None:
    with pytest.raises(TargetError, match=r"give --dim N=SIZE \(x: N x 3\)"):
        OnnxTarget(relu)


@pytest.mark.parametrize(
    ("domain", "name"), [("", "Frobnicate"), ("com.example", "com.example:Frobnicate")]
)
def test_unknown_operators_are_named(tmp_path: Path, domain: str, name: str) -> None:
    node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain=domain)
    domains = [("", 13)] + ([(domain, 1)] if domain else [])
    path = save(tmp_path / "m.onnx", [node], [value("x", "FLOAT", [1])], domains=domains)
    with pytest.raises(TargetError, match=f"the operator {name}, which this ONNX Runtime"):
        OnnxTarget(path)


def test_models_from_the_future(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    for parts in ({"ir_version": 99}, {"domains": [("", 99)]}):
        path = save(tmp_path / "m.onnx", [node], [value("x", "FLOAT", [1])], **parts)
        with pytest.raises(TargetError, match=r"newer than this ONNX Runtime.*upgrade onnxruntime"):
            OnnxTarget(path)


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[3], name="w")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    inputs = [value("x", "FLOAT", [3])]
    path = save(tmp_path / "m.onnx", [node], inputs, initializers=[tensor])
    with pytest.raises(TargetError, match=r"external data of .*weights.bin: keep it beside"):
        OnnxTarget(path)


def test_inputs_on_which_the_model_fails(tmp_path: Path) -> None:
    shape = onnx.helper.make_tensor("s", onnx.TensorProto.INT64, [2], [7, 3])
    node = onnx.helper.make_node("Reshape", ["x", "s"], ["y"])
    inputs = [value("x", "FLOAT", ["n"])]
    path = save(tmp_path / "m.onnx", [node], inputs, initializers=[shape])
    OnnxTarget(path, dims={"n": 21}).close()
    with pytest.raises(TargetError, match=r"does not run with these inputs: .*Reshape") as caught:
        OnnxTarget(path, dims={"n": 5})
    assert len(caught.value.message) < 500


def test_a_missing_onnxruntime_says_how_to_get_it(
    relu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "onnxruntime.py").write_text("raise ImportError('none here')")
    path = f"{tmp_path / 'block'}:{':'.join(p for p in sys.path if p)}"
    monkeypatch.setenv("PYTHONPATH", path)
    with pytest.raises(TargetError, match=r"needs onnxruntime \(none here\): pip install 'sgxlens"):
        OnnxTarget(relu, batch=1)


def test_a_crash_of_onnxruntime_is_one_line(
    relu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "onnxruntime.py").write_text("import os; os.kill(os.getpid(), 11)")
    path = f"{tmp_path / 'block'}:{':'.join(p for p in sys.path if p)}"
    monkeypatch.setenv("PYTHONPATH", path)
    with pytest.raises(TargetError, match=r"cannot be loaded: ONNX Runtime crashed \(SIGSEGV\)"):
        OnnxTarget(relu, batch=1)
