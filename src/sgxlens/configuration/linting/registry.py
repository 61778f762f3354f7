# SPDX-License-Identifier: Apache-2.0
"""The checks there are: those of the package, and those that other packages bring.

A package brings a check as an entry point of group ``sgxlens.checks`` that names a `Check`;
``docs/lint.md`` has the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from sgxlens.extensions import extended, require_known

if TYPE_CHECKING:
    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject
    from sgxlens.configuration.reading.document import Family

GROUP = "sgxlens.checks"
#: Each is a module of `sgxlens.configuration.linting.checks` with a `Check` of the name ``CHECK``.
BUILT_IN = (
    "unknown_key",
    "gone_key",
    "value_type",
    "entrypoint",
    "c_library",
    "arguments",
    "environment",
    "mounts",
    "file_uris",
    "unlisted_files",
    "written_files",
    "enclave_size",
    "epc_size",
    "dynamic_memory",
    "max_threads",
    "thread_environment",
    "arena_limit",
    "stack_size",
    "preheat",
    "rpc_threads",
    "raw_system_calls",
    "disallowed_calls",
    "child_processes",
    "cpu_features",
    "statistics",
    "debug_enclave",
    "log_level",
    "insecure_option",
    "occlum_keys",
    "occlum_sizes",
    "occlum_threads",
    "occlum_start",
)


@dataclass(frozen=True)
class Check:
    """Looks for one kind of mistake.

    Attributes:
        name: its name, as ``enclave_size``; unique.
        about: what it looks for, in a few words.
        families: runtimes whose files it is for.
        find: what is wrong. It may raise what it likes: the other checks still report.
    """

    name: str
    about: str
    families: tuple[Family, ...]
    find: Callable[[Subject], Iterable[Finding]]


@dataclass(frozen=True)
class BrokenCheck:
    """A check that could not be loaded, or raised.

    Attributes:
        name: the check.
        problem: what happened, in one line.
    """

    name: str
    problem: str


def checks() -> tuple[list[Check], list[BrokenCheck]]:
    """All checks, those of the package first, and those that could not be loaded."""
    found, broken = extended([_built_in(name) for name in BUILT_IN], Check, GROUP)
    return found, [BrokenCheck(*one) for one in broken]


def chosen_checks(ignored: Sequence[str]) -> tuple[list[Check], list[BrokenCheck]]:
    """As `checks`, without those that are named.

    Raises:
        UsageError: there is no such check.
    """
    found, broken = checks()
    require_known(ignored, [*found, *broken], "check")
    return (
        [check for check in found if check.name not in ignored],
        [check for check in broken if check.name not in ignored],
    )


def _built_in(name: str) -> Check:
    check: Check = import_module(f"sgxlens.configuration.linting.checks.{name}").CHECK
    return check
