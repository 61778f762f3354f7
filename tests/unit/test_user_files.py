# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from sgxlens.errors import UsageError
from sgxlens.user_files import read_user_file


def read(path: Path | str) -> bytes:
    return read_user_file(path, kind="platform", size_max_bytes=8, wanted="give a platform")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345678")
    assert read(tmp_path / "f") == b"12345678"


def test_what_cannot_be_one_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"123456789")
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "is not a file: give a platform"),
        (tmp_path / "pipe", "is not a file"),
        (tmp_path / "large", "is larger than 8 B: no platform is"),
        ("\0", "cannot read"),
    ):
        with pytest.raises(UsageError, match=message):
            read(path)
