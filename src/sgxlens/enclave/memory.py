# SPDX-License-Identifier: Apache-2.0
"""How much memory a program needs inside an enclave; ``docs/sizing.md`` says which size is which.

Every size of the program comes from the recording: the interpreter and all libraries are in it as
they were mapped. The sizes that the runtime adds come from its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow.compute as pc

from sgxlens.enclave.mappings.arenas import ARENA_BYTES
from sgxlens.enclave.mappings.events import recorded_stacks
from sgxlens.enclave.mappings.history import AddressSpaceHistory, Integers
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.stacks import inside_address_space, mapped_stack_bytes, stack_bytes
from sgxlens.errors import UsageError
from sgxlens.recording.format import MAPPING_KINDS, PAGE_BYTES
from sgxlens.recording.phase_names import is_inference
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.enclave.memory_rules import Memory
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.recording.reader import Phase, Recording

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class PhaseMemory:
    """Memory of one phase, at its most.

    Attributes:
        phase: the phase.
        committed_bytes: what the runtime must hold for the program.
        resident_bytes: what Linux would hold; None: not known.
        footprint_bytes: pages that the phase touches, whatever it keeps.
    """

    phase: Phase
    committed_bytes: int
    resident_bytes: int | None
    footprint_bytes: int


@dataclass(frozen=True)
class Setting:
    """A setting of the runtime as suggested.

    Attributes:
        name: its name, as in ``sgx.enclave_size``.
        value: its value.
        unit: of what.
        reason: why this value, in words.
    """

    name: str
    value: int
    unit: Literal["bytes", "threads"]
    reason: str


@dataclass(frozen=True)
class MemoryNeeds:
    """What a program needs inside an enclave, and what Linux gives it.

    Attributes:
        resident_bytes: most memory that Linux holds for it at a time; None: not known.
        resident_phase: the phase in which it does.
        committed_bytes: most memory that the runtime must hold for what the program maps.
        committed_phase: the phase in which that is.
        kind_bytes: all that the program maps then, whether it is committed or not, by kinds of
            mapping; a stack is one of its threads or of the first.
        inaccessible_bytes: what of that it may not access (``PROT_NONE``): reserved only.
        copied_bytes: what of it is an old block beside its copy, for lack of ``mremap``.
        live_thread_count: most threads of the program at a time.
        max_threads: threads that must be set: those and the runtime's own.
        deepest_stack_bytes: the most that a thread used of its stack; 0: not known.
        added_threads_bytes: stacks and heaps of threads beyond those recorded.
        threads_bytes: memory of the runtime for all threads.
        own_bytes: memory of the runtime itself.
        total_bytes: all that must fit into the enclave.
        built_bytes: pages that are added before the program starts, if set as suggested.
        inference_bytes: pages that the last inference touches: the EPC that it can use at most;
            None: there is none.
        phases: the same by phase.
        settings: what to set.
    """

    resident_bytes: int | None
    resident_phase: Phase | None
    committed_bytes: int
    committed_phase: Phase
    kind_bytes: Mapping[str, int]
    inaccessible_bytes: int
    copied_bytes: int
    live_thread_count: int
    max_threads: int
    deepest_stack_bytes: int
    added_threads_bytes: Range
    threads_bytes: Range
    own_bytes: Range
    total_bytes: Range
    built_bytes: int
    inference_bytes: int | None
    phases: tuple[PhaseMemory, ...]
    settings: tuple[Setting, ...]


def memory_needs(
    recording: Recording,
    runtime: Runtime,
    *,
    threads: int = 1,
    process: int | None = None,
    stack_size_bytes: int | None = None,
) -> MemoryNeeds:
    """The sizes of a recorded program in an enclave.

    Args:
        recording: the recording.
        runtime: the runtime.
        threads: threads that an operator will use. Each beyond those recorded takes a stack and an
            arena more: those of an operator, or all of a program that chooses for itself.
        process: which process; None: that of the last inference, or the first one.
        stack_size_bytes: what is set for stacks; None: the runtime's default. Where more of one was
            used, that and some to spare counts.

    Raises:
        UsageError: there is no such process, or fewer than one thread.
        RecordingError: the recording holds no mappings, or is damaged.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads: give at least 1")
    inference = _last_inference(recording)
    if process is None:
        process = inference.process if inference else recording.phases[0].process
    phases = recording.select_phases(None, process)
    memory = runtime.memory
    history = inside_address_space(recording, process, memory, stack_size_bytes)
    committed = _committed_bytes(history, memory)
    peak = int(np.argmax(committed))
    by_phase = _by_phase(recording, phases, history, committed)
    live = live_thread_count(recording, process)
    added = max(threads - (_operator_threads(recording) or live), 0)
    # A thread that was not recorded takes a stack and an arena of its heap, for which twice as much
    # is mapped at first to align it.
    of_thread = mapped_stack_bytes(recording, process, memory, stack_size_bytes)
    added_bytes = Range(
        added * of_thread,
        added * (of_thread + ARENA_BYTES),
        added * (of_thread + 2 * ARENA_BYTES),
    )
    max_threads = max(live + added + round(runtime.threads.own.high), memory.threads_min)
    of_stacks = recorded_stacks(recording, process)
    stack = stack_bytes(recording, process, memory, stack_size_bytes)
    slot_bytes = memory.slot_bytes.range
    own_bytes = memory.own_bytes.range
    if memory.thread_stacks == "set":
        slot_bytes += Range.exact(max(stack - int(memory.stack_bytes.likely), 0))
    else:
        # The first thread's: what it used of it is counted already.
        own_bytes += Range.exact(max(stack - of_stacks.first_bytes, 0))
    threads_bytes = slot_bytes.scaled(max_threads) + memory.thread_bytes.range.scaled(live + added)
    kinds = {kind: int(history.kind_bytes(kind)[peak]) for kind in MAPPING_KINDS}
    total = Range.exact(int(committed[peak])) + added_bytes + threads_bytes + own_bytes
    resident = _largest(by_phase)
    reserved = int((_reserved_bytes(history, memory) + _copied_bytes(history, memory)).max())
    addresses = Range.exact(reserved - int(committed[peak])) + total
    settings = tuple(
        _settings(
            memory,
            history,
            enclave_bytes=addresses,
            program_bytes=reserved + added_bytes.high,
            max_threads=max_threads,
            stack=stack,
            stack_is_given=stack_size_bytes is not None,
        )
    )
    return MemoryNeeds(
        resident_bytes=resident.resident_bytes if resident else None,
        resident_phase=resident.phase if resident else None,
        committed_bytes=int(committed[peak]),
        committed_phase=_phase_at(phases, int(history.position[peak])),
        kind_bytes=kinds,
        inaccessible_bytes=int(history.inaccessible_bytes[peak]),
        copied_bytes=int(_copied_bytes(history, memory)[peak]),
        live_thread_count=live,
        max_threads=max_threads,
        deepest_stack_bytes=of_stacks.deepest_bytes,
        added_threads_bytes=added_bytes,
        threads_bytes=threads_bytes,
        own_bytes=own_bytes,
        total_bytes=total,
        built_bytes=_built_bytes(memory, settings, total, threads_bytes, own_bytes),
        inference_bytes=(
            recording.footprint_blocks("page", inference.index, process) * PAGE_BYTES
            if inference and inference.process == process
            else None
        ),
        phases=by_phase,
        settings=settings,
    )


