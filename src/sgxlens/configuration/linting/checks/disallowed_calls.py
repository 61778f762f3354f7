# SPDX-License-Identifier: Apache-2.0
"""System calls that Gramine refuses unless the manifest allows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

#: Keys, the calls that they allow, and what allowing them means.
_SWITCHES = (
    (
        "sys.insecure__allow_eventfd",
        frozenset({"eventfd", "eventfd2"}),
        "they rely on the host, which may choose their values",
    ),
    (
        "sys.experimental__enable_flock",
        frozenset({"flock"}),
        "they are new in Gramine and less tried",
    ),
)


def find(subject: Subject) -> Iterator[Finding]:
    """Calls that the recorded program makes, and that are off."""
    if subject.observed is None:
        return
    for key, names, meaning in _SWITCHES:
        made = sorted(names & subject.observed.program.calls)
        if made and not subject.document.is_true(key):
            yield subject.found(
                "error",
                key,
                f"the recorded program calls {', '.join(made)}, which {key} would allow",
                "The call fails with ENOSYS; event loops and file locks then fail, too.",
                f"Allow it, if that is safe for you: {meaning}.",
                f"{key} = true",
            )


CHECK = Check("disallowed_calls", "system calls that are refused", ("gramine",), find)
