# SPDX-License-Identifier: Apache-2.0
"""Where the program's arguments are from, and what an interpreter is told to run."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.reading.document import is_known
from sgxlens.configuration.values import toml_string
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

#: Programs whose first argument that is no option is a script.
_INTERPRETER = re.compile(r"(?:python|pypy|perl|ruby|node|bash|dash|sh)[0-9.]*")
_SCRIPT = re.compile(r".*\.(?:py|pl|rb|js|mjs|sh)")
_SOURCES = ("loader.argv", "loader.argv_src_file", "loader.insecure__use_cmdline_argv")


def find(subject: Subject) -> Iterator[Finding]:
    """Several sources of arguments, none where there were some, or no script that can be run."""
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
    yield from _script(subject)
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


def _script(subject: Subject) -> Iterator[Finding]:
    """What an interpreter is told to run."""
    program = subject.document.get("libos.entrypoint")
    words = subject.document.get("loader.argv")
    if not isinstance(program, str) or not isinstance(words, list) or not words:
        return
    if not all(isinstance(word, str) and is_known(word) for word in words):
        return
    name = PurePosixPath(program).name
    if not _INTERPRETER.fullmatch(name):
        return
    if words[0].startswith("-") or _SCRIPT.fullmatch(words[0]):
        yield subject.found(
            "error",
            ("loader", "argv", 0),
            f"{one_line(words[0], 80)} is given as the name of the program (argv[0])",
            f"{name} does not run it: arguments begin after that name.",
            "Begin with the name of the program.",
            f"loader.argv = [{', '.join(map(toml_string, [name, *words]))}]",
        )
        return
    script = next(((n, word) for n, word in enumerate(words) if n and word[:1] != "-"), None)
    if script is None or words[script[0] - 1] in ("-c", "-m", "-e", "-W", "-X"):
        return
    place, path = ("loader", "argv", script[0]), script[1]
    access = subject.files.access(path) if path.startswith("/") else "trusted"
    shown = one_line(path, 80)
    if access == "not listed":
        yield subject.found(
            "error",
            place,
            f"{shown}, which {name} shall run, is neither trusted nor allowed",
            "Opening it is refused.",
            "Trust it, or its folder.",
            f'"file:{subject.files.host_path(path) or path}", # in sgx.trusted_files',
        )
    elif access == "tmpfs":
        yield subject.found(
            "error",
            place,
            f"{shown}, which {name} shall run, is below a tmpfs, which is empty at the start",
            "It is not found.",
            "Mount it elsewhere.",
        )


CHECK = Check("arguments", "where the program's arguments are from", ("gramine",), find)
