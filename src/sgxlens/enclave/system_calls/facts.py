# SPDX-License-Identifier: Apache-2.0
"""The facts of each system call that depend on the runtime: kinds of files, look-ups of paths."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from sgxlens.enclave.files import KnownFile
from sgxlens.enclave.system_calls.expressions import Value
from sgxlens.enclave.system_calls.replay import UNKNOWN_FOLDER
from sgxlens.enclave.system_calls.variables import VARIABLES
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sgxlens.enclave.files import Classifier, Disk
    from sgxlens.enclave.quantities import Range
    from sgxlens.enclave.system_calls.recorded import Call, Handle
    from sgxlens.enclave.system_calls.replay import ReplayedCalls

Facts = dict[str, Value]

#: Of a call without arguments.
NO_FACTS: Mapping[str, Value] = {
    name: {"number": 0, "flag": False, "text": "none" if "none" in variable.values else ""}[
        variable.type
    ]
    for name, variable in VARIABLES.items()
}
# Shortest and usual record of a folder's entry: struct linux_dirent64 and a name.
_ENTRY_BYTES_MIN, _ENTRY_BYTES_USUAL = 24, 32
#: Kinds whose data crosses the border as it is.
_DIRECT = ("allowed", "network_socket")


class FactFinder:
    """Finds the facts of all calls, in their order: what is looked up first is known later.

    They are those of a platform on which RDTSC does not trap.

    Attributes:
        guessed_folder_count: look-ups of missing paths of which the recording does not tell which
            parent folders exist.
    """

    def __init__(self, replayed: ReplayedCalls, classifier: Classifier, disk: Disk) -> None:
        self._files = replayed.files
        self._classifier = classifier
        self._disk = disk
        self._existing = {
            parent for f in replayed.files.values() if f.exists for parent in components(f.path)
        }
        for parent in {posixpath.dirname(path) for path in self._existing}:
            if parent in self._files:
                self._files[parent].is_directory = True
        self._known: dict[int, set[str]] = {}
        self._hashed: dict[int, set[str]] = {}
        self._doubted: set[tuple[int, str]] = set()
        self._largest: dict[tuple[int, int], float] = {}
        self._handles: dict[KnownFile, set[Handle]] = {}
        self._kinds: dict[KnownFile, str] = {}
        self._sizes: dict[KnownFile, Range] = {}
        self.guessed_folder_count = 0

    def facts_of(self, call: Call, caller: str) -> tuple[Facts, tuple[Facts, ...]]:
        """The facts of a call, and what else they may be.

        `caller` is the class of its caller, as of `CALLERS`. Calls come in their order.
        """
        facts: Facts = {**NO_FACTS, **call.facts, "caller": caller}
        maybe = [{name: value} for name, value in call.maybe.items()]
        if call.path_file is not None:
            maybe += self._look_up(call, facts)
        elif call.handle is not None:
            facts["kind"] = self._handle_kind(call.handle)
        file = call.path_file or (call.handle.file if call.handle else None)
        if file is not None and facts["kind"] in ("trusted", "allowed", "encrypted"):
            maybe += self._sized(call, facts, file)
        if facts["is_first_use"] and facts["directory_bytes"] and call.handle:
            maybe += self._listed(call, facts)
        self._count_handles(call, facts)
        if facts["kind"] in _DIRECT:
            key = (call.process, call.thread)
            largest = self._largest.get(key, 0)
            facts["largest_before"] = largest
            moved = facts["length"] if call.name == "mmap" else facts["n"]
            self._largest[key] = max(largest, float(moved))
        return facts, tuple({**facts, **other} for other in maybe)

    def load_facts(self, process: int, path: str, segments: list[tuple[int, int]]) -> Facts:
        """The facts of event ``program_load``: segments are offsets and sizes in the file."""
        file = self._files.setdefault(path, KnownFile(path))
        file.exists = True
        for offset, size in segments:
            file.note_read(offset, 0, max(size - PAGE_BYTES, 0) + 1)
        facts: Facts = {**NO_FACTS, "kind": self._kind(file)}
        size_bytes = self._size(file)
        facts["size"] = size_bytes.likely
        self._look_up_existing(process, file, facts)
        facts["segments"] = len(segments)
        inside = [
            (offset, max(min(size, size_bytes.likely - offset), 0)) for offset, size in segments
        ]
        facts["segment_bytes"] = sum(size for _, size in inside)
        facts["segment_chunks"] = sum(
            (offset + size - 1) // 16384 - offset // 16384 + 1 for offset, size in inside if size
        )
        return facts

    def _handle_kind(self, handle: Handle) -> str:
        return handle.kind if handle.file is None else self._kind(handle.file)

    def _kind(self, file: KnownFile) -> str:
        if file not in self._kinds:
            self._kinds[file] = self._classifier.kind(file)
        return self._kinds[file]

    def _size(self, file: KnownFile) -> Range:
        if file not in self._sizes:
            self._sizes[file] = self._disk.size_bytes(file)
        return self._sizes[file]

    def _sized(self, call: Call, facts: Facts, file: KnownFile) -> Iterator[Facts]:
        if facts["missing"] or file.is_written:
            size = float(facts["offset"]) + float(facts["n"])
            facts["size"] = size
            if call.name == "mmap" and not facts["failed"]:
                self._map_file(facts, self._size(file).likely)
            return
        size_bytes = self._size(file)
        facts["size"] = size_bytes.likely
        if call.name == "mmap" and not facts["failed"]:
            self._map_file(facts, size_bytes.likely)
        for other in (size_bytes.low, size_bytes.high):
            if other != size_bytes.likely:
                changed: Facts = {**facts, "size": other}
                if call.name == "mmap" and not facts["failed"]:
                    self._map_file(changed, other)
                yield changed

    @staticmethod
    def _map_file(facts: Facts, size: float) -> None:
        facts["size"] = size
        offset, length = float(facts["offset"]), float(facts["length"])
        facts["n"] = max(min(length, size - offset), 0)
        facts["past_end"] = offset + length > -(-size // PAGE_BYTES) * PAGE_BYTES

    # Paths

    def _look_up(self, call: Call, facts: Facts) -> Iterator[Facts]:
        file = call.path_file
        if file is None:
            return
        facts["kind"] = self._kind(file)
        if self._classifier.inside_kind(file.path) is not None:
            facts["missing"] = False  # the host is not asked
            return
        if facts["missing"]:
            yield from self._look_up_missing(call, file, facts)
        elif facts["creates"]:
            parents = components(file.path)[:-1]
            facts["new_components"] = self._new(call.process, parents)
            known = self._known[call.process]
            is_new = file.path not in known
            known.add(file.path)
            self._hashed.setdefault(call.process, set()).add(file.path)
            if call.maybe and is_new:
                yield {
                    "creates": False,
                    "new_components": float(facts["new_components"]) + 1,
                    "first_lookup": True,
                }
        else:
            self._look_up_existing(call.process, file, facts)
            if call.name in ("unlink", "unlinkat", "rmdir", "rename") and not facts["failed"]:
                self._known[call.process].discard(file.path)
                self._hashed[call.process].discard(file.path)

    def _look_up_existing(self, process: int, file: KnownFile, facts: Facts) -> None:
        facts["new_components"] = self._new(process, components(file.path))
        hashed = self._hashed.setdefault(process, set())
        if facts["kind"] != "directory" and file.path not in hashed:
            facts["first_lookup"] = True
            hashed.add(file.path)

    def _new(self, process: int, paths: list[str]) -> int:
        known = self._known.setdefault(process, set())
        new = [p for p in paths if p not in known and self._classifier.inside_kind(p) is None]
        known.update(new)
        return len(new)

    def _look_up_missing(self, call: Call, file: KnownFile, facts: Facts) -> Iterator[Facts]:
        parents = components(file.path)[:-1]
        sure: list[str] = []
        unsure: list[str] = []
        for parent in parents:
            exists = self._exists(parent)
            if exists is None and not unsure:
                unsure = parents[len(sure) :]
            if exists is False or unsure:
                break
            sure.append(parent)
        facts["new_components"] = self._new(call.process, sure)
        doubts = [p for p in unsure if (call.process, p) not in self._doubted]
        if doubts:
            self.guessed_folder_count += 1
            self._doubted.update((call.process, p) for p in doubts)
            yield {"new_components": float(facts["new_components"]) + len(doubts)}

    def _exists(self, path: str) -> bool | None:
        if path in self._existing:
            return True
        if path in self._files:
            return False  # it was looked up, and never found
        return self._disk.exists(path)

    # Descriptors

    def _listed(self, call: Call, facts: Facts) -> Iterator[Facts]:
        size = int(facts["directory_bytes"])
        file = call.handle.file if call.handle else None
        names = self._disk.entries(file.path, size) if file is not None else None
        if names is not None and file is not None:
            facts["new_entries"] = self._new(
                call.process, [posixpath.join(file.path, name) for name in names]
            )
            return
        # The recording has their size, not their names.
        facts["new_entries"] = max(size // _ENTRY_BYTES_USUAL - 2, 0)
        yield {"new_entries": 0}
        yield {"new_entries": max(size // _ENTRY_BYTES_MIN - 2, 0)}

    def _count_handles(self, call: Call, facts: Facts) -> None:
        handle = call.handle
        if handle is None or handle.file is None:
            return
        handles = self._handles.setdefault(handle.file, set())
        facts["other_handles"] = len(handles - {handle})
        if facts["is_last"]:
            handles.discard(handle)
        else:
            handles.add(handle)


def components(path: str) -> list[str]:
    """The paths from the first component of a path to all of it; the root is known to all."""
    parts = [part for part in path.split("/") if part not in ("", UNKNOWN_FOLDER)]
    start = "" if path.startswith("/") else UNKNOWN_FOLDER
    return [f"{start}/{'/'.join(parts[: index + 1])}" for index in range(len(parts))]
