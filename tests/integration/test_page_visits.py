# SPDX-License-Identifier: Apache-2.0
"""Memories of pages simulated from the visits of a recording, against those of all its accesses."""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from reclaimed import ReclaimedMemory
from recordings import MARK_INCLUDE, PROGRAMS, needs_tracer, record
from sgxlens.enclave.epc import EpcSimulation
from sgxlens.recording.accesses import read_chunks
from sgxlens.recording.reader import Recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.onnx import OnnxTarget
from sgxlens.reuse.page_memory import POLICIES, PageMemory, PagingCounts, Policy, access_blocks
from sgxlens.reuse.page_visits import PageVisits, simulate_visits

pytestmark = needs_tracer

#: A policy and the pages that the memory holds.
Case = tuple[Policy | Literal["linux"], int]


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that finds the page accesses in the words of a stream."""
    output = tmp_path_factory.mktemp("decoder") / "page_accesses"
    source = PROGRAMS / "page_accesses.cpp"
    flags = ["-O2", "-std=c++20", "-Wall", "-Wextra", "-Werror", f"-I{MARK_INCLUDE}"]
    subprocess.run(["g++", *flags, "-o", str(output), str(source)], check=True)
    return output


def page_accesses(recording: Recording, decoder: Path) -> Iterator[npt.NDArray[np.uint32]]:
    """The page accesses of a kept stream, in pieces, as the program writes them."""
    with subprocess.Popen([decoder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin = process.stdin

        def feed() -> None:
            with stdin:
                for chunk in read_chunks(recording.accesses_path(0)):
                    stdin.write(chunk.tobytes())

        feeder = threading.Thread(target=feed)
        feeder.start()
        while piece := process.stdout.read(1 << 24):
            yield np.frombuffer(piece, np.uint32)
        feeder.join()
    assert process.returncode == 0


def simulate(
    recording: Recording, decoder: Path, cases: Iterable[Case]
) -> dict[Case, PagingCounts]:
    """What memories that were empty at first do under all accesses of a recording."""
    memories = {
        (policy, capacity): ReclaimedMemory(capacity)
        if policy == "linux"
        else PageMemory(policy, capacity)
        for policy, capacity in cases
    }
    for piece in page_accesses(recording, decoder):
        for block in access_blocks((piece >> 1).astype(np.int64), (piece & 1).astype(np.bool_)):
            for memory in memories.values():
                memory.access(block)
    return {case: memory.counts for case, memory in memories.items()}


def visits_of(recording: Recording) -> PageVisits:
    filter_page_count = recording.metadata.settings.visit_page_count
    assert filter_page_count is not None
    return PageVisits.from_rows(recording.table("page_visits"), filter_page_count)


def check(recording: Recording, decoder: Path, capacities: Sequence[int]) -> None:
    visits = visits_of(recording)
    full = simulate(recording, decoder, itertools.product((*POLICIES, "linux"), capacities))
    far: dict[Case, int] = {}
    for (policy, capacity), expected in full.items():
        if policy == "linux":
            loads = int(EpcSimulation(visits).run(policy, capacity).load_count.sum())
            rel = 1e-3 if capacity >= 2000 else 5e-3
            assert loads == pytest.approx(expected.miss_count, rel=rel), (capacity, loads, expected)
            continue
        found = simulate_visits(visits, policy, capacity)
        case = policy, capacity, expected, found
        assert expected.eviction_count > 0, case
        if policy == "lru":
            assert found == expected, case
            continue
        assert found.dirty_eviction_count == pytest.approx(
            expected.dirty_eviction_count, rel=1e-2
        ), case
        if found.miss_count != pytest.approx(expected.miss_count, rel=1e-3):
            far[policy, capacity] = found.miss_count
    assert len(far) <= 2, far
    # Where misses jump from one size to the next, the jump may come a few pages sooner or later.
    around = {
        case: [(case[0], case[1] * n // 1000) for n in (990, 995, 1005, 1010)] for case in far
    }
    near = simulate(recording, decoder, itertools.chain(*around.values())) if far else {}
    for far_case, miss_count in far.items():
        misses = [near[case].miss_count for case in around[far_case]]
        assert min(misses) <= miss_count <= max(misses), (far_case, miss_count, misses)


def test_a_small_program(tmp_path: Path, decoder: Path) -> None:
    words = "".join(f"{i * 2654435761 % 100_003} word {i % 7}\n" for i in range(20_000))
    (tmp_path / "text").write_text(words)
    command = ["/usr/bin/sort", "--parallel=1", str(tmp_path / "text")]
    recording = record(tmp_path / "r", *command, keep_accesses=True)
    # So few pages that the other policies often evict one in its visit.
    for (_, capacity), full in simulate(recording, decoder, [("lru", 256), ("lru", 350)]).items():
        assert full.eviction_count > 0
        assert simulate_visits(visits_of(recording), "lru", capacity) == full


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet", "resnet50", "bvlc_alexnet"])
def test_a_model(name: str, tmp_path: Path, decoder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
    with OnnxTarget(model, warmup=1, runs=2) as target:
        recording = record_target(target, tmp_path / "r", TracerOptions(), keep_accesses=True)
    assert recording.metadata.outcome.is_clean, recording.metadata.outcome
    check(recording, decoder, [1000, 2000, 4000, 8000, 12_000])
    # A few bytes a visit on disk.
    rows = recording.table("page_visits").num_rows
    assert (recording.path / "page_visits.parquet").stat().st_size < 5 * rows
