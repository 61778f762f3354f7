# SPDX-License-Identifier: Apache-2.0
"""The networks of the published measurements, with random weights, in ONNX and in PyTorch.

SGX4ML (10.18420/BTW2023-44) publishes layers and sizes, not trained models. Taken here:

- Each fully connected layer and convolution has a bias, and ReLU after it, the last one softmax
  instead. With the biases the weights have the sizes published.
- AlexNet is the ungrouped one, whose weights have the 249.5 MB published: 227 x 227 pixels, 3 x 3
  maximum pooling with stride 2 after the first, second and fifth convolution, no local response
  normalisation, no dropout.

Weights are uniform, scaled by their inputs, so that no values of the inference are denormal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Convolution:
    """A square convolution with ReLU, and 3 x 3 maximum pooling with stride 2 where `is_pooled`."""

    channel_count: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    is_pooled: bool = False


@dataclass(frozen=True)
class Network:
    """Convolutions, then fully connected layers.

    Attributes:
        input_shape: of one example, without the batch.
        convolutions: may be none.
        output_counts: outputs of each fully connected layer.
    """

    input_shape: tuple[int, ...]
    convolutions: tuple[Convolution, ...]
    output_counts: tuple[int, ...]

    def weight_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each layer's weights: outputs, inputs, then those of the kernel."""
        shapes: list[tuple[int, ...]] = []
        channel_count, *size = self.input_shape
        for layer in self.convolutions:
            shapes.append((layer.channel_count, channel_count, *2 * [layer.kernel_size]))
            channel_count = layer.channel_count
            size = [_output_size(each, layer) for each in size]
        input_count = channel_count * math.prod(size)
        for output_count in self.output_counts:
            shapes.append((output_count, input_count))
            input_count = output_count
        return shapes

    def weight_bytes(self) -> int:
        """Size of all weights and biases in single precision."""
        return 4 * sum(math.prod(shape) + shape[0] for shape in self.weight_shapes())


def _output_size(size: int, layer: Convolution) -> int:
    size = (size + 2 * layer.padding - layer.kernel_size) // layer.stride + 1
    return (size - 3) // 2 + 1 if layer.is_pooled else size


NETWORKS = {
    "mlp": Network((784,), (), (100, 10)),
    "large_mlp": Network((784,), (), (4000, 2000, 1000, 10)),
    "alexnet": Network(
        (3, 227, 227),
        (
            Convolution(96, 11, stride=4, is_pooled=True),
            Convolution(256, 5, padding=2, is_pooled=True),
            Convolution(384, 3, padding=1),
            Convolution(384, 3, padding=1),
            Convolution(256, 3, padding=1, is_pooled=True),
        ),
        (4096, 4096, 1000),
    ),
}


def _weights(network: Network) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Weights and biases of each layer; the same each time."""
    random = np.random.default_rng(0)

    def draw(shape: tuple[int, ...], bound: float) -> npt.NDArray[np.float32]:
        values = random.random(shape, dtype=np.float32)
        return np.float32(2 * bound) * values - np.float32(bound)

    drawn = []
    for shape in network.weight_shapes():
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        drawn.append((draw(shape, bound), draw(shape[:1], bound)))
    return drawn


def write_onnx(name: str, path: Path) -> None:
    """Write the network of that name as an ONNX model whose first dimension is ``batch``."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    network = NETWORKS[name]
    nodes: list[Any] = []
    initializers = []
    value = "input"

    def add(kind: str, inputs: Sequence[str] = (), **attributes: Any) -> None:
        nonlocal value
        output = f"{kind.lower()}{len(nodes)}"
        nodes.append(helper.make_node(kind, [value, *inputs], [output], output, **attributes))
        value = output

    for number, (weights, biases) in enumerate(_weights(network)):
        names = f"weights{number}", f"biases{number}"
        for each, array in zip(names, (weights, biases), strict=True):
            initializers.append(numpy_helper.from_array(array, each))
        layer_number = number - len(network.convolutions)
        if layer_number < 0:
            layer = network.convolutions[number]
            pads, strides = 4 * [layer.padding], 2 * [layer.stride]
            add("Conv", names, kernel_shape=2 * [layer.kernel_size], pads=pads, strides=strides)
            add("Relu")
            if layer.is_pooled:
                add("MaxPool", kernel_shape=[3, 3], strides=[2, 2])
            continue
        if layer_number == 0 and network.convolutions:
            add("Flatten")
        add("Gemm", names, transB=1)
        is_last = layer_number == len(network.output_counts) - 1
        add("Softmax" if is_last else "Relu")
    shapes = (network.input_shape, network.output_counts[-1:])
    ends = [
        helper.make_tensor_value_info(each, TensorProto.FLOAT, ["batch", *shape])
        for each, shape in zip(("input", value), shapes, strict=True)
    ]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, path)


def _torch_network(name: str, batch: int) -> tuple[Any, Any]:
    """The network of that name as a module of PyTorch, and its input."""
    import torch
    from torch import nn

    network = NETWORKS[name]
    layers: list[nn.Module] = []
    for number, (weights, biases) in enumerate(_weights(network)):
        layer_number = number - len(network.convolutions)
        layer: nn.Module
        if layer_number < 0:
            told = network.convolutions[number]
            sizes = weights.shape[1], weights.shape[0], told.kernel_size, told.stride, told.padding
            layer = nn.Conv2d(*sizes)
        else:
            if layer_number == 0 and network.convolutions:
                layers.append(nn.Flatten())
            layer = nn.Linear(weights.shape[1], weights.shape[0])
        layer.weight = nn.Parameter(torch.from_numpy(weights))
        layer.bias = nn.Parameter(torch.from_numpy(biases))
        is_last = layer_number == len(network.output_counts) - 1
        layers += [layer, nn.Softmax(dim=1) if is_last else nn.ReLU()]
        if layer_number < 0 and told.is_pooled:
            layers.append(nn.MaxPool2d(3, 2))
    inputs = np.random.default_rng(1).random((batch, *network.input_shape), dtype=np.float32)
    return nn.Sequential(*layers), torch.from_numpy(inputs)


# What `sgxlens record --torch validation.networks:NAME` calls.


def mlp_b1() -> tuple[Any, Any]:
    """The MLP for one example."""
    return _torch_network("mlp", 1)


def large_mlp_b1() -> tuple[Any, Any]:
    """The large MLP for one example."""
    return _torch_network("large_mlp", 1)


def large_mlp_b16() -> tuple[Any, Any]:
    """The large MLP for 16 examples."""
    return _torch_network("large_mlp", 16)


def alexnet_b1() -> tuple[Any, Any]:
    """AlexNet for one picture."""
    return _torch_network("alexnet", 1)


def alexnet_b16() -> tuple[Any, Any]:
    """AlexNet for 16 pictures."""
    return _torch_network("alexnet", 16)
