# SPDX-License-Identifier: Apache-2.0
"""Entry points and variables of Occlum.json."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

#: They decide which code is run.
_OF_CODE = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "PYTHONHOME")


def find(subject: Subject) -> Iterator[Finding]:
    """A program that cannot be started, and variables that the host should not choose."""
    document = subject.document
    points = document.get("entry_points")
    if isinstance(points, list):
        for place, point in document.items("entry_points"):
            if not isinstance(point, str) or not point.startswith("/"):
                yield subject.found(
                    "error",
                    place,
                    f"{one_line(str(point), 60)!r} is not an absolute path",
                    "Nothing below it can be started.",
                    "Begin it with /.",
                )
        if subject.observed is not None:
            program = PurePosixPath(subject.observed.program.path)
            if not any(
                isinstance(point, str) and program.is_relative_to(point) for point in points
            ):
                yield subject.found(
                    "error",
                    "entry_points",
                    f"{one_line(str(program), 100)} is below no entry point",
                    "occlum run refuses to start it.",
                    "Add its folder; the path is that in the image.",
                    f'"{program.parent}"',
                )
    for place, name in document.items("env.untrusted"):
        if name in _OF_CODE:
            yield subject.found(
                "warning",
                place,
                f"the host chooses {name}",
                "It decides which code of the image is run.",
                "Give it a value in env.default.",
            )


CHECK = Check("occlum_start", "entry points and variables", ("occlum",), find)
