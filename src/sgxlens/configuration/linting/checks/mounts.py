# SPDX-License-Identifier: Apache-2.0
"""Mounts that Gramine refuses, or that hide each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgxlens.configuration.linting.listed import listed_uris
from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.reading.document import is_known
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject
    from sgxlens.configuration.reading.positions import Place

_REFUSED = "Gramine refuses the manifest, or finds no file there."


def find(subject: Subject) -> Iterator[Finding]:
    """What is wrong with ``fs.mounts``."""
    document = subject.document
    if document.get("fs.mounts") is None:
        yield subject.found(
            "error",
            "fs.mounts",
            "there is no fs.mounts",
            "gramine-manifest refuses the manifest, and no C library is found.",
            "Mount at least the C library of Gramine.",
            'fs.mounts = [ { path = "/lib", uri = "file:{{ gramine.runtimedir() }}" } ]',
        )
    seen: dict[str, Place] = {}
    for place, mount in document.items("fs.mounts"):
        if isinstance(mount, dict):
            yield from _entry(subject, place, mount)
            path = mount.get("path")
            if isinstance(path, str) and is_known(path):
                yield from _hidden(subject, place, path.rstrip("/"), seen)
                seen[path.rstrip("/")] = place
    yield from _encrypted(subject)


def _entry(subject: Subject, place: Place, mount: dict[str, Any]) -> Iterator[Finding]:
    path, uri, kind = mount.get("path"), mount.get("uri"), mount.get("type", "chroot")
    if path is None:
        yield subject.found(
            "error", place, "the mount has no path", _REFUSED, "Say where it is inside."
        )
    elif isinstance(path, str) and not path.startswith(("/", "{{")):
        yield subject.found(
            "error",
            (*place, "path"),
            f'path = "{one_line(path, 80)}" is not absolute',
            _REFUSED,
            "Begin it with /.",
        )
    if kind == "tmpfs" or not (uri is None or isinstance(uri, str)):
        return
    prefix = "dev:" if kind == "untrusted_shm" else "file:"
    if uri is None:
        yield subject.found(
            "error",
            place,
            f'a mount of type "{one_line(str(kind), 40)}" needs a uri',
            _REFUSED,
            "Say what on the host is mounted.",
            f'uri = "{prefix}..."',
        )
    elif not uri.startswith(("file:", "dev:", "{{")):
        yield subject.found(
            "error",
            (*place, "uri"),
            f'uri = "{one_line(uri, 80)}" has no prefix',
            _REFUSED,
            f"Begin it with {prefix}" + (
                ', or give type = "tmpfs"' if uri.startswith("tmpfs:") else ""
            ) + ".",
        )  # fmt: skip


def _hidden(subject: Subject, place: Place, path: str, seen: dict[str, Place]) -> Iterator[Finding]:
    for other, where in seen.items():
        if other == path or other.startswith(path + "/"):
            line = subject.document.line(where)
            yield subject.found(
                "warning",
                place,
                f"{one_line(path, 80) or '/'} hides {one_line(other, 80) or '/'} of line {line},"
                " which is mounted before it",
                "Files of the earlier mount are not found.",
                "Mount the outer folder first." if other != path else "Keep one of them.",
            )


def _encrypted(subject: Subject) -> Iterator[Finding]:
    document = subject.document
    mounts = [m for m in subject.files.mounts if m.type == "encrypted" and is_known(m.uri)]
    for index, mount in enumerate(mounts):
        for other in mounts[:index]:
            a, b = (one.uri.rstrip("/") + "/" for one in (mount, other))
            if a.startswith(b) or b.startswith(a):
                yield subject.found(
                    "warning",
                    mount.place,
                    f"{one_line(mount.uri, 80)} is reached by two encrypted mounts",
                    "Changes made through one may be lost through the other.",
                    "Mount each encrypted file once.",
                )
        for key in ("trusted_files", "allowed_files"):
            for place, uri in listed_uris(document, key):
                if uri.rstrip("/") == mount.uri.rstrip("/"):
                    yield subject.found(
                        "warning",
                        place,
                        f"{one_line(uri, 80)} is an encrypted mount, too",
                        "Encrypted files need no other entry; this one lets the sealed bytes be"
                        " opened as they are, or hashes what will change.",
                        f"Remove it from sgx.{key}.",
                    )


CHECK = Check("mounts", "mounts that are refused, or hide each other", ("gramine",), find)
