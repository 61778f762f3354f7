# SPDX-License-Identifier: Apache-2.0
"""src/sgxlens/_native.pyi describes the module that was built. If not: make stubs."""

import ast
from pathlib import Path

from sgxlens import _native

STUB = Path(__file__).parents[2] / "src/sgxlens/_native.pyi"


def _public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_the_stub_has_the_names_of_the_module() -> None:
    tree = ast.parse(STUB.read_text())
    stubbed: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            members = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            members += [
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
            members += [
                target.id
                for item in node.body
                if isinstance(item, ast.Assign)
                for target in item.targets
                if isinstance(target, ast.Name)
            ]
            stubbed[node.name] = _public(members)
        elif isinstance(node, ast.FunctionDef):
            stubbed[node.name] = set()
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stubbed[node.target.id] = set()
    built: dict[str, set[str]] = {}
    for name in _public(dir(_native)):
        value = getattr(_native, name)
        is_class = isinstance(value, type) and not issubclass(value, Exception)
        built[name] = _public(list(vars(value))) if is_class else set()
    assert stubbed == built
