# SPDX-License-Identifier: Apache-2.0
"""The system calls of a recording in groups of calls alike, of which each is judged once.

What a call becomes follows from its facts, what the runtime takes its file for, and what its thread
moved across the border before. The facts are found once for a recording (and for the paths that are
inside the enclave), and of a recording that was made from it by `Recording.with_tables` only those
that changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sgxlens.enclave.system_calls.callers import caller_class, operator_finder
from sgxlens.enclave.system_calls.changed import memory_facts, thread_facts
from sgxlens.enclave.system_calls.facts import DIRECT, OF_HOST, FactFinder
from sgxlens.enclave.system_calls.replay import ReplayedCalls, replay_calls
from sgxlens.recording.bitmaps import Integers
from sgxlens.recording.distinct import distinct_values
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sgxlens.enclave.files import Classifier, Disk, KnownFile
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


class Place(NamedTuple):
    """Where calls are made, and of which file.

    Attributes:
        process, phase: where.
        name: the system call.
        caller: object file that makes them; empty: not known.
        caller_class: its class, as of `CALLERS`.
        is_part: they belong to the calls before them, which count.
        file: what their path or descriptor is of; None: no file.
    """

    process: int
    phase: int
    name: str
    caller: str
    caller_class: str
    is_part: bool
    file: KnownFile | None


class Target(NamedTuple):
    """What a path or descriptor is of.

    Attributes:
        kind, file: as of `CallFacts`.
        is_sized: as of `CallFacts`.
    """

    kind: str | None
    file: KnownFile | None
    is_sized: bool

    def kind_by(self, classifier: Classifier) -> str:
        """What it is to a runtime."""
        if self.kind is None and self.file is not None:
            return classifier.chosen_kind(self.file)
        return self.kind or "none"


@dataclass(frozen=True, eq=False)
class Alike:
    """Calls that become the same, in the order of the first of each: arrays of one length.

    Attributes:
        group: index in `CallGroups.calls`.
        operator: number of the operator in which they are made; -1: between operators, or by a
            thread in the background.
        is_background: whether their thread works beside the inferences.
        largest_before: most bytes that their thread moved before across the border; 0 where it does
            not matter.
        number: how many there are.
    """

    group: Integers
    operator: Integers
    is_background: npt.NDArray[np.bool_]
    largest_before: npt.NDArray[np.float64]
    number: Integers


@dataclass(frozen=True, eq=False)
class CallGroups:
    """All system calls of a recording, in their order.

    Attributes:
        places: where calls are made.
        calls: the facts of each group.
        place: for each group the index in `places`.
        target: for each group the index in `targets`.
        moved: for each group as `CallFacts.moved`.
        group: for each call the index of its group.
        thread: for each call the index in `threads`.
        operator: for each call the number of the operator that its thread runs; -1: none.
        targets: what paths and descriptors are of.
        maps: the indices of calls of ``mmap``, by process and position.
        threads: threads, each with its process.
        loads: what is loaded before the first instruction.
        inside: which paths were taken for inside the enclave, as `FactFinder.inside`.
        guessed_folder_count: as `FactFinder.guessed_folder_count`.
        unknown_descriptor_count: as of `ReplayedCalls`.
        unknown_caller_count: calls whose caller is not known.
    """

    places: Sequence[Place]
    calls: Sequence[CallFacts]
    place: Integers
    target: Integers
    moved: npt.NDArray[np.float64]
    group: Integers
    thread: Integers
    operator: Integers
    targets: Sequence[Target]
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
        group, calls = self.group.copy(), list(self.calls)
        old = group[list(changes)]
        for index, facts in changes.items():
            before = calls[group[index]]
            group[index] = len(calls)
            calls.append(replace(before, facts={**before.facts, **facts}))
        place, target = (np.append(of, of[old]) for of in (self.place, self.target))
        moved = np.append(self.moved, [call.moved for call in calls[len(self.calls) :]])
        return replace(self, calls=calls, place=place, target=target, moved=moved, group=group)

    def fits(self, classifier: Classifier) -> bool:
        """Whether the same paths are inside the enclave."""
        return all(classifier.inside_kind(path) == kind for path, kind in self.inside.items())

    def kinds(self, classifier: Classifier) -> list[str]:
        """For each group what its path or descriptor is of."""
        kinds = [target.kind_by(classifier) for target in self.targets]
        return [kinds[index] for index in self.target.tolist()]

    def sized_files(self, classifier: Classifier) -> Iterator[KnownFile]:
        """The files of which a size is asked for."""
        for target in self.targets:
            if target.file and target.is_sized and target.kind_by(classifier) in OF_HOST:
                yield target.file

    def alike(self, kinds: Sequence[str], background: Collection[tuple[int, int]]) -> Alike:
        """The calls by what they become.

        Args:
            kinds: for each group what its path or descriptor is of.
            background: threads that work beside the inferences, each with its process.
        """
        is_background = np.array([one in background for one in self.threads], dtype=bool)
        of_call = is_background[self.thread] if self.thread.size else np.empty(0, dtype=bool)
        operator = np.where(of_call, _NO_OPERATOR, self.operator)
        largest_before = self._largest_before(kinds)
        sizes, largest = np.unique(largest_before, return_inverse=True)
        key = (self.group * (operator.max(initial=0) + 2) + operator + 1) * 2 + of_call
        found = distinct_values(key * max(sizes.size, 1) + largest)
        order = np.argsort(found.first)
        first = found.first[order]
        return Alike(
            group=self.group[first],
            operator=operator[first],
            is_background=of_call[first],
            largest_before=largest_before[first],
            number=np.bincount(found.index, minlength=first.size)[order],
        )

    def _largest_before(self, kinds: Sequence[str]) -> npt.NDArray[np.float64]:
        """For each call of a direct kind, what its thread moved most before in one of them."""
        found = np.zeros(self.group.size)
        is_direct = np.array([kind in DIRECT for kind in kinds], dtype=bool)
        if not is_direct.any():
            return found
        direct = np.flatnonzero(is_direct[self.group])
        moved = self.moved[self.group[direct]]
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
    places: dict[tuple[Any, ...], int] = {}
    calls: list[CallFacts] = []
    place: list[int] = []
    targets: dict[Target, int] = {}
    target: list[int] = []
    group: list[int] = []
    thread: list[int] = []
    operator: list[int] = []
    maps: dict[tuple[int, int], list[int]] = {}
    unknown_callers = 0
    for call in replay.calls:
        caller = classes.get(call.caller)
        if caller is None:
            caller = classes[call.caller] = caller_class(call.caller)
        found = finder.facts_of(call, caller)
        unknown_callers += not call.caller
        where = (call.process, call.phase, call.name, call.caller, caller, call.is_part, found.file)
        at = places.setdefault(where, len(places))
        key = (
            at,
            found.kind,
            *found.facts.items(),
            None,
            *found.later.items(),
            None,
            *(tuple(one.items()) for one in found.maybe),
            None,
            *(tuple(one.items()) for one in found.later_maybe),
        )
        number = numbers.setdefault(key, len(calls))
        if number == len(calls):
            calls.append(found)
            place.append(at)
            of = Target(found.kind, found.file, found.is_sized)
            target.append(targets.setdefault(of, len(targets)))
        if call.name == "mmap":
            maps.setdefault((call.process, call.position), []).append(len(group))
        group.append(number)
        thread.append(threads.setdefault((call.process, call.thread), len(threads)))
        found_operator = operators.at(call.process, call.thread, call.position)
        operator.append(_NO_OPERATOR if found_operator is None else found_operator)
    return CallGroups(
        places=[Place(*where) for where in places],
        calls=calls,
        place=np.array(place, dtype=np.int64),
        target=np.array(target, dtype=np.int64),
        moved=np.array([call.moved for call in calls], dtype=np.float64),
        group=np.array(group, dtype=np.int64),
        thread=np.array(thread, dtype=np.int64),
        operator=np.array(operator, dtype=np.int64),
        targets=list(targets),
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
