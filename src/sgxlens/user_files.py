# SPDX-License-Identifier: Apache-2.0
"""Reads files that users write, and refuses in one line what cannot be one of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sgxlens.errors import UsageError
from sgxlens.text import one_line
from sgxlens.units import format_bytes

_PATH_MAX = 200


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as messages have it."""
    return one_line(os.fspath(path), _PATH_MAX)


def read_user_file(
    path: str | os.PathLike[str], *, kind: str, size_max_bytes: int, wanted: str
) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        kind: what it should be, as in "platform".
        size_max_bytes: no such file is larger.
        wanted: what to give instead of what is no file, as in "a platform is a TOML file".

    Raises:
        UsageError: it cannot be read, is no regular file, or is larger.
    """
    where = shown_path(path)
    try:
        # A pipe or device would be waited for, or never end.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise UsageError(f"{where} is not a file: {wanted}")
        with Path(path).open("rb") as file:
            content = file.read(size_max_bytes + 1)
    except OSError as error:
        raise UsageError(f"cannot read {where}: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the path
        raise UsageError(f"cannot read {where}: {error}") from error
    if len(content) > size_max_bytes:
        raise UsageError(f"{where} is larger than {format_bytes(size_max_bytes)}: no {kind} is")
    return content
