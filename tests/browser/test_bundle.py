# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_bundle_is_built_from_its_sources(tmp_path: Path, node: str) -> None:
    subprocess.run([node, "web/build.mjs", tmp_path], cwd=ROOT, check=True)
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = ROOT / "src/sgxlens/report/web"
    assert built == {path.name: path.read_bytes() for path in kept.iterdir()}, "run: make web"
