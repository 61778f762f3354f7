# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sgxlens.verification.transformations import ModelContext, transformation


def test_an_optimised_model_is_of_no_processor(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.ones((32, 16, 3, 3), dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", floats, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("y", floats, [1, 32, 6, 6])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    source = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), source)
    folder = tmp_path / "changed"
    folder.mkdir()
    session = {"graph_optimization": "all", "config": {}}
    context = ModelContext({"x": (1, 16, 8, 8)}, 1, session, 1)
    found = onnx.load(transformation("optimized").apply(source, folder, context)).graph
    # Fused, but without the reorders of a layout in blocks of 8 or 16 channels.
    assert [node.op_type for node in found.node] == ["FusedConv"]
