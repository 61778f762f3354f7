# SPDX-License-Identifier: Apache-2.0
"""Where the program's arguments are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.values import toml_string

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_SOURCES = ("loader.argv", "loader.argv_src_file", "loader.insecure__use_cmdline_argv")


def find(subject: Subject) -> Iterator[Finding]:
    """Several sources of arguments, or none for a program that had some."""
    document = subject.document
    given = [key for key in _SOURCES if document.get(key) not in (None, False)]
    if len(given) > 1:
        yield subject.found(
            "error",
            given[1],
            f"arguments are given by both {given[0]} and {given[1]}",
            "They exclude each other: Gramine does not start.",
            "Keep one; loader.argv is the one that the host cannot change.",
        )
    observed = subject.observed
    arguments = None if observed is None else observed.program.arguments
    if not given and arguments is not None and len(arguments) > 1:
        yield subject.found(
            "warning",
            "loader.argv",
            f"no arguments are given; the recorded program had {len(arguments) - 1}",
            "Inside, it gets its name alone.",
            "Give them.",
            f"loader.argv = [{', '.join(map(toml_string, arguments))}]",
        )


CHECK = Check("arguments", "where the program's arguments are from", ("gramine",), find)
