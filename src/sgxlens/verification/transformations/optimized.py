# SPDX-License-Identifier: Apache-2.0
"""The graph as ONNX Runtime would rewrite it at each load, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.verification.transformations.contract import Transformation
from sgxlens.verification.transformations.onnx_files import rewritten

if TYPE_CHECKING:
    from pathlib import Path

    from sgxlens.verification.transformations.contract import ModelContext


def apply(source: Path, folder: Path, context: ModelContext) -> Path:
    """Write the optimised model."""
    return rewritten(source, folder / source.name, context)


TRANSFORMATION = Transformation("optimized", "the graph optimised before it is loaded", 1e-4, apply)
