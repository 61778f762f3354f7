# SPDX-License-Identifier: Apache-2.0
"""Programs that tests of several files record."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings import PROGRAMS, compile_program


@pytest.fixture(scope="session")
def behaviours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of many behaviours, each asked for by its name."""
    output = tmp_path_factory.mktemp("behaviours") / "behaviours"
    return compile_program([PROGRAMS / "behaviours.c"], output, "-pthread", "-ldl")
