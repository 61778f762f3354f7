# SPDX-License-Identifier: Apache-2.0
"""The system calls of a recording in groups of calls alike, of which each is judged once.

What a call becomes follows from its facts, what the runtime takes its file for, and what its thread
moved across the border before. The facts are found once for a recording (and for the paths that are
inside the enclave), and of a recording that was made from it by `Recording.with_tables` only those
that changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from sgxlens.enclave.system_calls.callers import caller_class, operator_finder
from sgxlens.enclave.system_calls.facts import DIRECT, FactFinder
from sgxlens.enclave.system_calls.replay import (
    ReplayedCalls,
    memory_facts,
    replay_calls,
    thread_facts,
)
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sgxlens.enclave.files import Classifier, Disk
    from sgxlens.enclave.system_calls.expressions import Value
    from sgxlens.enclave.system_calls.facts import CallFacts, LoadFacts
    from sgxlens.recording.reader import Recording

#: What the groups follow from, beside what is loaded before the first instruction.
TABLES = ("syscalls", "threads", "contexts", "operators")
_NO_OPERATOR = -1


class Load(NamedTuple):
    """A program or loader: segments are offsets and sizes in the file."""

    process: int
    path: str
    segments: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class CallGroup:
    """Calls alike of one phase.

    Attributes:
        process, phase: where.
        caller: object file that makes them; empty: not known.
        is_part: they belong to the calls before them, which count.
        call: their facts.
    """

    process: int
    phase: int
    caller: str
    is_part: bool
    call: CallFacts


class Alike(NamedTuple):
    """Calls of a group that become the same.

    Attributes:
        group: the group.
        kind: what their path or descriptor is of.
        operator: number of the operator in which they are made; None: between operators, or by a
            thread in the background.
        is_background: their thread works beside the inferences.
        largest_before: most bytes that their thread moved before across the border; 0 where it
            does not matter.
        number: how many there are.
    """

    group: CallGroup
    kind: str
    operator: int | None
    is_background: bool
    largest_before: float
    number: int


@dataclass(frozen=True, eq=False)
class CallGroups:
    """All system calls of a recording, in their order: arrays of one length.

    Attributes:
        groups: the groups.
        group: the index in `groups` of each call.
        thread: the index in `threads` of each call.
        operator: the number of the operator that its thread runs; -1: none.
        maps: the indices of calls of ``mmap``, by process and position.
        threads: threads, each with its process.
        loads: what is loaded before the first instruction.
        inside: which paths were taken for inside the enclave, as `FactFinder.inside`.
        guessed_folder_count: as `FactFinder.guessed_folder_count`.
        unknown_descriptor_count: as of `ReplayedCalls`.
        unknown_caller_count: calls whose caller is not known.
    """

    groups: Sequence[CallGroup]
    group: npt.NDArray[np.int64]
    thread: npt.NDArray[np.int64]
    operator: npt.NDArray[np.int64]
    maps: Mapping[tuple[int, int], Sequence[int]]
    threads: Sequence[tuple[int, int]]
    loads: Sequence[tuple[Load, LoadFacts]]
    inside: Mapping[str, str | None]
    guessed_folder_count: int
    unknown_descriptor_count: int
    unknown_caller_count: int

    def with_lengths(self, lengths: Mapping[tuple[int, int], int]) -> CallGroups:
        """The same where calls of ``mmap`` ask for other lengths in bytes, of whole pages.

        Args:
            lengths: by process and position of the calls.
        """
        return self.with_facts(
            {
                index: {"length": length, "pages": length // PAGE_BYTES}
                for place, length in lengths.items()
                for index in self.maps.get(place, ())
            }
        )

    def with_facts(self, changes: Mapping[int, Mapping[str, Value]]) -> CallGroups:
        """The same where some facts of some calls, by their index, are others."""
        if not changes:
            return self
        groups, group = list(self.groups), self.group.copy()
        for index, facts in changes.items():
            old = groups[group[index]]
            group[index] = len(groups)
            groups.append(replace(old, call=replace(old.call, facts={**old.call.facts, **facts})))
        return replace(self, groups=groups, group=group)

    def fits(self, classifier: Classifier) -> bool:
        """Whether the same paths are inside the enclave."""
        return all(classifier.inside_kind(path) == kind for path, kind in self.inside.items())

    def kinds(self, classifier: Classifier) -> list[str]:
        """For each group what its path or descriptor is of."""
        known: dict[int, str] = {}
        found = []
        for group in self.groups:
            kind, file = group.call.kind, group.call.file
            if kind is None and file is not None:
                kind = known.get(id(file))
                if kind is None:
                    kind = known[id(file)] = classifier.chosen_kind(file)
            found.append(kind or "none")
        return found

    def alike(
        self, kinds: Sequence[str], background: Collection[tuple[int, int]]
    ) -> Iterator[Alike]:
        """The calls by what they become, in the order of the first of each.

        Args:
            kinds: for each group what its path or descriptor is of.
            background: threads that work beside the inferences, each with its process.
        """
        is_background = np.array([one in background for one in self.threads], dtype=bool)
        of_call = is_background[self.thread] if self.thread.size else np.empty(0, dtype=bool)
        operator = np.where(of_call, _NO_OPERATOR, self.operator)
        sizes, largest = np.unique(self._largest_before(kinds), return_inverse=True)
        key = (self.group * (operator.max(initial=0) + 2) + operator + 1) * 2 + of_call
        key = key * max(sizes.size, 1) + largest
        _, first, count = np.unique(key, return_index=True, return_counts=True)
        for index in np.argsort(first).tolist():
            call = int(first[index])
            number = int(operator[call])
            group = int(self.group[call])
            yield Alike(
                self.groups[group],
                kinds[group],
                None if number == _NO_OPERATOR else number,
                bool(of_call[call]),
                float(sizes[largest[call]]),
                int(count[index]),
            )

    def _largest_before(self, kinds: Sequence[str]) -> npt.NDArray[np.float64]:
        """For each call of a direct kind, what its thread moved most before in one of them."""
        found = np.zeros(self.group.size)
        is_direct = np.array([kind in DIRECT for kind in kinds], dtype=bool)
        if not is_direct.any():
            return found
        direct = np.flatnonzero(is_direct[self.group])
        moved = np.array([group.call.moved for group in self.groups])[self.group[direct]]
        thread = self.thread[direct]
        for number in np.unique(thread).tolist():
            mine = np.flatnonzero(thread == number)
            most = np.maximum.accumulate(moved[mine])
            found[direct[mine[1:]]] = np.maximum(most[:-1], 0)
        return found


def call_groups(
    recording: Recording, classifier: Classifier, disk: Disk, loads: tuple[Load, ...]
) -> CallGroups:
    """The system calls of a recording in groups.

    Args:
        recording: the recording.
        classifier: says which paths are inside the enclave.
        disk: the files of this machine.
        loads: what is loaded before the first instruction.

    Raises:
        RecordingError: the recording is damaged.
    """
    known: list[CallGroups] = recording.derived((call_groups, disk, loads), list, TABLES)
    for found in known:
        if found.fits(classifier):
            return found
    made, original = None, recording.original
    if original is not None:
        before = call_groups(original, classifier, disk, loads)
        if not any(recording.replaces(table) for table in TABLES):
            return before
        made = _changed(before, original, recording)
    known.append(made or _grouped(recording, classifier, disk, loads))
    return known[-1]


def replayed(recording: Recording) -> ReplayedCalls:
    """The system calls of a recording, replayed once."""
    return recording.derived(replay_calls, lambda: replay_calls(recording), ("syscalls", "threads"))


def _grouped(
    recording: Recording, classifier: Classifier, disk: Disk, loads: tuple[Load, ...]
) -> CallGroups:
    replay = replayed(recording)
    finder = FactFinder(replay, classifier, disk)
    loaded = [(one, finder.load_facts(one.process, one.path, [*one.segments])) for one in loads]
    operators = operator_finder(recording)
    numbers: dict[tuple[object, ...], int] = {}
    classes: dict[str, str] = {}
    threads: dict[tuple[int, int], int] = {}
    groups: list[CallGroup] = []
    group: list[int] = []
    thread: list[int] = []
    operator: list[int] = []
    maps: dict[tuple[int, int], list[int]] = {}
    unknown_callers = 0
    for call in replay.calls:
        if call.caller not in classes:
            classes[call.caller] = caller_class(call.caller)
        found = finder.facts_of(call, classes[call.caller])
        unknown_callers += not call.caller
        key = (
            call.process,
            call.phase,
            call.name,
            call.caller,
            call.is_part,
            found.kind,
            id(found.file),
            *found.facts.items(),
            None,
            *found.later.items(),
            None,
            *(tuple(one.items()) for one in found.maybe),
            None,
            *(tuple(one.items()) for one in found.later_maybe),
        )
        number = numbers.setdefault(key, len(groups))
        if number == len(groups):
            groups.append(CallGroup(call.process, call.phase, call.caller, call.is_part, found))
        if call.name == "mmap":
            maps.setdefault((call.process, call.position), []).append(len(group))
        group.append(number)
        thread.append(threads.setdefault((call.process, call.thread), len(threads)))
        found_operator = operators.at(call.process, call.thread, call.position)
        operator.append(_NO_OPERATOR if found_operator is None else found_operator)
    return CallGroups(
        groups=groups,
        group=np.array(group, dtype=np.int64),
        thread=np.array(thread, dtype=np.int64),
        operator=np.array(operator, dtype=np.int64),
        maps=maps,
        threads=list(threads),
        loads=loaded,
        inside=finder.inside,
        guessed_folder_count=finder.guessed_folder_count,
        unknown_descriptor_count=replay.unknown_descriptor_count,
        unknown_caller_count=unknown_callers,
    )


def _changed(original: CallGroups, before: Recording, after: Recording) -> CallGroups | None:
    """The groups of a recording of which only some calls differ; None: more may do so."""
    if after.replaces("contexts") or after.replaces("operators"):
        return None
    calls = replayed(before)
    changes: dict[int, dict[str, Value]] = {}
    if after.replaces("syscalls"):
        mapped = memory_facts(calls, before, after)
        if mapped is None:
            return None
        changes |= mapped
    if after.replaces("threads"):
        if len(before.metadata.processes) > 1:
            return None  # what one leaves to another may change
        for index, facts in thread_facts(calls, after).items():
            changes[index] = {**changes.get(index, {}), **facts}
    return original.with_facts(changes)
