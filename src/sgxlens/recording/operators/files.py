# SPDX-License-Identifier: Apache-2.0
"""Finds the profiles that a recorded program had ONNX Runtime write."""

from __future__ import annotations

import os
from pathlib import Path

from sgxlens.recording.operators.profile import Profile, ProfileError, read_profile
from sgxlens.text import one_line

# Each session of ONNX Runtime writes one.
_FILE_COUNT_MAX = 64


class ProfileFiles:
    """The files whose path is `prefix`, or starts with it and ends with ``.json``.

    ONNX Runtime puts date and time behind the prefix that the program sets. Make this before the
    run: files that do not change from then on are of an earlier run, and not read.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._before = self._states()

    def read(self) -> tuple[list[Profile], list[str]]:
        """The profiles that the run wrote, and notes about what could not be read."""
        states = self._states()
        written = sorted(path for path in states if states[path] != self._before.get(path))
        profiles: list[Profile] = []
        notes: list[str] = []
        if not written:
            seen = ", though there are older ones" if states else ""
            notes.append(f"no operators: the run wrote no profile {self._prefix}*.json{seen}")
        if len(written) > _FILE_COUNT_MAX:
            notes.append(
                f"of {len(written):,} profiles {self._prefix}*.json the first {_FILE_COUNT_MAX}"
                " are read"
            )
        for path in written[:_FILE_COUNT_MAX]:
            try:
                profiles.append(read_profile(path))
            except ProfileError as error:
                notes.append(one_line(f"no operators: {error}", 300))
        return profiles, notes

    def _states(self) -> dict[Path, tuple[int, int]]:
        """What tells whether a file was written anew."""
        found = {}
        prefix = os.fspath(self._prefix)
        try:
            names = os.listdir(self._prefix.parent)
        except OSError:
            return {}
        for name in names:
            path = self._prefix.parent / name
            text = os.fspath(path)
            if text == prefix or (text.startswith(prefix) and text.endswith(".json")):
                try:
                    status = path.stat()
                except OSError:
                    continue
                found[path] = (status.st_mtime_ns, status.st_size)
        return found
