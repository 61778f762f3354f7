# SPDX-License-Identifier: Apache-2.0
"""Platform files of users: whatever they hold, they are read or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgxlens.enclave.data_files import (
    SIZE_MAX_BYTES,
    constants,
    load_data,
    parse_toml,
    validated_data,
)
from sgxlens.enclave.platform import Platform, load_platform
from sgxlens.errors import UsageError

SOURCE = Path(__file__).parents[2] / "src/sgxlens/enclave/platforms/xeon-e-2288g.toml"
CONTENT = SOURCE.read_bytes()
LINES = CONTENT.decode().splitlines()

VALUES = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.floats().map(repr),
    st.sampled_from(["true", '""', '"92M"', "1979-05-27", "[]", "{}", "[[1]]", "0x10", "1e999"]),
    st.text(max_size=20).map(lambda text: f"'''{text}'''"),
)


def _is_read_or_refused(content: bytes) -> Platform | None:
    platform, message = None, ""
    try:
        platform = validated_data(
            Platform, "platform", parse_toml(content, "mine.toml"), "mine.toml"
        )
    except UsageError as error:
        message = str(error)
    if platform is None:
        assert message.startswith("mine.toml: ")
        assert "\n" not in message
        assert len(message) < 700
        return None
    for constant in constants(platform):
        assert 0 <= constant.low <= constant.likely <= constant.high <= 1e18
        assert constant.name.startswith("platform.")
    return platform


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert _is_read_or_refused(content) is None


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, len(CONTENT) - 1), st.binary(max_size=3), st.integers(0, 40)),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_file_is_read_or_refused(damage: list[tuple[int, bytes, int]]) -> None:
    content = CONTENT
    for place, new, count in damage:
        content = content[:place] + new + content[place + count :]
    _is_read_or_refused(content)


@settings(max_examples=200)
@given(st.integers(0, len(LINES) - 1), VALUES)
def test_any_value_in_any_field_is_read_or_refused(line: int, value: str) -> None:
    key, is_field, _ = LINES[line].partition(" = ")
    changed = [*LINES[:line], f"{key} = {value}" if is_field else value, *LINES[line + 1 :]]
    _is_read_or_refused("\n".join(changed).encode("utf-8", "surrogateescape"))


@given(st.integers(1, 10**6), st.integers(0, 10**12), st.integers(0, 10**12))
def test_overrides_are_taken_or_refused(pages: int, epc: int, llc: int) -> None:
    platform = load_platform("xeon-gold-6326")
    changed = platform.overridden(epc_bytes=pages * 4096)
    assert changed.epc.usable_bytes.likely == pages * 4096
    if 4096 <= epc <= 4 << 40 and 12 * 64 <= llc <= 4 << 30:
        both = platform.overridden(epc_bytes=epc, llc_bytes=llc)
        assert (both.epc.usable_bytes.low, both.cache.llc_bytes.high) == (epc, llc)
    else:
        with pytest.raises(UsageError, match=r"^(EPC|LLC): "):
            platform.overridden(epc_bytes=epc, llc_bytes=llc)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "name: this field is missing"),
        (b"name = ", "not TOML: "),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "not TOML: "),
        (b"a." * 5000 + b"b = 1", ""),
    ],
)
def test_what_is_no_platform_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = _write(tmp_path / "mine.toml", content)
    with pytest.raises(UsageError) as caught:
        load_platform(path)
    assert caught.value.message.startswith(f"{path}: {message}")


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    cases: list[tuple[Any, str]] = [
        (_write(tmp_path / "huge.toml", b"#" * (SIZE_MAX_BYTES + 1)), "is larger than 1 MiB"),
        (tmp_path, "is not a file: a platform is a TOML file"),
        (Path("/dev/zero"), "is not a file"),
        ("./none.toml", "cannot read none.toml: No such file or directory"),
        ("a\0b.toml", "cannot read"),
        ("xeon", "no platform is called 'xeon': there are ice-lake-cloud, "),
        ("", "no platform is called ''"),
    ]
    for name_or_path, message in cases:
        with pytest.raises(UsageError) as caught:
            load_data(Platform, "platforms", name_or_path)
        assert message in caught.value.message
