# SPDX-License-Identifier: Apache-2.0
"""Known networks as the package `onnx` has them for its tests, with weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def write_light_model(name: str, path: Path) -> int:
    """Write a model of the `onnx` package with random weights, which it has not; return bytes."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    model = onnx.load(str(folder / f"light_{name}.onnx"))
    graph = model.graph
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    generator = np.random.default_rng(7)
    kept = []
    weight_bytes = 0
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(size) for size in shapes[node.input[0]])
        if len(shape) > 1:
            weights = generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            weights = generator.uniform(0.5, 1.5, size=shape)
        tensor = onnx.numpy_helper.from_array(weights.astype(np.float32), node.output[0])
        graph.initializer.append(tensor)
        weight_bytes += weights.size * 4
    used = {name for node in kept for name in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.node[:]
    graph.node.extend(kept)
    named = {tensor.name for tensor in initializers}  # old models list weights as inputs, too
    inputs = [value for value in graph.input if value.name in used - named]
    del graph.input[:]
    graph.input.extend(inputs)
    onnx.save(model, str(path))
    return weight_bytes
