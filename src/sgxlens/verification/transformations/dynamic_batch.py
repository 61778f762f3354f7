# SPDX-License-Identifier: Apache-2.0
"""A model whose first dimension is fixed, made to take any number of samples.

The first dimension of inputs and outputs gets a name, shapes that the graph keeps of what lies
between are dropped, and a Reshape to a constant shape that begins with the number of samples takes
that dimension from its input. Whether the model then computes each sample as before is not certain:
`sgxlens.verification` compares the outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgxlens.verification.transformations.contract import (
    Transformation,
    TransformationError,
)
from sgxlens.verification.transformations.onnx_files import loaded, saved

if TYPE_CHECKING:
    from pathlib import Path

    from sgxlens.verification.transformations.contract import ModelContext

_NAME = "batch"


def apply(source: Path, folder: Path, context: ModelContext) -> Path:
    """Write the model with a first dimension that is open."""
    if context.sample_count is None:
        raise TransformationError(
            "the inputs do not have one first dimension, so that it is not known which is the batch"
        )
    model = loaded(source)
    graph = model.graph
    weights = {constant.name: constant for constant in graph.initializer}
    for value in (*graph.input, *graph.output):
        if value.name not in weights:
            _open(value, context.sample_count)
    del graph.value_info[:]
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[0] not in weights:
            _take_batch_from_input(graph, weights, node, context.sample_count)
    return saved(model, folder / source.name)


TRANSFORMATION = Transformation("dynamic-batch", "an open first dimension", 1e-4, apply)


def _open(value: Any, sample_count: int) -> None:
    shape = value.type.tensor_type.shape
    # One with a name takes any number already.
    if shape.dim and shape.dim[0].HasField("dim_value") and shape.dim[0].dim_value == sample_count:
        shape.dim[0].dim_param = _NAME


def _take_batch_from_input(
    graph: Any, weights: dict[str, Any], node: Any, sample_count: int
) -> None:
    from onnx import numpy_helper

    name = node.input[1]
    if name in weights:
        holder, attribute = weights[name], None
    else:
        found = (n for n in graph.node if n.op_type == "Constant" and n.output[0] == name)
        constant = next(found, None)
        attribute = (
            next((a for a in constant.attribute if a.name == "value"), None)
            if (constant is not None)
            else None
        )
        if attribute is None:
            return
        holder = attribute.t
    shape = numpy_helper.to_array(holder).copy()
    zero_is_zero = any(a.name == "allowzero" and a.i for a in node.attribute)
    if not shape.size or shape[0] != sample_count or zero_is_zero:
        return
    shape[0] = 0
    # Others may share the constant: this node gets one of its own.
    own = f"{node.name or node.output[0]}.shape_of_any_batch"
    graph.initializer.append(numpy_helper.from_array(shape, own))
    node.input[1] = own
