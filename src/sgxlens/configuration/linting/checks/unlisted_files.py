# SPDX-License-Identifier: Apache-2.0
"""Files that the recorded program opened and the manifest does not let it open."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.program import mounted_folders
from sgxlens.configuration.values import toml_string
from sgxlens.text import one_line
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sgxlens.configuration.linting.finding import Finding, Severity
    from sgxlens.configuration.linting.listed import Access
    from sgxlens.configuration.linting.subject import Subject

#: Entries that are suggested at most; folders are joined to others, but not into one as wide as
#: /usr/.
_ENTRIES_MAX = 12
_DEPTH_MIN = 2
_NAMED_MAX = 3
#: Programs do without most of these.
_OPTIONAL = ("/etc/", "/run/", "/var/cache/")


def find(subject: Subject) -> Iterator[Finding]:
    """Files that are not mounted, or mounted and neither trusted, allowed nor encrypted."""
    if subject.observed is None:
        return
    files = subject.observed.program.own_files
    by_access: dict[Access, list[str]] = {}
    for path, kind in files.items():
        access = subject.files.access(path)
        # What a tmpfs hides was there before; files that the program makes need not be.
        if access in ("not mounted", "not listed") or (access == "tmpfs" and kind == "trusted"):
            by_access.setdefault(access, []).append(path)
    total = len(files)
    for access, paths in by_access.items():
        count = f"{format_count(len(paths))} of the {format_count(total)} files that the recorded"
        needed = [path for path in paths if not path.startswith(_OPTIONAL)]
        severity: Severity = "error" if needed else "warning"
        named = _named(needed or paths)
        if access == "not listed":
            yield subject.found(
                severity,
                "sgx.trusted_files",
                f"{count} program opened are neither trusted, allowed nor encrypted: {named}",
                "Opening them is refused (EACCES).",
                "List them, or the folders that hold them.",
                "\n".join(_entries([subject.files.host_path(path) or path for path in paths])),
            )
        elif access == "not mounted":
            yield subject.found(
                severity,
                "fs.mounts",
                f"{count} program opened are below no mount: {named}",
                "Inside, they are not there (ENOENT), whatever is trusted.",
                "Mount their folders, and trust the files.",
                "\n".join(
                    f"{{ path = {toml_string(folder)}, uri = {toml_string('file:' + folder)} }},"
                    for folder in mounted_folders(paths)
                ),
            )
        else:
            yield subject.found(
                severity,
                "fs.mounts",
                f"{count} program read are below a tmpfs: {named}",
                "A tmpfs is empty at the start: they are not there.",
                "Mount their folders after the tmpfs.",
                "\n".join(
                    f"{{ path = {toml_string(folder)}, uri = {toml_string('file:' + folder)} }},"
                    for folder in mounted_folders(paths)
                ),
            )


def _named(paths: Sequence[str]) -> str:
    shown = ", ".join(one_line(path, 70) for path in paths[:_NAMED_MAX])
    more = len(paths) - _NAMED_MAX
    return f"{shown} and {format_count(more)} more" if more > 0 else shown


def _entries(paths: Sequence[str]) -> Iterator[str]:
    """Entries for all of them: files, and folders in place of files where these are many."""
    entries = set(paths)
    depth = max((path.count("/") for path in paths), default=0)
    while len(entries) > _ENTRIES_MAX and depth > _DEPTH_MIN:
        entries = {
            str(PurePosixPath(entry).parent) + "/"
            if entry.rstrip("/").count("/") >= depth
            else entry
            for entry in entries
        }
        depth -= 1
    yield from (f"{toml_string('file:' + entry)}," for entry in sorted(entries)[:_ENTRIES_MAX])
    if len(entries) > _ENTRIES_MAX:
        yield f"# and {format_count(len(entries) - _ENTRIES_MAX)} more"


CHECK = Check("unlisted_files", "files opened and not listed", ("gramine",), find)
