# SPDX-License-Identifier: Apache-2.0
"""Files that the recorded program writes, where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.values import toml_string
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """Files that are written and trusted, and temporary folders that are no tmpfs."""
    if subject.observed is None:
        return
    program = subject.observed.program
    for path in sorted(program.written):
        if subject.files.access(path) == "trusted":
            yield subject.found(
                "error",
                "sgx.trusted_files",
                f"{one_line(path, 100)} is trusted, and the recorded program writes it",
                "Trusted files can only be read: opening it for writing is refused.",
                "Keep it in an encrypted mount, or allow it if the host may see and change it.",
                f'{{ type = "encrypted", path = {toml_string(path)},'
                f" uri = {toml_string('file:' + path)} }},",
            )
    for folder, example in program.temporary.items():
        if subject.files.access(example) in ("not mounted", "not listed", "trusted"):
            yield subject.found(
                "error",
                "fs.mounts",
                f"the recorded program makes files in {folder}, as {one_line(example, 80)}",
                "They cannot be made there: opening them is refused.",
                "Mount a tmpfs there, before what lies below it.",
                f'{{ type = "tmpfs", path = "{folder}" }},',
            )


CHECK = Check("written_files", "files written where that is refused", ("gramine",), find)
