# SPDX-License-Identifier: Apache-2.0
"""Files of a recorded program: what a runtime takes them for, how large they are.

A recording holds the paths and results of system calls, not the files. What it does not tell is
taken from the files as they lie on this machine, if they are no younger than the recording, and is
counted, so that whoever shows the result can say so.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from sgxlens.enclave.quantities import Range
from sgxlens.errors import UsageError
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sgxlens.enclave.runtime import Files


#: Kinds that the user gives; where patterns of several match, the first one holds.
_KINDS = ("encrypted", "allowed", "trusted", "tmpfs")


@dataclass(frozen=True)
class FileKinds:
    """What the user says of files, as patterns of absolute paths; the rest is the runtime's to say.

    In a pattern ``*`` is any text without a ``/``, ``**`` any text, ``?`` one character; a pattern
    that ends with ``/`` is of everything below, as in Gramine's manifest. A file that several
    patterns match is encrypted before allowed before trusted before tmpfs.

    Attributes:
        trusted: hashed by the manifest.
        allowed: read and written on the host as they are.
        encrypted: sealed by the runtime.
        tmpfs: kept in the memory of the enclave.
        look_on_disk: take from this machine what the recording does not tell of files: sizes,
            entries of directories, which folders exist.

    Raises:
        UsageError: a pattern is not absolute, or is given for several kinds.
    """

    trusted: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    encrypted: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    look_on_disk: bool = True

    def __post_init__(self) -> None:
        for pattern in (*self.trusted, *self.allowed, *self.encrypted, *self.tmpfs):
            if not pattern.startswith(("/", "*")):
                raise UsageError(
                    f"pattern {one_line(pattern, 60)!r} of files should start with / or *"
                )
        for one, other in combinations(_KINDS, 2):
            for pattern in {*getattr(self, one)} & {*getattr(self, other)}:
                raise UsageError(
                    f"files {one_line(pattern, 60)!r} cannot be both {one} and {other}: give one"
                )

    def kind_of(self, path: str) -> str | None:
        """The kind that the user gives a file; None: none."""
        return next((kind for kind, pattern in self._patterns if pattern.fullmatch(path)), None)

    @cached_property
    def _patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        return tuple((kind, matcher(getattr(self, kind))) for kind in _KINDS if getattr(self, kind))


def matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """A regular expression for the paths that one of some patterns matches."""
    return re.compile("|".join(map(_translated, patterns)) or "(?!)", re.DOTALL)


def _translated(pattern: str) -> str:
    if pattern.endswith("/"):
        pattern += "**"
    below = pattern.endswith("/**")
    if below:
        pattern = pattern.removesuffix("/**")
    # Runs of stars are one: alternatives that all match would take for ever to fail.
    pieces = re.split(r"(\*+|\?)", pattern)
    text = "".join(
        {"*": "[^/]*", "?": "[^/]"}.get(piece, ".*" if piece.startswith("**") else re.escape(piece))
        for piece in pieces
    )
    return text + "(?:/.*)?" if below else text


@dataclass(eq=False)
class KnownFile:
    """What a recording tells of one path.

    Attributes:
        path: absolute, without ``.`` and ``..``; below ``.`` where the working directory is not
            known.
        exists: it was there at some time.
        is_directory: None: not known.
        is_written: it is opened for writing or changed.
        read_end_bytes: where reading it ended at most; the file is at least as large.
        size_bytes: its size, where a read or seek met its end.
    """

    path: str
    exists: bool = False
    is_directory: bool | None = None
    is_written: bool = False
    read_end_bytes: int = 0
    size_bytes: int | None = None

    def note_read(self, offset: int, asked: int, result: int) -> None:
        """A read or mapping of `asked` bytes found `result` bytes."""
        if result > 0:
            self.read_end_bytes = max(self.read_end_bytes, offset + result)
        if 0 <= result < asked and (result > 0 or offset == self.read_end_bytes):
            self.size_bytes = offset + result


class FileSize(NamedTuple):
    """The size of a file.

    Attributes:
        size_bytes: the size.
        known_from: ``recording``; ``disk``: from this machine; ``reads``: only what is read of it
            is known; ``nothing``.
    """

    size_bytes: Range
    known_from: Literal["recording", "disk", "reads", "nothing"]


class Disk:
    """The files of this machine, as far as they tell of a recording."""

    def __init__(self, created: datetime, *, look: bool) -> None:
        self._look = look
        self._before = created.timestamp()
        self._stats: dict[str, os.stat_result | None] = {}

    def exists(self, path: str) -> bool | None:
        """Whether a path is there; None: nobody looks."""
        return self._stat(path) is not None if self._look else None

    def is_directory(self, path: str) -> bool | None:
        """Whether it is a folder; None: it is not there."""
        found = self._stat(path)
        return None if found is None else stat.S_ISDIR(found.st_mode)

    def size(self, file: KnownFile) -> FileSize:
        """The size of a file, as the recording or this machine tells."""
        if file.size_bytes is not None:
            return FileSize(Range.exact(file.size_bytes), "recording")
        found = self._stat(file.path)
        if (
            found is not None
            and stat.S_ISREG(found.st_mode)
            and found.st_size >= file.read_end_bytes
            and found.st_mtime <= self._before
        ):
            return FileSize(Range.exact(found.st_size), "disk")
        if file.read_end_bytes:
            # What is read of a library or model is most of it.
            read = file.read_end_bytes
            return FileSize(Range(read, read, 2 * read), "reads")
        return FileSize(Range.exact(0), "nothing")

    def entries(self, path: str, size_bytes: int) -> tuple[str, ...] | None:
        """The names in a folder, if they are those that took so many bytes in getdents64."""
        if not self._look or not size_bytes or not path.startswith("/"):
            return None
        try:
            names = os.listdir(path)
        except (OSError, ValueError):
            return None
        # The 19 bytes before the name, the name and its zero, filled up to 8.
        found = sum((19 + len(os.fsencode(name)) + 8) // 8 * 8 for name in (".", "..", *names))
        return tuple(names) if found == size_bytes else None

    def _stat(self, path: str) -> os.stat_result | None:
        if not self._look or not path.startswith("/"):
            return None
        if path not in self._stats:
            try:
                self._stats[path] = Path(path).stat()
            except (OSError, ValueError):
                self._stats[path] = None
        return self._stats[path]


class Classifier:
    """Says what files are: by the user's patterns, the runtime's, and what is done with them."""

    def __init__(self, kinds: FileKinds, files: Files, disk: Disk) -> None:
        self._kinds = kinds
        self._files = files
        self._disk = disk
        self._pseudo = matcher(files.pseudo)
        self._tmpfs = matcher(files.tmpfs)
        self._inside: dict[str, str | None] = {}

    def inside_kind(self, path: str) -> str | None:
        """``tmpfs`` or ``pseudo``; None: it would be on the host."""
        if path not in self._inside:
            given = self._kinds.kind_of(path)
            found = None
            if given is not None:
                found = given if given == "tmpfs" else None
            elif self._tmpfs.fullmatch(path):
                found = "tmpfs"
            elif self._pseudo.fullmatch(path):
                found = "pseudo"
            self._inside[path] = found
        return self._inside[path]

    def unused_patterns(self, paths: Iterable[str]) -> list[str]:
        """The user's patterns that match none of the paths."""
        return [
            pattern
            for kind in _KINDS
            for pattern in getattr(self._kinds, kind)
            if not any(map(matcher([pattern]).fullmatch, paths))
        ]

    def is_directory(self, file: KnownFile) -> bool:
        """Whether a path is of a folder."""
        if file.is_directory is None:
            return bool(self._disk.is_directory(file.path))
        return file.is_directory

    def kind(self, file: KnownFile) -> str:
        """What a file is to the runtime."""
        return self.fixed_kind(file) or self.chosen_kind(file)

    def fixed_kind(self, file: KnownFile) -> str | None:
        """``tmpfs``, ``pseudo`` or ``directory``; None: it is a file of the host."""
        return self.inside_kind(file.path) or ("directory" if self.is_directory(file) else None)

    def chosen_kind(self, file: KnownFile) -> str:
        """What a file of the host is: as the user says, or the runtime."""
        given = self._kinds.kind_of(file.path)
        if given is not None:
            return given
        return self._files.written if file.is_written else self._files.read_only