def live_thread_count(recording: Recording, process: int) -> int:
    """The most threads of a process that live at a time; at least 1."""
    if not recording.has_table("threads"):
        return 1
    table = recording.table("threads")
    rows = table.filter(pc.equal(table["process"], process))
    starts = rows["start_position"].to_numpy().astype(np.int64)
    ended = rows["end_position"].drop_null().to_numpy().astype(np.int64)
    # One that ends where another starts has ended.
    change = np.concatenate([-np.ones_like(ended), np.ones_like(starts)])
    order = np.argsort(np.concatenate([ended, starts]), kind="stable")
    return max(int(np.cumsum(change[order]).max(initial=1)), 1)


def _committed_bytes(history: AddressSpaceHistory, memory: Memory) -> Integers:
    """What the runtime holds for the program's mappings, for each interval of `history`."""
    resident, lazy = history.resident_page_count, history.lazy_resident_page_count
    if memory.commits == "at_touch" and resident is not None:
        committed = resident * PAGE_BYTES
    elif memory.commits == "at_map" and lazy is not None:
        committed = history.mapped_bytes - history.lazy_bytes + lazy * PAGE_BYTES
    else:
        committed = _reserved_bytes(history, memory)
    return committed + _copied_bytes(history, memory)


def _reserved_bytes(history: AddressSpaceHistory, memory: Memory) -> Integers:
    """Addresses that the program's mappings take, without copies."""
    if memory.holds_inaccessible:
        return history.mapped_bytes
    return history.mapped_bytes - history.inaccessible_bytes


