# SPDX-License-Identifier: Apache-2.0
"""What leaving and entering the enclave costs a recorded program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.system_calls.callers import parallel_operators, threads_spin
from sgxlens.enclave.transition_counts import (
    CLOCK_CALLS,
    TransitionCounts,
    TransitionRow,
    count_transitions,
)
from sgxlens.recording.phase_names import is_inference, is_warm_up

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sgxlens.enclave.files import FileKinds
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.quantities import Constant
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.recording.reader import Phase, Recording

__all__ = ["TransitionCounts", "TransitionRow", "count_transitions", "transition_charges"]

#: `Charge.what` of regions that are started and joined by several threads.
REGIONS = "parallel regions"
#: How threads of a parallel operator wait for each other.
_SYNCHRONISATION = frozenset({"futex", "sched_yield"})


def transition_charges(
    recording: Recording,
    phase: Phase,
    platform: Platform,
    runtime: Runtime,
    files: FileKinds | None = None,
    *,
    threads: int = 1,
    native_seconds: float | None = None,
) -> list[Charge]:
    """What leaving and entering the enclave costs in one phase.

    What threads do in the background is left out, since the phase does not wait for it. In an
    operator that is split among threads, starting and joining them is charged in place of their
    futex calls: the tracer runs one thread at a time, so that they wait for each other otherwise
    than natively. Of an operator in which only one was seen to work, that is not sure. Threads that
    spin while they wait are found awake: starting and joining them makes no exit.
    Asynchronous exits for pages that are not in the EPC are part of paging, and what the runtime
    does before the program starts is part of `startup_charges`.

    Args:
        recording: the recording.
        phase: one of its phases.
        platform: its costs.
        runtime: its rules.
        files: what the user says of files.
        threads: threads that work at once in an operator.
        native_seconds: how long the phase takes natively; without it, timer interrupts and the
            reading of the host's clock are not charged.

    Raises:
        RecordingError: the recording is damaged.
        UsageError: a rule gives no number for a call; the platform knows no such count of threads.
    """
    counts = count_transitions(recording, platform, runtime, files)
    costs = platform.transitions
    split = parallel_operators(recording) if threads > 1 else set()
    found: list[Charge] = []
    clock_reads = 0
    for row in counts.of_phase(phase):
        if row.is_background:
            continue
        if row.name in CLOCK_CALLS and row.outcome == "inside":
            clock_reads += row.count
        if (row.process, row.operator) in split and row.name in _SYNCHRONISATION:
            continue
        found += _charges_of(row, platform, runtime)
    if threads > 1:
        found += _parallel_charges(recording, phase, split, platform, threads)
    found += _entry_charges(phase, platform, runtime)
    if native_seconds is not None:
        period_ms = runtime.clock.resync_period_ms.range
        if clock_reads and period_ms.low > 0 and platform.traps.rdtsc == "native":
            most = native_seconds * 1000 / period_ms.low
            asked = Range(0, min(clock_reads, most), min(clock_reads, most + 1))
            constant = costs.switchless_ocall_ns if runtime.switchless else costs.ocall_ns
            found.append(Charge("transitions", "OCALLs of clock reads", constant, asked))
        # Each busy thread is interrupted so often, all at the same time.
        interrupts = costs.timer_hz.range.scaled(native_seconds)
        found.append(Charge("transitions", "AEXs of timer interrupts", costs.aex_ns, interrupts))
    return [charge for charge in found if charge.count.high > 0]


def _charges_of(row: TransitionRow, platform: Platform, runtime: Runtime) -> Iterator[Charge]:
    costs = platform.transitions

    def charge(what: str, constant: Constant, count: Range) -> Charge:
        return Charge("transitions", f"{what} of {row.name}", constant, count, row.operator)

    if runtime.switchless:
        real = Range(
            min(row.real_ocalls.low, row.ocalls.low),
            min(row.real_ocalls.likely, row.ocalls.likely),
            min(row.real_ocalls.high, row.ocalls.high),
        )
        likely = row.ocalls.likely - real.likely
        rest = (row.ocalls.low - real.low, likely, row.ocalls.high - real.high)
        yield charge("OCALLs", costs.ocall_ns, real)
        yield charge(
            "switchless OCALLs", costs.switchless_ocall_ns, Range(min(rest), likely, max(rest))
        )
    else:
        yield charge("OCALLs", costs.ocall_ns, row.ocalls)
    yield charge("traps", costs.exception_ns, row.exceptions)
    yield charge("AEXs", costs.aex_ns, row.aex)
    yield charge("ECALLs", costs.ecall_ns, row.ecalls)


def _parallel_charges(
    recording: Recording,
    phase: Phase,
    split: Collection[tuple[int, int]],
    platform: Platform,
    threads: int,
) -> Iterator[Charge]:
    constant = platform.transitions.parallel_region_ns.at(threads)
    # If none is seen to be split, the recording is of one thread: then any of them may be.
    others = Range(0, 0 if split else 1, 1)
    mine = [o for o in recording.operators if (o.process, o.phase) == (phase.process, phase.index)]
    spins, is_first = threads_spin(recording), True
    parents = {operator.parent for operator in mine}
    for operator in mine:
        is_split = (operator.process, operator.number) in split
        if is_split or operator.number not in parents:
            count = Range.exact(1) if is_split else others
            if spins:
                # At most the first finds them asleep, since the phase before.
                count, is_first = Range(0, 0, float(is_first)), False
            yield Charge("transitions", REGIONS, constant, count, operator.number)


def _entry_charges(phase: Phase, platform: Platform, runtime: Runtime) -> Iterator[Charge]:
    if is_inference(phase.name) or is_warm_up(phase.name):
        count = runtime.entry.inference_ecalls.range
        constant = platform.transitions.ecall_ns
        yield Charge("transitions", "ECALLs of the inference", constant, count)
