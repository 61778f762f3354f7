# SPDX-License-Identifier: Apache-2.0
"""Entries of ``sgx.trusted_files`` and ``sgx.allowed_files`` that stand for no file."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.listed import listed_uris
from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.reading.document import is_known
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_PATTERN = re.compile(r"[*?]|\[[^\]]*\]")
#: Where programs and libraries of a distribution lie.
_SYSTEM = re.compile(r"(?:/usr(?:/local)?)?(?:/s?bin|/lib(?:32|64)?(?:/x86_64-linux-gnu)?)|/usr|/")
_CODE = re.compile(r".*(?:\.so(?:\.[0-9.]+)?|\.pyc?|\.sh|\.jar)")


def find(subject: Subject) -> Iterator[Finding]:
    """Patterns, folders without a slash, what is listed twice, and code that is only allowed."""
    trusted = {uri for _, uri in listed_uris(subject.document, "trusted_files")}
    opened = () if subject.observed is None else subject.observed.program.files
    folders = {f"file:{folder}" for path in opened for folder in PurePosixPath(path).parents}
    for key in ("trusted_files", "allowed_files"):
        counts: Counter[str] = Counter()
        for place, uri in listed_uris(subject.document, key):
            counts[uri] += 1
            shown = one_line(uri, 100)
            if not is_known(uri):
                continue
            if _PATTERN.search(uri):
                yield subject.found(
                    "error",
                    place,
                    f'"{shown}" is a pattern',
                    "Gramine knows no patterns: it takes it for the name of one file.",
                    "Give the folder, with a / at the end, or each file.",
                )
            elif key == "trusted_files" and (uri in folders or _is_folder(subject, uri)):
                opened_there = ", of which the recorded program opened files"
                yield subject.found(
                    "error",
                    place,
                    f'"{shown}" is a folder{opened_there if uri in folders else ""}',
                    "gramine-sgx-sign refuses a folder without a / at the end.",
                    "Add the slash.",
                    f'"{uri}/",',
                )
            elif key == "allowed_files" and uri in trusted:
                yield subject.found(
                    "warning",
                    place,
                    f'"{shown}" is both trusted and allowed',
                    "What is allowed can be changed by the host, what is trusted cannot: only one"
                    " of them holds.",
                    "Keep one of the entries.",
                )
            elif key == "allowed_files" and (_CODE.fullmatch(uri) or _is_of_system(uri)):
                is_one = _CODE.fullmatch(uri) is not None
                yield subject.found(
                    "warning",
                    place,
                    f'"{shown}" is code, and only allowed'
                    if is_one
                    else f'"{shown}" holds programs and libraries, and is only allowed',
                    "The host can put other code in its place, which then sees all secrets.",
                    "Trust it (sgx.trusted_files).",
                )
            if counts[uri] == 2:
                yield subject.found(
                    "note",
                    place,
                    f'"{shown}" is listed twice in sgx.{key}',
                    "Nothing; a later change may be made to one of them only.",
                    "Remove one.",
                )


def _is_folder(subject: Subject, uri: str) -> bool:
    """Whether a URI without a slash at its end names a folder on this machine."""
    path = uri.removeprefix("file:")
    if path.endswith("/"):
        return False
    # What Gramine's packages install need not be here.
    return (
        path.endswith(("/runtime/glibc", "/runtime/musl"))
        or Path(subject.document.folder, path).is_dir()
    )


def _is_of_system(uri: str) -> bool:
    path = posixpath.normpath(uri.removeprefix("file:").replace("//", "/"))
    return path == "." or _SYSTEM.fullmatch(path) is not None


CHECK = Check("file_uris", "entries that stand for no file, or for code", ("gramine",), find)
