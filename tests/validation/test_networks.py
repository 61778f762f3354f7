# SPDX-License-Identifier: Apache-2.0
"""The networks in ONNX and in PyTorch are the same ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from validation import networks
from validation.networks import NETWORKS


def test_the_onnx_model_has_the_weights_of_the_network(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    networks.write_onnx("mlp", tmp_path / "mlp.onnx")
    model = onnx.load(str(tmp_path / "mlp.onnx"))
    onnx.checker.check_model(model)
    assert sum(len(t.raw_data) for t in model.graph.initializer) == NETWORKS["mlp"].weight_bytes()
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm", "Softmax"]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_and_pytorch_compute_the_same(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    module, inputs = getattr(networks, f"{name}_b1")()
    with torch.inference_mode():
        expected = module(inputs).numpy()
    networks.write_onnx(name, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(None, {"input": inputs.numpy()})
    assert found.shape == (1, NETWORKS[name].output_counts[-1])
    np.testing.assert_allclose(found, expected, rtol=1e-4)
