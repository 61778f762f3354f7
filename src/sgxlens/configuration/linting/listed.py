# SPDX-License-Identifier: Apache-2.0
"""The files that a Gramine manifest mounts and lists: which it lets the program open.

As in Gramine 1.9: a trusted folder ends with ``/``; an allowed or mounted one need not; there are
no patterns; of mounts that hold a path, the last one counts.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.reading.document import Document
    from sgxlens.configuration.reading.positions import Place

Access = Literal["trusted", "allowed", "encrypted", "tmpfs", "not mounted", "not listed"]

_UNKNOWN = re.compile(r"\{\{.*?\}\}")
#: Folders that are one, where the distribution has merged /usr.
_MERGED = re.compile(r"/usr(/(?:lib|lib32|lib64|bin|sbin)/)")


@dataclass(frozen=True)
class Mount:
    """One entry of ``fs.mounts``, as far as it can be read.

    Attributes:
        place: where it stands.
        path: inside, without a ``/`` at the end.
        type: of the mount.
        uri: on the host; empty: none.
        pattern: of paths on the host that it shows.
    """

    place: Place
    path: str
    type: str
    uri: str
    pattern: re.Pattern[str] | None

    def holds(self, path: str) -> bool:
        """Whether a path inside is below it."""
        return self.path in ("", path) or path.startswith(self.path + "/")


class ListedFiles:
    """The files of a manifest.

    Attributes:
        mounts: mounts in order; the first is the root.
    """

    def __init__(self, document: Document) -> None:
        self._folder = document.folder
        self.mounts = list(self._mounts(document))
        self._trusted = [
            self._pattern(uri, is_prefix=False) for _, uri in listed_uris(document, "trusted_files")
        ]
        self._allowed = [
            self._pattern(uri, is_prefix=True) for _, uri in listed_uris(document, "allowed_files")
        ]
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
        if any(pattern.fullmatch(host) for pattern in self._trusted):
            return "trusted"
        if self.allows_all or any(pattern.fullmatch(host) for pattern in self._allowed):
            return "allowed"
        return "not listed"

    def host_path(self, path: str) -> str | None:
        """Where a path inside is on the host; None: nowhere, or nothing is mounted there."""
        mount = self._mount_of(path)
        if mount is None or not mount.uri:
            return None
        return self._host_path(mount, path)

    def is_only_below_root(self, path: str) -> bool:
        """Whether a path inside is below no mount but the root."""
        return not any(mount.holds(path) for mount in self.mounts[1:])

    def _mount_of(self, path: str) -> Mount | None:
        inside = _merged(path)
        for mount in reversed(self.mounts[1:]):
            if mount.holds(path) or Mount.holds(_with_path(mount), inside):
                return mount
        # It may be shown at another path, which the program is then told of.
        for mount in self.mounts[1:]:
            if mount.pattern is not None and mount.pattern.fullmatch(inside):
                return Mount(mount.place, path, mount.type, "file:" + path, None)
        root = self.mounts[0]
        return root if root.uri != "file:." else None

    def _host_path(self, mount: Mount, path: str) -> str:
        base = mount.uri.partition(":")[2]
        rest = path.removeprefix(mount.path)
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
            pattern=self._pattern(uri, is_prefix=True) if uri else None,
        )

    def _pattern(self, uri: str, *, is_prefix: bool) -> re.Pattern[str]:
        """Paths on the host that a URI stands for; what is not known in it may be anything."""
        path = uri.partition(":")[2] if ":" in uri else uri
        is_folder = path.endswith("/")
        parts = [re.escape(part) for part in _UNKNOWN.split(_merged(_normal(path)))]
        text = ".*".join(parts)
        if not path.startswith(("/", "{{")):
            # Relative to where Gramine is started, most likely beside the manifest.
            text = ".*/" + text if text not in (r"\.", "") else ".*"
        if is_prefix or is_folder:
            text += "(?:/.*)?" if text != "/" else ".*"
        return re.compile(text, re.DOTALL)


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


def _with_path(mount: Mount) -> Mount:
    return Mount(mount.place, _merged(mount.path), mount.type, mount.uri, None)
