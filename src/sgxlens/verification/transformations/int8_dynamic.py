# SPDX-License-Identifier: Apache-2.0
"""Weights of dense layers as int8, activations quantised as they come (dynamic quantisation).

By ``onnxruntime.quantization.quantize_dynamic``, of MatMul and Gemm (which becomes a MatMul).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sgxlens.verification.transformations.contract import (
    Transformation,
    TransformationError,
)
from sgxlens.verification.transformations.onnx_files import loaded, told

if TYPE_CHECKING:
    from pathlib import Path

    from sgxlens.verification.transformations.contract import ModelContext

_DENSE = ("MatMul", "Gemm")
_QUANTISED = ("MatMulInteger", "DynamicQuantizeMatMul", "QGemm", "MatMulIntegerToFloat")


def apply(source: Path, folder: Path, context: ModelContext) -> Path:  # noqa: ARG001 -- the contract
    """Write the model with int8 weights."""
    before = {node.op_type for node in loaded(source).graph.node}
    if before.isdisjoint(_DENSE):
        raise TransformationError(
            f"{source.name} has no MatMul or Gemm, whose weights dynamic quantisation makes int8"
        )
    target = folder / source.name
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise TransformationError(
            f"quantisation needs onnxruntime and onnx ({error}): pip install 'sgxlens[onnx]'"
        ) from error
    # It warns of what does not concern dynamic quantisation.
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            str(source), str(target), op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8
        )
    except Exception as error:
        raise TransformationError(
            f"ONNX Runtime cannot quantise {source.name}: {told(error)}"
        ) from error
    finally:
        logging.disable(previous)
    after = {node.op_type for node in loaded(target).graph.node}
    if after.isdisjoint(_QUANTISED):
        raise TransformationError(
            f"no MatMul or Gemm of {source.name} has weights that ONNX Runtime quantises"
        )
    return target


TRANSFORMATION = Transformation("int8-dynamic", "int8 weights of dense layers", 0.05, apply)
