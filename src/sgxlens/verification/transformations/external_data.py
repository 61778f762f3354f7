# SPDX-License-Identifier: Apache-2.0
"""Weights in a file beside the model, which ONNX Runtime maps instead of parsing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.verification.transformations.contract import Transformation
from sgxlens.verification.transformations.onnx_files import loaded, saved

if TYPE_CHECKING:
    from pathlib import Path

    from sgxlens.verification.transformations.contract import ModelContext


def apply(source: Path, folder: Path, context: ModelContext) -> Path:  # noqa: ARG001 -- the contract
    """Write the model, and its weights beside it."""
    return saved(loaded(source), folder / source.name, external=True)


TRANSFORMATION = Transformation("external-data", "weights in a file of their own", 1e-6, apply)
