# SPDX-License-Identifier: Apache-2.0
"""Libraries that make system calls by themselves: each is a trap first."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.listed import listed_uris
from sgxlens.configuration.linting.registry import Check
from sgxlens.text import one_line
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_TRAP = (
    "Inside, each is an illegal instruction that the host reports and Gramine emulates: an"
    " asynchronous exit, a signal and an entry before the call itself."
)
_LIBGOMP = (
    "Preload Gramine's own libgomp, which is in its runtime folder if Gramine was built with"
    " -Dlibgomp=enabled, or use another OpenMP library (libiomp5)."
)
_PRELOAD = 'loader.env.LD_PRELOAD = "/lib/libgomp.so.1"'


def find(subject: Subject) -> Iterator[Finding]:
    """Object files whose SYSCALL instructions were executed; libgomp where it is only listed."""
    observed = subject.observed
    is_preloaded = "libgomp" in (subject.environment("LD_PRELOAD") or "")
    if observed is None:
        if is_preloaded:
            return
        for place, uri in listed_uris(subject.document, "trusted_files"):
            if PurePosixPath(uri).name.startswith("libgomp.so") and "gramine" not in uri:
                yield subject.found(
                    "note",
                    place,
                    f"{one_line(uri, 100)} is the host's libgomp, which calls futex by itself",
                    _TRAP,
                    _LIBGOMP,
                    _PRELOAD,
                )
        return
    total = sum(observed.raw_calls.values())
    for path, count in observed.raw_calls.items():
        name = PurePosixPath(path).name
        is_libgomp = name.startswith("libgomp")
        if is_libgomp and is_preloaded:
            continue
        share = observed.raw_inference_calls
        yield subject.found(
            "warning" if share else "note",
            _place(subject, name),
            f"{one_line(name, 60)} made {format_count(count)} of {format_count(total)} system calls"
            f" by itself in the recording, not through the C library; {format_count(share)} such"
            f" calls are in phase {one_line(observed.phase.name, 40)!r}",
            _TRAP,
            _LIBGOMP if is_libgomp else "Have the library call the C library, or call it less.",
            _PRELOAD if is_libgomp else "",
        )


def _place(subject: Subject, name: str) -> tuple[str | int, ...]:
    for place, uri in listed_uris(subject.document, "trusted_files"):
        if PurePosixPath(uri).name == name:
            return place
    return ("sgx", "trusted_files")


CHECK = Check("raw_system_calls", "libraries that trap at each system call", ("gramine",), find)
