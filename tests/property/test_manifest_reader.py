# SPDX-License-Identifier: Apache-2.0
"""Manifests of users: whatever they hold, they are looked at or refused in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sgxlens
from sgxlens.configuration.reading.positions import json_places, toml_places
from sgxlens.configuration.values import toml_string
from sgxlens.enclave.platform import load_platform
from sgxlens.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFESTS = [
    path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "unit/configuration/manifests").iterdir())
]
PLATFORM = load_platform("xeon-e-2288g")
OCCLUM = b'{"resource_limits": {"user_space_size": "1GB"}, "env": {"default": ["A=1"]}}'
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests") / "app.manifest"


def is_looked_at_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        report = sgxlens.lint(path, platform=PLATFORM)
    except UsageError as error:
        message = error.message
    else:
        message = ""
        assert not report.broken
        lines = content.count(b"\n") + 1
        assert all(1 <= one.finding.line <= lines for one in report.found)
    assert not message or str(path) in message
    assert len(message) < 900


@given(st.binary(max_size=200))
@settings(max_examples=15)
def test_any_bytes(path: Path, content: bytes) -> None:
    is_looked_at_or_refused(path, content)


@given(
    st.sampled_from([*MANIFESTS, OCCLUM]),
    st.lists(
        st.tuples(
            st.integers(0, 2000),
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b"{{", b"}}", b"{%", b"%}", b'"', b"[[", b"]", b"=", b"\n", b"#"]),
            ),
            st.integers(0, 30),
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=40)
def test_a_damaged_manifest(
    path: Path, content: bytes, damage: list[tuple[int, bytes, int]]
) -> None:
    for place, new, count in damage:
        at = place % len(content) if content else 0
        content = content[:at] + new + content[at + count :]
    is_looked_at_or_refused(path, content)


@given(st.sampled_from(MANIFESTS), st.integers(0, 100), VALUES)
@settings(max_examples=40)
def test_any_value_of_any_key(path: Path, content: bytes, index: int, value: Any) -> None:
    lines = content.decode().splitlines()
    at = index % len(lines)
    key, is_pair, _ = lines[at].partition(" = ")
    text = as_toml(value)
    lines[at] = f"{key} = {text}" if is_pair else f"  {text},"
    is_looked_at_or_refused(path, "\n".join(lines).encode("utf-8", "replace"))


@given(st.dictionaries(st.sampled_from(["resource_limits", "env", "entry_points", "x"]), VALUES))
@settings(max_examples=15)
def test_any_occlum_json(path: Path, values: dict[str, Any]) -> None:
    is_looked_at_or_refused(path, json.dumps(values).encode())


def as_toml(value: Any) -> str:
    """Any value as TOML; what TOML has not becomes an empty string."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_string(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else "0.5"
    return toml_string(value or "") if not isinstance(value, int) else str(value)


def placed(place: tuple[str | int, ...], value: Any) -> set[tuple[str | int, ...]]:
    """Places of all that a value holds."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = {place} if place else set()
    return found.union(*(placed((*place, key), item) for key, item in items))


NAMES = st.sampled_from(["a", "b-c", "d e", "f.g", "é", '"', "\\", "\t"])
TABLES = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, TABLES, max_size=4))
@settings(max_examples=40)
def test_every_key_and_element_has_its_place(values: dict[str, Any]) -> None:
    text = "".join(f"{toml_string(k)} = {as_toml(v)} # {{ [ '\n" for k, v in values.items())
    assert tomllib.loads(text) == values
    assert set(toml_places(text)) == placed((), values)
    assert set(json_places(json.dumps(values, indent=1))) == placed((), values)
