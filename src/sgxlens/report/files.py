# SPDX-License-Identifier: Apache-2.0
"""Files that reports are written to: whole or not at all, and never over something else unasked."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from sgxlens.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def check_file(path: Path, *, force: bool) -> None:
    """Refuse a file that cannot or must not be written, before there is anything to lose.

    Raises:
        UsageError: it is there and `force` is not given, is a folder, or its folder is missing or
            read-only.
    """
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    _check_folder_of(path)
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} exists: give another name, or --force to replace it")


def check_folder(path: Path, *, force: bool) -> None:
    """Refuse a folder that cannot be made or must not be written into.

    Raises:
        UsageError: it is a file, holds anything and `force` is not given, or it cannot be made.
    """
    if os.path.lexists(path):
        if not path.is_dir():
            raise UsageError(f"cannot write into {path}: it is no folder")
        if not os.access(path, os.W_OK | os.X_OK):
            raise UsageError(f"cannot write into {path}: it is read-only")
        if not force and any(path.iterdir()):
            raise UsageError(
                f"{path} is not empty: give another folder, or --force to replace files in it"
            )
    else:
        _check_folder_of(path)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made if it is not there.

    Raises:
        UsageError: a file cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}") from error
    for name, content in contents.items():
        write_file(folder / name, content)


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    new = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with new.open("xb") as file:
            file.write(content)
        new.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)


def _check_folder_of(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {path}: its folder is read-only")
