# SPDX-License-Identifier: Apache-2.0
"""What a recorded program sees of the recorder in its environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recordings import needs_tracer

pytestmark = needs_tracer
RECORD = """
import sys
from sgxlens.cli.main import main
sys.exit(main(["record", *sys.argv[1:]]))
"""
# Valgrind's own.
TRACER_VARIABLES = {"LD_PRELOAD", "VALGRIND_LIB", "VALGRIND_LAUNCHER"}


@pytest.mark.parametrize("settings", [{}, {"LC_CTYPE": "C.UTF-8"}, {"LC_ALL": "C", "A": "b c"}])
def test_environment_is_passed_on_as_it_is(settings: dict[str, str], tmp_path: Path) -> None:
    settings = {"PATH": "/usr/bin:/bin", **settings}
    output = str(tmp_path / "recording")
    done = subprocess.run(
        [sys.executable, "-c", RECORD, "--quiet", "-o", output, "--", "env"],
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {name: v for name, v in seen.items() if name not in TRACER_VARIABLES} == settings
