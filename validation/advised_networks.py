# SPDX-License-Identifier: Apache-2.0
"""Networks of different kinds that advice is verified with, with random weights, as ONNX models.

Beside AlexNet (`validation.networks`), most of whose weights are of dense layers:

- ``resnet50``: convolutions, and hardly a dense layer. Layers and sizes are those of the 50-layer
  network of He et al., "Deep Residual Learning for Image Recognition" (10.1109/CVPR.2016.90), with
  batch normalisation folded into the convolutions.
- ``transformer``: an encoder of 4 layers as in "BERT" (10.18653/v1/N19-1423), of the width of its
  base model, for 32 tokens. Its matrices are multiplied by activations of all tokens.

Weights are uniform, scaled by their inputs, so that no values of the inference are denormal.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from validation import networks

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("alexnet", "resnet50", "transformer")
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
_LAYERS, _WIDTH, _HEADS, _INNER, _TOKENS, _VOCABULARY = 4, 768, 12, 3072, 32, 4096


class _Graph:
    """A graph in the making; `add` returns the name of what a node puts out."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._random = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def weights(self, *shape: int, fan_in: int | None = None) -> str:
        """Uniform weights; `fan_in`: products that are added up to an output."""
        bound = 1 / math.sqrt(fan_in or shape[0])
        values = self._random.random(shape, dtype=np.float32)
        return self.constant(np.float32(2 * bound) * values - np.float32(bound))

    def constant(self, array: Any) -> str:
        from onnx import numpy_helper

        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def save(self, path: Path, value: Any, output: str, shape: Sequence[Any]) -> None:
        from onnx import TensorProto, helper, save_model

        end = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, path.stem, [value], [end], self.initializers)
        opset = helper.make_opsetid("", 17)
        save_model(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def write(name: str, path: Path) -> None:
    """Write the network of that name, of `NAMES`; the first dimension is ``batch``."""
    if name == "alexnet":
        networks.write_onnx(name, path)
    elif name == "resnet50":
        _write_resnet50(path)
    else:
        _write_transformer(path)


def _write_resnet50(path: Path) -> None:
    from onnx import TensorProto, helper

    graph = _Graph()

    def convolution(value: str, before: int, after: int, size: int, stride: int = 1) -> str:
        fan_in = before * size * size
        weights = graph.weights(after, before, size, size, fan_in=fan_in)
        bias = graph.weights(after, fan_in=fan_in)
        pads = 4 * [size // 2]
        return graph.add("Conv", value, weights, bias, pads=pads, strides=2 * [stride])

    value = graph.add("Relu", convolution("input", 3, 64, 7, 2))
    value = graph.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=4 * [1])
    channels = 64
    for stage, (width, count) in enumerate(_STAGES):
        for block in range(count):
            stride = 2 if stage and not block else 1
            found = graph.add("Relu", convolution(value, channels, width, 1))
            found = graph.add("Relu", convolution(found, width, width, 3, stride))
            found = convolution(found, width, 4 * width, 1)
            if not block:
                value = convolution(value, channels, 4 * width, 1, stride)
            channels = 4 * width
            value = graph.add("Relu", graph.add("Add", found, value))
    value = graph.add("Flatten", graph.add("GlobalAveragePool", value))
    value = graph.add("Gemm", value, graph.weights(channels, 1000), graph.weights(1000))
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 224, 224])
    graph.save(path, given, graph.add("Softmax", value), ["batch", 1000])


def _write_transformer(path: Path) -> None:
    from onnx import TensorProto, helper

    graph = _Graph()
    heads = graph.constant(np.array([0, 0, _HEADS, _WIDTH // _HEADS]))
    joined = graph.constant(np.array([0, 0, _WIDTH]))
    scale = graph.constant(np.array(1 / math.sqrt(_WIDTH // _HEADS), dtype=np.float32))
    ones = graph.constant(np.ones(_WIDTH, dtype=np.float32))
    zeros = graph.constant(np.zeros(_WIDTH, dtype=np.float32))

    def dense(value: str, before: int, after: int) -> str:
        product = graph.add("MatMul", value, graph.weights(before, after))
        return graph.add("Add", product, graph.weights(after))

    def in_heads(value: str) -> str:
        return graph.add("Transpose", graph.add("Reshape", value, heads), perm=[0, 2, 1, 3])

    def normalised(value: str, other: str) -> str:
        return graph.add("LayerNormalization", graph.add("Add", value, other), ones, zeros)

    table = graph.weights(_VOCABULARY, _WIDTH, fan_in=1)
    value = graph.add("Add", graph.add("Gather", table, "tokens"), graph.weights(_TOKENS, _WIDTH))
    for _ in range(_LAYERS):
        query, key, content = (in_heads(dense(value, _WIDTH, _WIDTH)) for _ in range(3))
        scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
        shares = graph.add("Softmax", graph.add("Mul", scores, scale))
        found = graph.add("Transpose", graph.add("MatMul", shares, content), perm=[0, 2, 1, 3])
        found = dense(graph.add("Reshape", found, joined), _WIDTH, _WIDTH)
        value = normalised(value, found)
        inner = dense(value, _WIDTH, _INNER)
        inner = graph.add("Mul", inner, graph.add("Sigmoid", inner))
        value = normalised(value, dense(inner, _INNER, _WIDTH))
    given = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", _TOKENS])
    graph.save(path, given, value, ["batch", _TOKENS, _WIDTH])
