# SPDX-License-Identifier: Apache-2.0
import struct
from pathlib import Path

import pytest

from sgxlens.recording.native_times.marks import read_marks


def _record(time_ns: int, pid: int, name: bytes) -> bytes:
    return struct.pack("<QQQ", time_ns, pid, len(name)) + name


def test_marks_of_one_process_are_read(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    path.write_bytes(
        _record(5, 1, b"a") + _record(6, 2, b"b") + _record(7, 1, b"") + _record(8, 1, b"\xff")
    )
    assert read_marks(path, 1) == [(5, "a"), (7, ""), (8, "\\xff")]
    assert read_marks(path, 3) == []


@pytest.mark.parametrize(
    "end", [b"\0" * 23, _record(9, 1, b"abc")[:-1], _record(9, 1, b"x" * 1001)]
)
def test_a_torn_end_is_left_out(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "marks"
    path.write_bytes(_record(5, 1, b"a") + end)
    assert read_marks(path, 1) == [(5, "a")]
