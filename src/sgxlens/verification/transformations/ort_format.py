# SPDX-License-Identifier: Apache-2.0
"""The model in ONNX Runtime's own format: optimised offline, and used without parsing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.verification.transformations.contract import Transformation
from sgxlens.verification.transformations.onnx_files import rewritten

if TYPE_CHECKING:
    from pathlib import Path

    from sgxlens.verification.transformations.contract import ModelContext


def apply(source: Path, folder: Path, context: ModelContext) -> Path:
    """Write the model as ``.ort``."""
    target = folder / f"{source.stem}.ort"
    return rewritten(source, target, context, {"session.save_model_format": "ORT"})


TRANSFORMATION = Transformation("ort-format", "ONNX Runtime's own format", 1e-4, apply)
