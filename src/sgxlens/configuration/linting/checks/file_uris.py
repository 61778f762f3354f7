# SPDX-License-Identifier: Apache-2.0
"""Entries of ``sgx.trusted_files`` and ``sgx.allowed_files`` that stand for no file."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
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
            elif key == "trusted_files" and uri in folders:
                yield subject.found(
                    "error",
                    place,
                    f'"{shown}" is a folder, of which the recorded program opened files',
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
            elif key == "allowed_files" and _CODE.fullmatch(uri):
                yield subject.found(
                    "warning",
                    place,
                    f'"{shown}" is code, and only allowed',
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


CHECK = Check("file_uris", "entries that stand for no file, or for code", ("gramine",), find)
