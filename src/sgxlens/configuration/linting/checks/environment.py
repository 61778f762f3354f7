# SPDX-License-Identifier: Apache-2.0
"""Variables of the environment that Gramine refuses, or that the host should not choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

#: They decide which code is run.
_OF_CODE = frozenset(
    {"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PATH", "PYTHONPATH", "PYTHONHOME"}
)


def find(subject: Subject) -> Iterator[Finding]:
    """Entries of ``loader.env`` that Gramine refuses, or that choose code."""
    variables = subject.document.get("loader.env")
    for name, value in variables.items() if isinstance(variables, dict) else ():
        if not isinstance(value, dict):
            continue
        place = ("loader", "env", name)
        shown = one_line(name, 60)
        passed = value.get("passthrough")
        if "value" in value and "passthrough" in value:
            yield subject.found(
                "error",
                place,
                f"{shown} has both a value and passthrough",
                "Gramine refuses the manifest.",
                "Keep the value, or passthrough = true to let the host choose it.",
            )
        elif passed is False or not value:
            yield subject.found(
                "error",
                place,
                f"{shown} is not passed through, which is so without the entry",
                "Gramine refuses the manifest.",
                "Remove the entry.",
            )
        elif passed is True and name in _OF_CODE:
            yield subject.found(
                "warning",
                place,
                f"the host chooses {shown}",
                "It decides where libraries or modules are found; files that are not trusted are"
                " still refused.",
                "Give it a value.",
                f'loader.env.{name} = "..."',
            )


CHECK = Check(
    "environment", "variables that are refused, or chosen by the host", ("gramine",), find
)