def _copied_bytes(history: AddressSpaceHistory, memory: Memory) -> Integers:
    return history.copied_bytes * (memory.mremap == "copies")


def _by_phase(
    recording: Recording,
    phases: tuple[Phase, ...],
    history: AddressSpaceHistory,
    committed: Integers,
) -> tuple[PhaseMemory, ...]:
    # The interval that starts where a phase does, after all that happened at that position.
    starts = [
        int(np.searchsorted(history.position, phase.start_position, "right")) - 1
        for phase in phases
    ]
    ends = [*(max(start, 0) for start in starts[1:]), len(history.position)]
    found = []
    for phase, start, end in zip(phases, starts, ends, strict=True):
        chosen = slice(start, max(end, start + 1))
        resident = history.resident_page_count
        found.append(
            PhaseMemory(
                phase=phase,
                committed_bytes=int(committed[chosen].max()),
                resident_bytes=None
                if resident is None
                else int(resident[chosen].max()) * PAGE_BYTES,
                footprint_bytes=recording.footprint_blocks("page", phase.index, phase.process)
                * PAGE_BYTES,
            )
        )
    return tuple(found)


def _largest(phases: tuple[PhaseMemory, ...]) -> PhaseMemory | None:
    """The first phase with the most resident memory; None: it is not known."""
    known = [phase for phase in phases if phase.resident_bytes is not None]
    return max(known, key=lambda phase: phase.resident_bytes or 0) if known else None


def _phase_at(phases: tuple[Phase, ...], position: int) -> Phase:
    return next((p for p in reversed(phases) if p.start_position <= position), phases[0])


def _last_inference(recording: Recording) -> Phase | None:
    return next((p for p in reversed(recording.phases) if is_inference(p.name)), None)


def _operator_threads(recording: Recording) -> int | None:
    """Threads that an operator had when it was recorded; None: that is the program's own choice."""
    known = getattr(recording.metadata.target, "threads", None)
    return known if isinstance(known, int) and known > 0 else None


def _settings(
    memory: Memory,
    history: AddressSpaceHistory,
    *,
    enclave_bytes: Range,
    program_bytes: float,
    max_threads: int,
    stack: int,
    stack_is_given: bool,
) -> list[Setting]:
    names = memory.settings
    kinds = [MAPPING_KINDS.index(kind) for kind in ("anonymous", "shared_memory", "heap")]
    allocated = _rounded(int(history.accessible_bytes(kinds).max()), _MEBIBYTE)
    enclave = power_of_two(enclave_bytes.high)
    reason = "all that must fit, at its most, as a power of two"
    if power_of_two(enclave_bytes.likely) < enclave:
        reason += f"; {format_bytes(power_of_two(enclave_bytes.likely))} are likely enough"
    program = _rounded(program_bytes, _MEBIBYTE)
    heap = _rounded(int(history.kind_bytes("heap").max(initial=0)), _MEBIBYTE)
    found = [
        Setting(names.enclave, enclave, "bytes", reason),
        Setting(names.program, program, "bytes", "all that the program maps at its peak"),
        Setting(names.allocated, allocated, "bytes", "what the program allocates and may access"),
        Setting(names.threads, max_threads, "threads", "the program's and the runtime's own"),
        Setting(names.stack, stack, "bytes", "what the deepest stack used, and some to spare"),
        Setting(names.heap, heap, "bytes", "what the program got with brk"),
    ]
    enough = {names.heap} if heap == 0 else set()
    if stack <= memory.stack_bytes.likely and not stack_is_given:
        enough.add(names.stack)
    return [setting for setting in found if setting.name and setting.name not in enough]


def _built_bytes(
    memory: Memory,
    settings: tuple[Setting, ...],
    total: Range,
    threads_bytes: Range,
    own_bytes: Range,
) -> int:
    if memory.commits != "at_build":
        return _rounded(threads_bytes.likely + own_bytes.likely, PAGE_BYTES)
    enclave = next((s.value for s in settings if s.name == memory.settings.enclave), None)
    # A size that is not a power of two is padded with addresses, not with pages.
    return enclave if enclave is not None else _rounded(total.likely, PAGE_BYTES)


def power_of_two(size_bytes: float) -> int:
    """The least power of two that is not below a size."""
    return 1 << max(int(-(-size_bytes // 1)) - 1, 0).bit_length()


def _rounded(size_bytes: float, unit_bytes: int) -> int:
    return int(-(-size_bytes // unit_bytes)) * unit_bytes
