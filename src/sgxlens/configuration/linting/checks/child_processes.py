# SPDX-License-Identifier: Apache-2.0
"""Child processes: each is an enclave of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "sys.disallow_subprocesses"
_FORKS = frozenset({"fork", "vfork"})


def find(subject: Subject) -> Iterator[Finding]:
    """Processes that the recorded program starts."""
    observed = subject.observed
    if observed is None:
        return
    children = observed.children
    if not children and not _FORKS & observed.program.calls:
        return
    names = Counter(PurePosixPath(path).name for path in children)
    shown = ", ".join(f"{one_line(name, 40)} ({count})" for name, count in names.most_common(3))
    problem = f"the recorded program starts {len(children) or 'other'} processes"
    problem += f": {shown}" if shown else ""
    if subject.document.is_true(KEY):
        yield subject.found(
            "warning",
            KEY,
            f"{problem}; {KEY} forbids it",
            "Starting them fails with EAGAIN; some programs can do without, and some stop.",
            "Make sure that it runs without them, or allow them.",
        )
        return
    size = subject.size_bytes("sgx.enclave_size")
    each = f"an enclave of {format_bytes(size)}" if size else "an enclave"
    yield subject.found(
        "note",
        KEY,
        problem,
        f"Each is {each} of its own: it is built, attested and loaded anew, and what it inherits is"
        " encrypted, sent and decrypted.",
        "Do without them where the program can; forbid them, so that it falls back.",
        f"{KEY} = true",
    )


CHECK = Check("child_processes", "processes that are enclaves of their own", ("gramine",), find)
