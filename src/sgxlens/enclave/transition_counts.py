# SPDX-License-Identifier: Apache-2.0
"""How often a recorded program would leave the enclave, and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from sgxlens.enclave.files import Classifier, Disk, FileKinds
from sgxlens.enclave.mappings.events import is_tracer_file
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.stacks import mapped_stack_lengths
from sgxlens.enclave.system_calls.callers import CallerClasses, background_threads
from sgxlens.enclave.system_calls.effects import Effect, EffectFinder, Facts
from sgxlens.enclave.system_calls.facts import NO_FACTS, OF_HOST
from sgxlens.enclave.system_calls.groups import Load, call_groups
from sgxlens.enclave.system_calls.rules import COUNT_FIELDS
from sgxlens.recording.distinct import distinct_values
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from sgxlens.enclave.files import FileSize, KnownFile
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.enclave.system_calls.facts import CallFacts
    from sgxlens.enclave.system_calls.groups import Place
    from sgxlens.recording.reader import Phase, Recording

#: System calls that read a clock.
CLOCK_CALLS = frozenset({"clock_gettime", "gettimeofday", "time", "getitimer"})
#: What ONNX Runtime's profile takes at each operator, beside the writing of it at the end.
_PROFILE_CALLS = CLOCK_CALLS | {"getpid", "gettid"}
_PROFILE_FILE = re.compile(r".*/sgxlens-[^/]*/profile[^/]*")
#: CPUID leaves that answer by their subleaf (ECX); of the others, ECX is whatever was there.
_LEAVES_WITH_SUBLEAVES = frozenset(
    {0x4, 0x7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1B, 0x1D, 0x1F, 0x20, 0x23, 0x24}
)
RAW_SYSCALL = "raw_syscall"
_TRAPS = "rdtsc_traps"
#: What is counted from, beside the mappings.
_TABLES = ("syscalls", "traps", "signals", "threads", "contexts", "operators", "phases")
#: From so many reads of the time stamp counter in a phase on, a loop is taken to make them, which
#: may wait for a time: inside, where each read takes longer, it would make fewer.
LOOP_CLOCK_READS = 10_000


@dataclass(frozen=True)
class TransitionRow:
    """All events of one kind in one place.

    Attributes:
        process, phase: where.
        operator: number of the operator in which they happen; None: between operators.
        name: system call, or event (see `EVENTS`).
        caller: class of who made them, as of `CALLERS`; empty: of events.
        is_background: made by a thread that works beside the inferences, not for them.
        outcome: what becomes of them (see `Outcome`).
        why: in words.
        count: how many there are natively.
        ocalls: OCALLs that they make.
        real_ocalls: how many of these exit even where OCALLs are switchless.
        exceptions: traps delivered to the runtime inside, each with its AEX.
        aex: further AEXs, which the host handles alone.
        ecalls: ECALLs.
        hashed_bytes, encrypted_bytes, copied_bytes: what the runtime works on inside.
    """

    process: int
    phase: int
    operator: int | None
    name: str
    caller: str
    is_background: bool
    outcome: str
    why: str
    count: int
    ocalls: Range
    real_ocalls: Range
    exceptions: Range
    aex: Range
    ecalls: Range
    hashed_bytes: Range
    encrypted_bytes: Range
    copied_bytes: Range


@dataclass(frozen=True, eq=False)
class TransitionCounts:
    """What becomes of every system call and trap of a recording.

    Attributes:
        rows: the counts, by process and phase.
        left_out: what was not counted, in words, and how often it occurs.
        unknown: system calls that the runtime's table does not know; each is taken for an OCALL.
        notes: what else a reader must know.
    """

    rows: tuple[TransitionRow, ...]
    left_out: Mapping[str, int]
    unknown: Mapping[str, int]
    notes: tuple[str, ...]

    def of_phase(self, phase: Phase) -> tuple[TransitionRow, ...]:
        """The rows of one phase."""
        return tuple(r for r in self.rows if (r.process, r.phase) == (phase.process, phase.index))

    def total(self, field: str) -> Range:
        """The sum of a count over all rows, as if all ranges were low, or high, together."""
        return sum((getattr(row, field) for row in self.rows), Range.exact(0))


class _Key(NamedTuple):
    process: int
    phase: int
    operator: int | None
    name: str
    caller: str = ""
    is_background: bool = False


def count_transitions(
    recording: Recording, platform: Platform, runtime: Runtime, files: FileKinds | None = None
) -> TransitionCounts:
    """Counts what becomes of every system call and trap.

    Args:
        recording: the recording; what it does not hold is not counted and noted.
        platform: says whether RDTSC traps.
        runtime: whose rules hold.
        files: what the user says of files.

    Raises:
        RecordingError: the recording is damaged.
        UsageError: a rule of the runtime gives no number for a call.
    """
    kinds = files or FileKinds()
    # Of all mappings, what is loaded before the first instruction is what counts.
    loads = recording.derived(_loads, lambda: _loads(recording), ("mappings",))
    # Of anonymous mappings, pages count only where they are added one by one.
    stacks = (
        ()
        if runtime.memory.commits == "at_build"
        else mapped_stack_lengths(recording, runtime.memory)
    )
    # Not by the runtime: its variants may well have the same rules.
    rules = (runtime.rules_text, runtime.files, runtime.patched_objects)
    counts = recording.derived(
        (count_transitions, rules, kinds, loads, stacks),
        lambda: _Counter(recording, runtime, kinds, loads, dict(stacks)).counted(),
        _TABLES,
    )
    return counts.trapping if platform.traps.rdtsc == "traps" else counts.native


class _Effects(NamedTuple):
    """What becomes of a call or event where RDTSC runs natively, and where it traps."""

    native: Effect
    trapping: Effect


class _Counts:
    """The counts of a recording, by the field of `_Effects` that holds on a platform."""

    def __init__(self, of: Callable[[int], TransitionCounts]) -> None:
        self._of = of

    @cached_property
    def native(self) -> TransitionCounts:
        """Where RDTSC runs natively."""
        return self._of(0)

    @cached_property
    def trapping(self) -> TransitionCounts:
        """Where it traps."""
        return self._of(1)


def _loads(recording: Recording) -> tuple[Load, ...]:
    """What is mapped before the first instruction."""
    if not recording.has_table("mappings"):
        return ()
    started = {p.process for p in recording.metadata.processes if p.started == "exec"}
    loaded: dict[tuple[int, str], list[tuple[int, int]]] = {}
    table = recording.table("mappings")
    for row in table.filter(pc.equal(table["position"], 0)).to_pylist():
        is_load = row["event"] == "map" and row["kind"] == "file"
        if is_load and row["process"] in started and not is_tracer_file(row["name"]):
            segments = loaded.setdefault((row["process"], row["name"]), [])
            segments.append((row["file_offset"], row["size_bytes"]))
    return tuple(Load(*where, tuple(segments)) for where, segments in loaded.items())


class _KnownEffects:
    """What was found before by a runtime's rules, also for other tables of a recording."""

    def __init__(self, runtime: Runtime) -> None:
        self.finder = EffectFinder(runtime)
        self.of_calls: dict[Hashable, _Effects] = {}
        self.reasons: dict[str, str | None] = {}  # to leave out what is done with a path


