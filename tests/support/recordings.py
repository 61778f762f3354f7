# SPDX-License-Identifier: Apache-2.0
"""Programs for tests, built and recorded."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import lru
from sgxlens.errors import TracerError
from sgxlens.recording import environment
from sgxlens.recording.accesses import read_chunks
from sgxlens.recording.format import ACCESS_CLASSES
from sgxlens.recording.reader import Recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.command import CommandTarget

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests/integration/programs"
MARK_INCLUDE = ROOT / "tracer/include"


def _has_tracer() -> bool:
    try:
        environment.tracer_folder()
    except TracerError:
        return False
    return True


needs_tracer = pytest.mark.skipif(not _has_tracer(), reason="sgxlens was built without its tracer")

# Of the largest value: the kernels for AVX add in another order than those for AVX-512.
TOLERANCE = 1e-4

# Of one phase and granularity: how many accesses of a class fell into a bin.
Counts = Counter[tuple[str, lru.Bin]]


def compile_program(sources: Sequence[Path], output: Path, *flags: str) -> Path:
    command = ["gcc", "-O1", "-Wall", "-Werror", f"-I{MARK_INCLUDE}", *flags]
    subprocess.run([*command, "-o", str(output), *map(str, sources)], check=True)
    return output


@contextmanager
def _without_output() -> Iterator[None]:
    """Let what runs meanwhile, and what it starts, write its output to nowhere."""
    before = os.dup(1)
    with open(os.devnull, "wb") as output:
        os.dup2(output.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def record(
    path: Path,
    *command: str,
    isa: str = "avx",
    sampling_rate: float = 1.0,
    keep_accesses: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Recording:
    """Record a command that must succeed; `settings` is its whole environment.

    Its output goes to /dev/null.
    """
    with _without_output():
        recording = record_target(
            CommandTarget(command),
            path,
            TracerOptions(isa=isa, sampling_rate=sampling_rate),
            environment=settings,
            keep_accesses=keep_accesses,
        )
    outcome = recording.metadata.outcome
    assert (outcome.status, outcome.exit_code) == ("exited", 0), outcome
    return recording


def kept_chunks(recording: Recording, process: int = 0) -> list[npt.NDArray[np.uint64]]:
    return list(read_chunks(recording.accesses_path(process)))


def phase_counts(recording: Recording, phase: str | int, granularity: str) -> Counts:
    """What the table of reuse distances says of one phase."""
    (found,) = recording.select_phases(phase)
    counts: Counts = Counter()
    for row in recording.table("reuse").to_pylist():
        if (row["phase"], row["granularity"]) == (found.index, granularity):
            cold = row["distance_min"] is None
            bounds = None if cold else (row["distance_min"], row["distance_max"])
            counts[row["access"], bounds] += row["count"]
    return counts


def by_class(counts: Mapping[tuple[int, lru.Bin], int]) -> Counts:
    """Counts of class numbers as counts of class names."""
    return Counter({(ACCESS_CLASSES[c], bounds): n for (c, bounds), n in counts.items()})


def assert_near(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    """Assert that something was computed, and the same but for rounding."""
    assert found.shape == expected.shape
    # Something was computed: not all the same, not all zero.
    assert float(expected.std()) > 0
    assert float(np.abs(found - expected).max()) <= TOLERANCE * float(np.abs(expected).max())
