# SPDX-License-Identifier: Apache-2.0
"""The files that a Gramine manifest mounts and lists: which it lets the program open.

As in Gramine 1.9: a trusted folder ends with ``/``; an allowed or mounted one need not; there are
no patterns; of mounts that hold a path, the last one counts.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sgxlens.configuration.reading.document import Document
    from sgxlens.configuration.reading.positions import Place

Access = Literal["trusted", "allowed", "encrypted", "tmpfs", "not mounted", "not listed"]

_UNKNOWN = re.compile(r"\{\{.*?\}\}")
#: Folders that are one, where the distribution has merged /usr.
_MERGED = re.compile(r"/usr(/(?:lib|lib32|lib64|bin|sbin)/)")


class _Uris:
    """Paths on the host that some URIs stand for; a manifest may have ten thousands of them.

    What is not known in a URI may be anything.
    """

    def __init__(self, uris: Iterable[tuple[Place, str]], *, is_prefix: bool) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        for _, uri in uris:
            path = uri.partition(":")[2] if ":" in uri else uri
            is_folder = is_prefix or path.endswith("/")
            normal = _merged(_normal(path))
            if not path.startswith("/") or _UNKNOWN.search(path):
                self._patterns.append(_pattern(normal, is_folder=is_folder))
            else:
                (self._folders if is_folder else self._files).add(normal)

    def hold(self, path: str) -> bool:
        """Whether a path without ``/usr`` before what is merged is one of them."""
        return (
            path in self._files
            or path in self._folders
            or any(str(parent) in self._folders for parent in PurePosixPath(path).parents)
            or any(pattern.fullmatch(path) for pattern in self._patterns)
        )


def _pattern(path: str, *, is_folder: bool) -> re.Pattern[str]:
    text = ".*".join(re.escape(part) for part in _UNKNOWN.split(path))
    if not path.startswith(("/", "{{")):
        # Relative to where Gramine is started, most likely beside the manifest.
        text = ".*/" + text if path not in (".", "") else ".*"
    return re.compile(text + "(?:/.*)?" if is_folder else text, re.DOTALL)


@dataclass(frozen=True)
class Mount:
    """One entry of ``fs.mounts``, as far as it can be read.

    Attributes:
        place: where it stands.
        path: inside, without a ``/`` at the end.
        type: of the mount.
        uri: on the host; empty: none.
        shows: the paths on the host that can be seen there.
    """

    place: Place
    path: str
    type: str
    uri: str
    shows: _Uris


class ListedFiles:
    """The files of a manifest.

    Attributes:
        mounts: mounts in order; the first is the root.
    """

    def __init__(self, document: Document) -> None:
        self._folder = document.folder
        self.mounts = list(self._mounts(document))
        self._trusted = _Uris(listed_uris(document, "trusted_files"), is_prefix=False)
        self._allowed = _Uris(listed_uris(document, "allowed_files"), is_prefix=True)
        self.allows_all = document.get("sgx.file_check_policy") == "allow_all_but_log"

    def access(self, path: str) -> Access:
        """What becomes of opening a file, which a program finds natively at `path`."""
        mount = self._mount_of(path)
        if mount is None:
            return "not mounted"
        if mount.type == "encrypted":
            return "encrypted"
        if mount.type == "tmpfs":
            return "tmpfs"
        host = _merged(self._host_path(mount, path))
        if self._trusted.hold(host):
            return "trusted"
        if self.allows_all or self._allowed.hold(host):
            return "allowed"
        return "not listed"

    def host_path(self, path: str) -> str | None:
        """Where a path inside is on the host; None: nowhere, or nothing is mounted there."""
        mount = self._mount_of(path)
        if mount is None or not mount.uri:
            return None
        return self._host_path(mount, path)

    def _mount_of(self, path: str) -> Mount | None:
        inside = _merged(path)
        for mount in reversed(self.mounts[1:]):
            if _is_below(path, mount.path) or _is_below(inside, _merged(mount.path)):
                return mount
        # It may be shown at another path, which the program is then told of.
        for mount in self.mounts[1:]:
            if mount.shows.hold(inside):
                return Mount(mount.place, path, mount.type, "file:" + path, mount.shows)
        root = self.mounts[0]
        return root if root.uri != "file:." else None

    def _host_path(self, mount: Mount, path: str) -> str:
        base = mount.uri.partition(":")[2]
        if _is_below(path, mount.path):
            rest = path.removeprefix(mount.path)
        else:
            rest = _merged(path).removeprefix(_merged(mount.path))
        found = base.rstrip("/") + rest if rest else base
        return found if found.startswith("/") else posixpath.join(self._folder, found)

    def _mounts(self, document: Document) -> Iterator[Mount]:
        root = document.get("fs.root")
        root = root if isinstance(root, dict) else {}
        yield self._mount(("fs", "root"), {"uri": "file:.", **root, "path": "/"})
        for place, value in document.items("fs.mounts"):
            if isinstance(value, dict) and isinstance(value.get("path"), str):
                yield self._mount(place, value)

    def _mount(self, place: Place, value: dict[str, Any]) -> Mount:
        uri = value.get("uri")
        uri = uri if isinstance(uri, str) else ""
        kind = value.get("type")
        return Mount(
            place=place,
            path=value["path"].rstrip("/"),
            type=kind if isinstance(kind, str) else "chroot",
            uri=uri,
            shows=_Uris([(place, uri)] if uri else [], is_prefix=True),
        )


def listed_uris(document: Document, key: str) -> list[tuple[Place, str]]:
    """The URIs of ``sgx.trusted_files`` or ``sgx.allowed_files`` with their places."""
    found: list[tuple[Place, str]] = []
    for place, value in document.items(f"sgx.{key}"):
        uri = value.get("uri") if isinstance(value, dict) else value
        if isinstance(uri, str):
            found.append((place, uri))
    return found


def _normal(path: str) -> str:
    """Without ``.``, ``..``, double and last slashes."""
    if not path:
        return path
    found = posixpath.normpath(path)
    return found[1:] if found.startswith("//") else found


def _merged(path: str) -> str:
    return _MERGED.sub(r"\1", path + "/", count=1)[:-1] if path.startswith("/usr") else path


def _is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder, which has no ``/`` at its end, or below it."""
    return folder in ("", path) or path.startswith(folder + "/")
