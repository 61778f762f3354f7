# SPDX-License-Identifier: Apache-2.0
"""The facts of each system call that depend on the runtime: kinds of files, look-ups of paths.

Look-ups depend on all calls before, and on which paths are inside the enclave. What files of the
host are (trusted, allowed, encrypted) changes no look-up: that comes later, once for calls alike.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sgxlens.enclave.files import KnownFile
from sgxlens.enclave.system_calls.expressions import Value
from sgxlens.enclave.system_calls.replay import UNKNOWN_FOLDER
from sgxlens.enclave.system_calls.variables import VARIABLES
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

    from sgxlens.enclave.files import Classifier, Disk, FileSize
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
#: Kinds whose data crosses the border as it is.
DIRECT = ("allowed", "network_socket")
# Shortest and usual record of a folder's entry: struct linux_dirent64 and a name.
_ENTRY_BYTES_MIN, _ENTRY_BYTES_USUAL = 24, 32
#: Kinds of files of the host.
OF_HOST = ("trusted", "allowed", "encrypted")


@dataclass(frozen=True, slots=True, eq=False)
class CallFacts:
    """The facts of calls that are alike but for where and when they are made.

    All of them are as of a call without arguments, but for those named.

    Attributes:
        name: the system call.
        facts: those that follow from the call and the look-ups before it.
        maybe: what may be otherwise, one after the other.
        later: further facts; where the size of the file is not sure, they are of the likely one.
        later_maybe: what may be otherwise of these.
        file: what its path or descriptor is of; None: no file.
        kind: what that is, whatever the user says of files; None: the user or the runtime says.
    """

    name: str
    facts: Facts
    maybe: Sequence[Facts]
    later: Facts
    later_maybe: Sequence[Facts]
    file: KnownFile | None
    kind: str | None

    @property
    def is_sized(self) -> bool:
        """Whether a size of the file is asked for, if it is of one of `OF_HOST`."""
        if self.file is None:
            return False
        return self._is_mapped or not (self.facts.get("missing") or self.file.is_written)

    def asked(self, names: Collection[str], kind: str, largest_before: float) -> Hashable:
        """What makes calls become the same of which the rules ask for variables of these names.

        Args:
            names: the variables.
            kind: as for `complete`.
            largest_before: as for `complete`.

        Returns:
            Their values; None: it does not follow from them alone.
        """
        if self.maybe or self.later or self.later_maybe:
            return None
        if self.file is not None and kind in OF_HOST and (self._is_mapped or "size" in names):
            return None
        facts = self.facts
        return (*map(facts.get, names), largest_before if kind in DIRECT else 0.0)

    @property
    def moved(self) -> float:
        """Bytes that it moves across the border, if the kind is one of `DIRECT`."""
        return float(self.facts.get("length" if self.name == "mmap" else "n", 0))

    @property
    def _is_mapped(self) -> bool:
        return self.name == "mmap" and not self.facts.get("failed")

    def complete(
        self, kind: str, largest_before: float, size: FileSize | None
    ) -> tuple[Facts, tuple[Facts, ...]]:
        """All facts of such a call, and what else they may be, all of them too.

        They are those of a platform on which RDTSC does not trap.

        Args:
            kind: what its path or descriptor is of.
            largest_before: for one of `DIRECT`, most bytes that its thread moved so before.
            size: size of the file, where `is_sized` says that it is asked for.
        """
        facts: Facts = {**NO_FACTS, **self.facts, "kind": kind}
        sized: list[Facts] = []
        if self.file is not None and kind in OF_HOST:
            sized = self._sized(facts, None if size is None else size.size_bytes)
        facts |= self.later
        if kind in DIRECT:
            facts["largest_before"] = largest_before
        others = ({**facts, **other} for other in (*self.maybe, *self.later_maybe))
        return facts, (*others, *sized)

    def _sized(self, facts: Facts, size: Range | None) -> list[Facts]:
        """Adds what follows from the size of the file; returns what else the facts may be."""
        if facts["missing"] or (self.file and self.file.is_written) or size is None:
            facts["size"] = float(facts["offset"]) + float(facts["n"])
            if size is not None:
                _map_file(facts, size.likely)
            return []
        facts["size"] = size.likely
        if self._is_mapped:
            _map_file(facts, size.likely)
        found = []
        for other in (size.low, size.high):
            if other != size.likely:
                changed: Facts = {**facts, "size": other}
                if self._is_mapped:
                    _map_file(changed, other)
                found.append(changed)
        return found


def _map_file(facts: Facts, size: float) -> None:
    facts["size"] = size
    offset, length = float(facts["offset"]), float(facts["length"])
    facts["n"] = max(min(length, size - offset), 0)
    facts["past_end"] = offset + length > -(-size // PAGE_BYTES) * PAGE_BYTES


class LoadFacts(NamedTuple):
    """The facts of an event ``program_load``, but for the kind of the file."""

    facts: Facts
    file: KnownFile
    kind: str | None


class FactFinder:
    """Finds the facts of all calls, in their order: what is looked up first is known later.

    Attributes:
        inside: which paths it took for inside the enclave, and as what; None: on the host.
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
        self._handles: dict[KnownFile, set[Handle]] = {}
        self._kinds: dict[KnownFile, str | None] = {}
        self._components: dict[str, list[str]] = {}
        self.inside: dict[str, str | None] = {}
        self.guessed_folder_count = 0

    def facts_of(self, call: Call, caller: str) -> CallFacts:
        """The facts of a call.

        `caller` is the class of its caller, as of `CALLERS`. Calls come in their order.
        """
        facts: Facts = {**call.facts, "caller": caller}
        maybe: list[Facts] = [{name: value} for name, value in call.maybe.items()]
        handle = call.handle
        file = call.path_file or (handle.file if handle else None)
        if file is not None:
            kind = self._kind(file)
            if call.path_file is not None:
                maybe += self._look_up(call, file, facts, kind)
        else:
            kind = handle.kind if handle else "none"
        later: Facts = {}
        later_maybe: list[Facts] = []
        if handle is not None:
            if facts.get("is_first_use") and facts.get("directory_bytes"):
                later_maybe += self._listed(call, later)
            self._count_handles(handle, facts, later)
        return CallFacts(call.name, facts, maybe, later, later_maybe, file, kind)

    def load_facts(self, process: int, path: str, segments: list[tuple[int, int]]) -> LoadFacts:
        """The facts of event ``program_load``: segments are offsets and sizes in the file."""
        file = self._files.setdefault(path, KnownFile(path))
        file.exists = True
        for offset, size in segments:
            file.note_read(offset, 0, max(size - PAGE_BYTES, 0) + 1)
        kind = self._kind(file)
        facts: Facts = {**NO_FACTS}
        size_bytes = self._disk.size(file).size_bytes
        facts["size"] = size_bytes.likely
        self._look_up_existing(process, file, facts, kind)
        facts["segments"] = len(segments)
        inside = [
            (offset, max(min(size, size_bytes.likely - offset), 0)) for offset, size in segments
        ]
        facts["segment_bytes"] = sum(size for _, size in inside)
        facts["segment_chunks"] = sum(
            (offset + size - 1) // 16384 - offset // 16384 + 1 for offset, size in inside if size
        )
        return LoadFacts(facts, file, kind)

    def _kind(self, file: KnownFile) -> str | None:
        if file not in self._kinds:
            self._inside_kind(file.path)
            self._kinds[file] = self._classifier.fixed_kind(file)
        return self._kinds[file]

    def _inside_kind(self, path: str) -> str | None:
        if path not in self.inside:
            self.inside[path] = self._classifier.inside_kind(path)
        return self.inside[path]

    # Paths

    def _look_up(
        self, call: Call, file: KnownFile, facts: Facts, kind: str | None
    ) -> Iterator[Facts]:
        if self._inside_kind(file.path) is not None:
            facts["missing"] = False  # the host is not asked
            return
        if facts.get("missing"):
            yield from self._look_up_missing(call, file, facts)
        elif facts.get("creates"):
            parents = self._parts(file.path)[:-1]
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
            self._look_up_existing(call.process, file, facts, kind)
            if call.name in ("unlink", "unlinkat", "rmdir", "rename") and not facts.get("failed"):
                self._known[call.process].discard(file.path)
                self._hashed[call.process].discard(file.path)

    def _look_up_existing(
        self, process: int, file: KnownFile, facts: Facts, kind: str | None
    ) -> None:
        facts["new_components"] = self._new(process, self._parts(file.path))
        hashed = self._hashed.setdefault(process, set())
        if kind != "directory" and file.path not in hashed:
            facts["first_lookup"] = True
            hashed.add(file.path)

    def _new(self, process: int, paths: list[str]) -> int:
        known = self._known.setdefault(process, set())
        new = [p for p in paths if p not in known and self._inside_kind(p) is None]
        known.update(new)
        return len(new)

    def _look_up_missing(self, call: Call, file: KnownFile, facts: Facts) -> Iterator[Facts]:
        parents = self._parts(file.path)[:-1]
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

    def _parts(self, path: str) -> list[str]:
        if path not in self._components:
            self._components[path] = components(path)
        return self._components[path]

    # Descriptors

    def _listed(self, call: Call, later: Facts) -> Iterator[Facts]:
        size = int(call.facts["directory_bytes"])
        file = call.handle.file if call.handle else None
        names = self._disk.entries(file.path, size) if file is not None else None
        if names is not None and file is not None:
            later["new_entries"] = self._new(
                call.process, [posixpath.join(file.path, name) for name in names]
            )
            return
        # The recording has their size, not their names.
        later["new_entries"] = max(size // _ENTRY_BYTES_USUAL - 2, 0)
        yield {"new_entries": 0}
        yield {"new_entries": max(size // _ENTRY_BYTES_MIN - 2, 0)}

    def _count_handles(self, handle: Handle, facts: Facts, later: Facts) -> None:
        if handle.file is None:
            return
        handles = self._handles.setdefault(handle.file, set())
        others = len(handles) - (handle in handles)
        if others:
            later["other_handles"] = others
        if facts.get("is_last"):
            handles.discard(handle)
        else:
            handles.add(handle)


def components(path: str) -> list[str]:
    """The paths from the first component of a path to all of it; the root is known to all."""
    parts = [part for part in path.split("/") if part not in ("", UNKNOWN_FOLDER)]
    start = "" if path.startswith("/") else UNKNOWN_FOLDER
    return [f"{start}/{'/'.join(parts[: index + 1])}" for index in range(len(parts))]
