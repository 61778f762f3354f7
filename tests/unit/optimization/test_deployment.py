# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sgxlens.optimization.deployment import check_output, loader_text, new_folder


def test_the_loader_imports_nothing_of_sgxlens_but_its_mark() -> None:
    tree = ast.parse(loader_text("model.ort"))
    found = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert found == {"__future__", "collections.abc", "typing", "json", "os", "sys", "time",
                     "sgxlens", "numpy", "onnxruntime"}  # fmt: skip
    assert '"model.ort"' in loader_text("model.ort")


def test_a_folder_is_written_whole_or_is_what_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), new_folder(folder):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with new_folder(folder):
        (folder / "report.json").write_text('{"schema": "sgxlens-optimize"}')
    check_output(folder, force=True)
    with pytest.raises(RuntimeError), new_folder(folder):
        raise RuntimeError
    assert [entry.name for entry in folder.iterdir()] == ["report.json"]
    assert list(tmp_path.iterdir()) == [folder]
    # As after SIGKILL: what was replaced is not lost by the next failure.
    folder.rename(tmp_path / ".sgxlens-old-out")
    folder.mkdir()
    (folder / "UNFINISHED").write_text("")
    check_output(folder, force=False)
    with pytest.raises(RuntimeError), new_folder(folder):
        raise RuntimeError
    assert [entry.name for entry in folder.iterdir()] == ["report.json"]
