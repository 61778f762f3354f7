# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import paged
from advised import Make


@pytest.fixture
def make(make_recording: Callable[..., Path]) -> Make:
    """A function that writes a recording of `paged`, with some tables replaced."""

    def written(kind: str = "MatMul", fields: Any = None, passes: int = 1, **tables: Any) -> Path:
        return make_recording(
            {**paged.tables(kind, passes), **tables}, force=True, **paged.metadata(**(fields or {}))
        )

    return written
