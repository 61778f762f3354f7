# SPDX-License-Identifier: Apache-2.0
"""Gramine's own C library: mounted, trusted, and found before the host's.

System calls of the host's C library, and of a static program, are instructions that an enclave may
not execute: each is a trap, which Gramine then emulates. Its own library calls it instead
(gramineproject/gramine@ff71d7af: Documentation/devel/features.md; Documentation/performance.rst).
"""

from __future__ import annotations

import posixpath
from itertools import takewhile
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.reading.document import is_known
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_RUNTIME = "/gramine/runtime/"
#: Where distributions have theirs.
_HOSTS = frozenset(
    f"{base}{folder}"
    for base in ("", "/usr")
    for folder in ("/lib64", "/lib/x86_64-linux-gnu")
)  # fmt: skip
_KEY = "loader.env.LD_LIBRARY_PATH"
_TRAPS = (
    "With the host's C library, and with none for a static program, each system call is a trap"
    " that Gramine emulates: slow, and an asynchronous exit each."
)


def find(subject: Subject) -> Iterator[Finding]:
    """A C library of Gramine that the program cannot find, or finds after another."""
    mounts = [mount for mount in subject.files.mounts if _RUNTIME in mount.uri + "/"]
    if not mounts:
        # It may be one of those that are not known.
        all_known = all(is_known(mount.uri) for mount in subject.files.mounts)
        if all_known and subject.document.get("fs.mounts") is not None:
            yield subject.found(
                "warning",
                "fs.mounts",
                "Gramine's C library is not mounted",
                _TRAPS,
                "Mount it.",
                '{ path = "/lib", uri = "file:{{ gramine.runtimedir() }}" }, # in fs.mounts',
            )
        return
    mount = mounts[-1]
    if subject.files.access(f"{mount.path}/libc.so.6") == "not listed":
        yield subject.found(
            "error",
            mount.place,
            f"Gramine's C library, mounted at {one_line(mount.path, 80)}, is not trusted",
            "Its loader cannot be opened, and the program does not start.",
            "Trust its folder.",
            '"file:{{ gramine.runtimedir() }}/", # in sgx.trusted_files',
        )
    path = subject.document.get(_KEY)
    path = path.get("value") if isinstance(path, dict) else path
    folders = path.split(":") if isinstance(path, str) else []
    # What is not known may be it.
    known = list(takewhile(is_known, folders))
    normal = [posixpath.normpath(folder.replace("//", "/")) for folder in known]
    own = {one.path for one in mounts}
    first = next((folder for folder in normal if folder in own or folder in _HOSTS), None)
    if first is not None and first not in own:
        yield subject.found(
            "warning",
            _KEY,
            f"LD_LIBRARY_PATH names {first} before Gramine's C library in"
            f" {one_line(mount.path, 80)}",
            _TRAPS,
            f"Let it begin with {one_line(mount.path, 80)}.",
            f'{_KEY} = "{mount.path}:{{{{ arch_libdir }}}}:/usr{{{{ arch_libdir }}}}"',
        )


CHECK = Check("c_library", "Gramine's C library: mounted, trusted, found first", ("gramine",), find)
