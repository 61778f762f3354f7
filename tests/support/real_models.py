# SPDX-License-Identifier: Apache-2.0
"""Recordings of known models, as a user makes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from commands import SGXLENS, run
from light_models import write_light_model

PATIENCE_SECONDS = 900.0
LIGHT_MODELS = ("squeezenet", "resnet50")
#: A transformer that is small and has all of its kinds of operators: without PyTorch's fast path,
#: which makes one operator of a layer.
TRANSFORMER = """
import torch

def build():
    torch.backends.mha.set_fastpath_enabled(False)
    torch.manual_seed(1)
    layer = torch.nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
    return torch.nn.TransformerEncoder(layer, 2), (torch.rand(1, 32, 128),)
"""
MODELS = (*LIGHT_MODELS, "transformer")


def record_model(name: str, folder: Path) -> Path:
    """Record one of `MODELS` in a folder."""
    if name in LIGHT_MODELS:
        write_light_model(name, folder / f"{name}.onnx")
        return record(folder, f"{name}.onnx")
    if importlib.util.find_spec("torch") is None:
        pytest.skip("no PyTorch here")
    (folder / "transformer.py").write_text(TRANSFORMER)
    return record(folder, "--torch", "transformer:build")


def record(folder: Path, *words: str | Path) -> Path:
    """What `sgxlens record` makes of `words` in a folder."""
    output = folder / "recording"
    line = (SGXLENS, "record", "-q", "-o", output, *words)
    done = run(*line, cwd=folder, patience_seconds=PATIENCE_SECONDS)
    assert done.status == 0, done.errors
    return output
