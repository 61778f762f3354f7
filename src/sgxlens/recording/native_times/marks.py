# SPDX-License-Identifier: Apache-2.0
"""Reads what marks wrote in a native run: see ``tracer/include/sgxlens/mark.h``."""

from __future__ import annotations

import struct
from pathlib import Path

#: The environment variable that names the file.
VARIABLE = "SGXLENS_NATIVE_MARKS"

_HEAD = struct.Struct("<QQQ")  # time in nanoseconds of CLOCK_MONOTONIC, process id, size of name
_NAME_BYTES_MAX = 1000


def read_marks(path: Path, pid: int) -> list[tuple[int, str]]:
    """The marks of process `pid`: time in nanoseconds of CLOCK_MONOTONIC, and name.

    What follows a record that cannot be one (a process was killed while it wrote) is left out.
    """
    content = path.read_bytes()
    marks = []
    position = 0
    while position + _HEAD.size <= len(content):
        time_ns, writer, size = _HEAD.unpack_from(content, position)
        position += _HEAD.size
        if size > _NAME_BYTES_MAX or position + size > len(content):
            break
        if writer == pid:
            name = content[position : position + size]
            marks.append((time_ns, name.decode("utf-8", "backslashreplace")))
        position += size
    return marks
