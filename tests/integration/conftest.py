# SPDX-License-Identifier: Apache-2.0
"""Programs that tests of several files record."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings import PROGRAMS, compile_program
from sgxlens.advice.telemetry import SWITCH


@pytest.fixture(scope="session")
def behaviours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of many behaviours, each asked for by its name."""
    output = tmp_path_factory.mktemp("behaviours") / "behaviours"
    return compile_program([PROGRAMS / "behaviours.c"], output, "-pthread", "-ldl")


@pytest.fixture
def without_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime does not start its telemetry.

    Its thread keeps a database. What it does, up to 70 million accesses, may fall into any of the
    first inferences, and counts as an operator's that is open then, or as done between operators.
    """
    monkeypatch.setenv(SWITCH, "1")
