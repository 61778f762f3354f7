# SPDX-License-Identifier: Apache-2.0
"""A stack that is smaller than what the first thread used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.values import size_text
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "sys.stack.size"


def find(subject: Subject) -> Iterator[Finding]:
    """A stack that the recorded program would overflow."""
    size = subject.size_bytes(KEY)
    if subject.observed is None or size is None:
        return
    for setting in subject.observed.needs.settings:
        if setting.name == KEY and size < setting.value:
            yield subject.found(
                "error",
                KEY,
                f"the stack has {format_bytes(size)}, and the recorded program's first thread used"
                f" {format_bytes(setting.value)}",
                "It writes below its stack: the program stops, or data beside it change.",
                "Give what it used, or more.",
                f'{KEY} = "{size_text(setting.value)}"',
            )


CHECK = Check("stack_size", "a stack that is too small", ("gramine",), find)
