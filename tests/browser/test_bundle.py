# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_bundle_is_built_from_its_sources(tmp_path: Path) -> None:
    if not (ROOT / "web/node_modules").is_dir() or shutil.which("node") is None:
        assert os.environ.get("CI") != "true", "continuous integration must have Node.js"
        pytest.skip("no Node.js packages: run tools/setup.sh dev")
    subprocess.run(["node", "web/build.mjs", str(tmp_path)], cwd=ROOT, check=True)
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = ROOT / "src/sgxlens/report/web"
    assert built == {path.name: path.read_bytes() for path in kept.iterdir()}, "run: make web"
