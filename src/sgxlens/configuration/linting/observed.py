# SPDX-License-Identifier: Apache-2.0
"""What a recording tells of the program that a configuration file is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from sgxlens.configuration.program import Program, need_tables, recorded_program
from sgxlens.enclave.files import FileKinds
from sgxlens.enclave.memory import MemoryNeeds, memory_needs
from sgxlens.enclave.system_calls.callers import CallerClasses
from sgxlens.prediction.inputs import chosen_phase, thread_count

if TYPE_CHECKING:
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.recording.reader import Phase, Recording


@dataclass(frozen=True, eq=False)
class Observed:
    """A recorded program in a runtime.

    Attributes:
        recording: where it is from.
        phase: the steady inference, or the longest phase.
        program: its files and calls.
        needs: what memory and how many threads it needs.
        threads: threads that work at once.
        raw_calls: system calls that object files make by themselves and not through the C library,
            by object file, in the whole recording.
        raw_inference_calls: those of the phase, all together.
        children: programs that other processes of it run, one for each process.
    """

    recording: Recording
    phase: Phase
    program: Program
    needs: MemoryNeeds
    threads: int
    raw_calls: Mapping[str, int]
    raw_inference_calls: int
    children: tuple[str, ...]


def observe(recording: Recording, runtime: Runtime, stack_size_bytes: int | None) -> Observed:
    """What a recording tells.

    Args:
        recording: the recording.
        runtime: the runtime.
        stack_size_bytes: what the file sets for stacks; None: nothing that is known.

    Raises:
        RecordingError: it is damaged, or lacks system calls or mappings.
    """
    need_tables(recording)
    phase = chosen_phase(recording, None)
    threads = thread_count(recording, phase, None, native_is_given=True)
    raw, raw_inference = _raw_calls(recording, runtime, phase)
    return Observed(
        recording=recording,
        phase=phase,
        program=recorded_program(recording, phase.process, runtime, FileKinds()),
        needs=memory_needs(
            recording,
            runtime,
            threads=threads,
            process=phase.process,
            stack_size_bytes=stack_size_bytes,
        ),
        threads=threads,
        raw_calls=raw,
        raw_inference_calls=raw_inference,
        children=tuple(
            info.program
            for info in recording.metadata.processes
            if info.pid != recording.metadata.processes[0].pid
        ),
    )


def _raw_calls(
    recording: Recording, runtime: Runtime, phase: Phase
) -> tuple[Mapping[str, int], int]:
    table = recording.table("syscalls")
    mine = table.filter(pc.equal(table["process"], phase.process)).select(["caller", "phase"])
    classes = CallerClasses(runtime.patched_objects)
    total: dict[str, int] = {}
    of_phase = 0
    counts = mine.group_by(["caller", "phase"]).aggregate([([], "count_all")])
    for row in counts.to_pylist():
        caller = row["caller"]
        if caller and classes.is_raw(caller):
            total[caller] = total.get(caller, 0) + row["count_all"]
            of_phase += row["count_all"] if row["phase"] == phase.index else 0
    return dict(sorted(total.items(), key=lambda item: -item[1])), of_phase
