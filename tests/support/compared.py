# SPDX-License-Identifier: Apache-2.0
"""Pairs of recordings for tests: `predictable`, and the same after a change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import predictable

MakeRecording = Callable[..., Path]


def model_target(batch: int, **fields: Any) -> dict[str, Any]:
    """``target`` of a recording of a model that takes images."""
    inputs = [{"name": "data", "type": "float32", "shape": [batch, 3, 224, 224]}]
    return {"kind": "onnx", "model": "/models/net.onnx", "inputs": inputs, **fields}


def make_pair(
    make_recording: MakeRecording,
    tables: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    *,
    slower: float = 1.0,
) -> tuple[str, str]:
    """Two recordings: as `predictable`, and with some tables and fields replaced.

    Native times of the second are `slower` times as long.
    """
    changed = {**predictable.tables(), **(tables or {})}
    if "native_times" in changed:
        changed["native_times"] = [
            {**row, "seconds": row["seconds"] * slower} for row in changed["native_times"]
        ]
    first = make_recording(predictable.tables(), "before", **predictable.metadata())
    second = make_recording(changed, "after", **{**predictable.metadata(), **(fields or {})})
    return str(first), str(second)
