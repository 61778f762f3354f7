# SPDX-License-Identifier: Apache-2.0
"""Clock reads: RDTSC, which traps on SGX1, and calls that ask the host for the time there; CPUID.

What reads the time stamp counter most is a worker thread of OpenBLAS, which NumPy has: before it
sleeps it reads the counter until thread_timeout ticks have passed (blas_thread_server() in
OpenMathLib/OpenBLAS:driver/others/blas_server.c). In recordings, importing NumPy reads it some
million times where there is more than one processor, and 10 times with one thread.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.rules.frequent_calls import CallKind, fewer_calls
from sgxlens.advice.steps import environment_step
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.transition_counts import LOOP_CLOCK_READS
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

_READS = frozenset({"rdtsc", "rdtscp"})
_UNKNOWN = Cost("latency", "what was measured is no longer known")
_READS_OF_ANY = CallKind(
    _READS,
    "Read the time stamp counter less often",
    (
        Step(
            "RDTSC traps on this platform. Switch off what measures time: profiling, tracing,"
            " statistics, spinning with a deadline.",
        ),
    ),
    _UNKNOWN,
)
_KINDS = (
    CallKind(
        frozenset({"clock_gettime", "gettimeofday", "time"}),
        "Read the clock less often",
        (
            Step(
                "Switch off what measures time in each operator.",
                "python",
                "options = onnxruntime.SessionOptions()\noptions.enable_profiling = False",
            ),
        ),
        _UNKNOWN,
    ),
    CallKind(
        frozenset({"cpuid"}),
        "Start fewer processes: each asks what the processor can do",
        (
            Step(
                "CPUID traps. Loaders and libraries ask once in a process: keep one process for"
                " many requests, and start no helpers.",
            ),
        ),
        Cost("memory", "the process stays"),
    ),
)


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Fewer reads of clocks and of the processor's features, where they trap."""
    library = _openblas(situation)
    reads = _READS_OF_ANY if library is None else _of_openblas(situation, library)
    return fewer_calls(situation, (reads, *_KINDS))


RULE = Rule("clock_reads", "RDTSC, clock reads and CPUID, which trap", find)


def _openblas(situation: Situation) -> str | None:
    """The OpenBLAS that a process with loops of clock reads maps; None: none, or no such loop."""
    return mapped_openblas(situation) if _loops(situation) else None


def mapped_openblas(situation: Situation) -> str | None:
    """The file of OpenBLAS that the process maps; None: none is known."""
    recording, process = situation.recording, situation.phase.process
    if not recording.has_table("mappings"):
        return None
    names = (
        row["name"]
        for row in recording.table("mappings").select(["process", "name"]).to_pylist()
        if row["process"] == process
    )
    return next((name for name in names if "openblas" in PurePath(name).name), None)


def _loops(situation: Situation) -> Counter[str]:
    """Reads of the time stamp counter by phase, where it is a loop that makes them."""
    recording, process = situation.recording, situation.phase.process
    counts: Counter[int] = Counter()
    if recording.has_table("traps"):
        for row in recording.table("traps").to_pylist():
            if row["process"] == process and row["kind"] in _READS:
                counts[row["phase"]] += row["count"]
    return Counter(
        {
            phase.name: counts[phase.index]
            for phase in recording.phases
            if phase.process == process and counts[phase.index] >= LOOP_CLOCK_READS
        }
    )


def _of_openblas(situation: Situation, library: str) -> CallKind:
    return CallKind(
        _READS,
        "Keep worker threads of OpenBLAS from waiting by the clock",
        (
            environment_step(situation.runtime, "OPENBLAS_NUM_THREADS", "1"),
            Step(
                "Or, if NumPy computes much, let its threads sleep at once.",
                "shell",
                "export OPENBLAS_THREAD_TIMEOUT=4",
            ),
        ),
        Cost("latency", "with one thread, matrix products of NumPy itself take longer; neither"
             " ONNX Runtime nor PyTorch use its OpenBLAS"),
        evidence=tuple(
            Evidence(
                f"reads of the time stamp counter in phase {name}, with"
                f" {one_line(PurePath(library).name, 60)} mapped",
                *(Range.exact(count), "count", "table traps"),
            )
            for name, count in _loops(situation).items()
        ),
        assumptions=(
            "The start waits for the threads that read: the recording does not say which they are.",
        ),
        modification=Modification(environment={"OPENBLAS_NUM_THREADS": "1"}),
    )  # fmt: skip
