# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgxlens.recording.targets.onnx_session import SessionSettings
from sgxlens.verification.outputs import deviation, outputs_of
from sgxlens.verification.transformations import (
    ModelContext,
    TransformationError,
    transformation,
    transformation_names,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SESSION = SessionSettings()
CONTEXT = ModelContext({"x": (1, 6)}, 1, SESSION.model_dump(), 1)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reshape to 1 x 2 x 3, back by a constant and by -1, and a Gemm; all shapes fixed."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = np.linspace(-1, 1, 6 * 40, dtype=np.float32).reshape(6, 40)
    constants = {
        "weights": weights,
        "shape3": np.array([1, 2, 3]),
        "shape2": np.array([-1, 6]),
        "shape1": np.array([1, 6]),
    }
    own = numpy_helper.from_array(constants.pop("shape1"))
    nodes = [
        helper.make_node("Reshape", ["x", "shape3"], ["a"]),
        helper.make_node("Reshape", ["a", "shape2"], ["b"]),
        helper.make_node("Constant", [], ["c"], value=own),
        helper.make_node("Reshape", ["b", "c"], ["d"]),
        helper.make_node("Gemm", ["d", "weights"], ["e"]),
        helper.make_node("Softmax", ["e"], ["y"]),
    ]  # fmt: skip
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 6]), ("y", [1, 40]))
    ]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("models") / "dense.onnx"
    onnx.save(model, str(path))
    return path


def inputs(count: int, samples: int = 1) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [{"x": random.random((samples, 6), dtype=np.float32)} for _ in range(count)]


def test_each_leaves_the_model_alone_and_computes_the_same(dense: Path, tmp_path: Path) -> None:
    content = dense.read_bytes()
    before = outputs_of(dense, SESSION, 1, inputs(3), {})
    for name in transformation_names():
        folder = tmp_path / name
        folder.mkdir()
        changed = transformation(name).apply(dense, folder, CONTEXT)
        assert changed.parent == folder
        after = outputs_of(changed, SESSION, 1, inputs(3), {})
        found = deviation(before, after, transformation(name).tolerance)
        assert found.is_within, name
        assert (found.sample_count, found.value_count) == (3, 120)
        assert found.top1_agreement == 1.0
    assert dense.read_bytes() == content
    assert (
        tmp_path / "external-data" / "dense.onnx.data"
    ).exists() is False  # 960 bytes of weights


def test_a_fixed_batch_becomes_any(dense: Path, tmp_path: Path) -> None:
    changed = transformation("dynamic-batch").apply(dense, tmp_path, CONTEXT)
    (samples,) = inputs(1, samples=4)
    (batch,) = outputs_of(changed, SESSION, 1, [samples], {})
    single = [{"x": row[np.newaxis]} for row in samples["x"]]
    alone = outputs_of(dense, SESSION, 1, single, {})
    found = deviation(alone, [[row[np.newaxis]] for row in batch[0]], 1e-6)
    assert found.is_within


def test_int8_weights_are_a_quarter_as_large(dense: Path, tmp_path: Path) -> None:
    changed = transformation("int8-dynamic").apply(dense, tmp_path, CONTEXT)
    kinds = {i.data_type for i in onnx.load(str(changed)).graph.initializer if len(i.dims) == 2}
    assert kinds == {onnx.TensorProto.INT8}


def test_a_model_without_dense_layers_cannot_be_quantised(tmp_path: Path) -> None:
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value], [helper.make_empty_tensor_value_info("y")])
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    with pytest.raises(TransformationError, match=r"relu\.onnx has no MatMul or Gemm"):
        transformation("int8-dynamic").apply(path, tmp_path, CONTEXT)
    with pytest.raises(TransformationError, match="not known which is the batch"):
        transformation("dynamic-batch").apply(path, tmp_path, ModelContext({}, None, {}, 1))
    path.write_bytes(b"no model")
    for name in transformation_names():
        with pytest.raises(TransformationError, match=r"relu\.onnx"):
            transformation(name).apply(path, tmp_path, CONTEXT)