class _Counter:
    """Counts the transitions of one recording."""

    def __init__(
        self,
        recording: Recording,
        runtime: Runtime,
        kinds: FileKinds,
        loads: tuple[Load, ...],
        stack_lengths: Mapping[tuple[int, int], int],
    ) -> None:
        self._recording = recording
        look, created = kinds.look_on_disk, recording.metadata.created
        self._disk = recording.derived((Disk, look), lambda: Disk(created, look=look), ())
        self._classifier = Classifier(kinds, runtime.files, self._disk)
        calls = call_groups(recording, self._classifier, self._disk, loads)
        self._calls = calls.with_lengths(stack_lengths)
        self._known = recording.derived(
            (_KnownEffects, runtime.rules_text), lambda: _KnownEffects(runtime), ()
        )
        self._effects = self._known.finder
        self._callers = CallerClasses(runtime.patched_objects)
        self._counts: Counter[tuple[_Key, _Effects]] = Counter()
        self._left_out: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._natively: Counter[tuple[_Key, _Effects]] = Counter()
        self._sizes: dict[KnownFile, FileSize] = {}

    def counted(self) -> _Counts:
        """Counts all."""
        self._count_loads()
        self._count_calls()
        self._count_traps()
        self._count_signals()
        notes = tuple(self._notes())

        def of(which: int) -> TransitionCounts:
            return TransitionCounts(
                self.rows(which), dict(self._left_out), dict(self._unknown), notes
            )

        return _Counts(of)

    def _count_calls(self) -> None:
        calls = self._calls
        kinds = calls.kinds(self._classifier)
        for file in calls.sized_files(self._classifier):
            self._size(file)
        alike = calls.alike(kinds, background_threads(self._recording))
        effects: dict[_Effects, int] = {}
        of_alike = np.array(
            [
                effects.setdefault(
                    self._of_alike(calls.calls[group], kinds[group], largest), len(effects)
                )
                for group, largest in zip(
                    alike.group.tolist(), alike.largest_before.tolist(), strict=True
                )
            ],
            dtype=np.int64,
        )
        # Calls of many groups become the same in one place.
        place = calls.place[alike.group]
        key = (place * (alike.operator.max(initial=0) + 2) + alike.operator + 1) * 2
        key = (key + alike.is_background) * max(len(effects), 1) + of_alike
        found = distinct_values(key)
        number = np.bincount(found.index, weights=alike.number, minlength=found.first.size)
        by_number = list(effects)
        for index in np.argsort(found.first).tolist():
            row = int(found.first[index])
            self._count_alike(
                calls.places[place[row]],
                int(alike.operator[row]),
                by_number[of_alike[row]],
                int(number[index]),
                is_background=bool(alike.is_background[row]),
            )

    def _count_alike(
        self,
        place: Place,
        operator: int,
        effects: _Effects,
        number: int,
        *,
        is_background: bool,
    ) -> None:
        natively = not place.is_part
        reason = self._reason_to_leave_out(place, is_background=is_background)
        if reason is not None:
            self._left_out[reason] += number * natively
            return
        key = _Key(
            place.process,
            place.phase,
            None if operator < 0 else operator,
            place.name,
            place.caller_class,
            is_background,
        )
        if not effects.native.is_known:
            self._unknown[place.name] += number
        self._add(key, effects, number, natively=natively)
        if natively and self._callers.is_raw(place.caller):
            self._add(
                key._replace(name=RAW_SYSCALL),
                self._raw if place.caller else self._perhaps_raw,
                number,
            )

    @cached_property
    def _raw(self) -> _Effects:
        """What becomes of the instruction of a call, where that traps."""
        return self._of_event(RAW_SYSCALL)

    @cached_property
    def _perhaps_raw(self) -> _Effects:
        return _Effects(
            *(effect.or_nothing("if the caller is not the C library") for effect in self._raw)
        )

    def _reason_to_leave_out(self, place: Place, *, is_background: bool) -> str | None:
        if place.file is not None:
            path, reasons = place.file.path, self._known.reasons
            if path not in reasons:
                reasons[path] = _reason_of_path(path)
            if reasons[path] is not None:
                return reasons[path]
        if (
            place.name in _PROFILE_CALLS
            and not is_background
            and (place.process, place.phase) in self._profiled
        ):
            return "clock reads and process ids for the profile, which sgxlens asked for"
        return None

    @cached_property
    def _profiled(self) -> set[tuple[int, int]]:
        return _profiled_phases(self._recording)

    def _size(self, file: KnownFile) -> FileSize:
        if file not in self._sizes:
            self._sizes[file] = self._disk.size(file)
        return self._sizes[file]

    def _of_alike(self, call: CallFacts, kind: str, largest_before: float) -> _Effects:
        key = (call, kind, largest_before)
        found = self._known.of_calls.get(key)
        if found is None:
            asked = self._effects.asked(call.name, kind)
            # Many calls differ in nothing that the rules ask for, as reads do in their places.
            values = call.asked(asked, kind, largest_before)
            alike = key if values is None else (call.name, kind, values)
            found = self._known.of_calls.get(alike)
            if found is None:
                is_sized = kind in OF_HOST and call.is_sized
                size = self._size(call.file) if call.file and is_sized else None
                facts, maybe = call.complete(kind, largest_before, size)
                found = self._of_call(call.name, facts, maybe, may_trap=_TRAPS in asked)
                self._known.of_calls[alike] = found
            self._known.of_calls[key] = found
        return found

    def _of_call(
        self, name: str, facts: Facts, maybe: tuple[Facts, ...], *, may_trap: bool
    ) -> _Effects:
        native = self._effects.of_call(name, facts, maybe)
        if not may_trap:
            return _Effects(native, native)
        others = tuple({**other, _TRAPS: True} for other in maybe)
        return _Effects(native, self._effects.of_call(name, {**facts, _TRAPS: True}, others))

    def _of_event(self, name: str, facts: Facts = NO_FACTS) -> _Effects:
        return _Effects(
            self._effects.of_event(name, facts),
            self._effects.of_event(name, {**facts, _TRAPS: True}),
        )

    def _count_loads(self) -> None:
        """The program and its loader, which are there before the first instruction."""
        first = {p.process: p.index for p in reversed(self._recording.phases)}
        for load, (facts, file, kind) in self._calls.loads:
            self._size(file)
            of_file = {**facts, "kind": kind or self._classifier.chosen_kind(file)}
            key = _Key(load.process, first.get(load.process, 0), None, "program_load")
            self._add(key, self._of_event("program_load", of_file))

    def _count_traps(self) -> None:
        if not self._recording.has_table("traps"):
            return
        seen: set[tuple[int, int, int]] = set()
        rows = self._recording.table("traps").to_pylist()
        for row in sorted(rows, key=lambda row: (row["process"], row["phase"])):
            kind, count = row["kind"], row["count"]
            key = _Key(row["process"], row["phase"], None, kind)
            if kind == "cpuid":
                leaf, subleaf = row["leaf"], row["subleaf"]
                which = (row["process"], leaf, subleaf if leaf in _LEAVES_WITH_SUBLEAVES else 0)
                if which not in seen:
                    seen.add(which)
                    first = {**NO_FACTS, "leaf": leaf, "is_first_use": True}
                    self._add(key, self._of_event(kind, first))
                    count -= 1
                effects = self._of_event(kind, {**NO_FACTS, "leaf": leaf})
            else:
                effects = self._of_event(kind)
                if count >= LOOP_CLOCK_READS:
                    why = "if no loop that ends after a time makes the reads"
                    effects = effects._replace(trapping=effects.trapping.or_nothing(why))
            if count:
                self._add(key, effects, count)

    def _count_signals(self) -> None:
        if not self._recording.has_table("signals"):
            return
        starts = {
            process: [p for p in self._recording.phases if p.process == process]
            for process in {p.process for p in self._recording.phases}
        }
        for row in self._recording.table("signals").to_pylist():
            phases = starts.get(row["process"], [])
            index = np.searchsorted([p.start_position for p in phases], row["position"], "right")
            phase = phases[max(int(index) - 1, 0)].index if phases else 0
            self._add(_Key(row["process"], phase, None, "signal"), self._of_event("signal"))

    def _add(self, key: _Key, effects: _Effects, count: int = 1, *, natively: bool = True) -> None:
        self._counts[key, effects] += count
        if natively:
            self._natively[key, effects] += count

    def rows(self, which: int) -> tuple[TransitionRow, ...]:
        """The counts with the effects of one field of `_Effects`, by process and phase."""
        merged: dict[tuple[_Key, str, str], int] = {}
        row, amounts = [], []
        for (key, effects), times in self._counts.items():
            effect = effects[which]
            row.append(merged.setdefault((key, effect.outcome, effect.why), len(merged)))
            amounts.append((effect.amounts, times, self._natively[key, effects]))
        sums = np.zeros((len(merged), 3 * len(COUNT_FIELDS)))
        numbers = np.zeros(len(merged), dtype=np.int64)
        if row:
            one, count, native = (np.array(values) for values in zip(*amounts, strict=True))
            np.add.at(sums, row, one * count[:, np.newaxis])
            np.add.at(numbers, row, native)
        found = []
        for (key, outcome, why), number, of_row in zip(
            merged, numbers.tolist(), sums.tolist(), strict=True
        ):
            # The counts of a row are in the order of those of a rule.
            counts = (Range(*of_row[at : at + 3]) for at in range(0, len(of_row), 3))
            found.append(TransitionRow(*key, outcome, why, number, *counts))
        return tuple(sorted(found, key=lambda r: (r.process, r.phase)))

    def _notes(self) -> Iterable[str]:
        recording = self._recording
        for table, what in (("syscalls", "system calls"), ("traps", "CPUID and RDTSC")):
            if not recording.has_table(table):
                yield f"{what} were not recorded, so that their transitions are not counted"
        for pattern in self._classifier.unused_patterns(self._calls.inside):
            yield f"no file that the program uses matches {one_line(pattern, 60)!r}"
        known_from = Counter(size.known_from for size in self._sizes.values())
        if found := known_from["disk"]:
            yield f"sizes of files are those on this machine: {found} of them"
        if found := known_from["reads"]:
            yield f"of some files only what is read is known, not the size: {found}"
        if found := known_from["nothing"]:
            yield f"of some files no size is known, so that hashing them is not counted: {found}"
        if found := self._calls.guessed_folder_count:
            yield f"of some missing paths it is not known how much of them exists: {found}"
        if found := self._calls.unknown_descriptor_count:
            yield (
                "some descriptors were not opened in the recording, so that what they are of is not"
                f" known: {found}"
            )
        if found := self._calls.unknown_caller_count:
            yield f"some system calls have no known caller and may trap: {found}"


def _profiled_phases(recording: Recording) -> set[tuple[int, int]]:
    """Phases in which ONNX Runtime profiles operators because sgxlens asked it to."""
    if recording.metadata.target.kind != "onnx":
        return set()
    return {(o.process, o.phase) for o in recording.operators if o.source == "onnxruntime_profile"}


def _reason_of_path(path: str) -> str | None:
    if is_tracer_file(path):
        return "system calls on files of the tracer"
    if _PROFILE_FILE.fullmatch(path):
        return "system calls on the profile of ONNX Runtime, which sgxlens asked for"
    return None
