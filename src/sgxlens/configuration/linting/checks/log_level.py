# SPDX-License-Identifier: Apache-2.0
"""A log that leaks, and that leaves the enclave at each line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "loader.log_level"
_QUIET = ("none", "error")
#: Levels that tell of each system call.
_EACH_CALL = ("trace", "all")


def find(subject: Subject) -> Iterator[Finding]:
    """A level above errors."""
    level = subject.document.text(KEY)
    if level is None or level in _QUIET:
        return
    calls = ""
    if subject.observed is not None and level in _EACH_CALL:
        count = subject.observed.recording.table("syscalls").num_rows
        calls = (
            f" The recorded program makes {format_count(count)} system calls, each of them told."
        )
    yield subject.found(
        "warning",
        KEY,
        f'the log is on level "{level}"',
        f"It tells the host what the program does, and each line leaves the enclave.{calls}",
        "Log errors only, but to find a fault.",
        f'{KEY} = "error"',
    )


CHECK = Check("log_level", "a log that leaks and costs exits", ("gramine",), find)
