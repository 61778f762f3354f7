# SPDX-License-Identifier: Apache-2.0
"""The program that is started: named, mounted and allowed to be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "libos.entrypoint"


def find(subject: Subject) -> Iterator[Finding]:
    """An entry point that is missing, or cannot be opened."""
    document = subject.document
    if document.get(KEY) is None:
        yield subject.found(
            "error",
            KEY,
            "there is no libos.entrypoint",
            "Gramine does not know which program to start.",
            "Give the path of the program inside.",
            f'{KEY} = "/usr/bin/python3"',
        )
        return
    path = document.text(KEY)
    if path is None:
        return
    if path.startswith("file:"):
        yield subject.found(
            "error",
            KEY,
            f"{KEY} is a URI; since Gramine 1.9 it is a path",
            "The program is not found.",
            "Leave file: out, and mount the program at that path.",
            f'{KEY} = "{one_line(path.removeprefix("file:"), 200)}"',
        )
        return
    if not path.startswith("/"):
        yield subject.found(
            "note",
            KEY,
            f'{KEY} = "{one_line(path, 80)}" is relative',
            "It is looked for below fs.start_dir, or / where there is none.",
            "Give an absolute path, and mount the program there.",
        )
        return
    access = subject.files.access(path)
    if access == "not mounted":
        yield subject.found(
            "error",
            KEY,
            f"{one_line(path, 120)} is below no mount",
            "The program is not found: below / is the folder in which Gramine is started.",
            "Mount it.",
            f'{{ path = "{path}", uri = "file:{path}" }}, # in fs.mounts',
        )
    elif access == "not listed":
        host = subject.files.host_path(path) or path
        yield subject.found(
            "error",
            KEY,
            f"{one_line(path, 120)} is mounted, and neither trusted nor allowed",
            "Opening it is refused, and the start fails.",
            "Trust it.",
            f'"file:{host}", # in sgx.trusted_files',
        )
    elif access == "tmpfs":
        yield subject.found(
            "error",
            KEY,
            f"{one_line(path, 120)} is below a tmpfs, which is empty at the start",
            "The program is not found.",
            "Mount the program after the tmpfs, or elsewhere.",
        )


CHECK = Check("entrypoint", "the program: named, mounted, trusted", ("gramine",), find)
