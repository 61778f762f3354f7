# SPDX-License-Identifier: Apache-2.0
"""Memories of pages simulated from the visits of a recording, against those of all its accesses."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from recordings import MARK_INCLUDE, PROGRAMS, needs_tracer, record
from sgxlens.recording.accesses import read_chunks
from sgxlens.recording.reader import Recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.onnx import OnnxTarget
from sgxlens.reuse.page_memory import POLICIES, PageMemory, PagingCounts, Policy, access_blocks
from sgxlens.reuse.page_visits import PageVisits, simulate_visits

pytestmark = needs_tracer


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


def simulate_all(
    recording: Recording, decoder: Path, capacities: list[int], policies: Sequence[Policy]
) -> dict[tuple[Policy, int], PagingCounts]:
    memories = {(p, c): PageMemory(p, c) for p in policies for c in capacities}
    for piece in page_accesses(recording, decoder):
        for block in access_blocks((piece >> 1).astype(np.int64), (piece & 1).astype(np.bool_)):
            for memory in memories.values():
                memory.access(block)
    return {key: memory.counts for key, memory in memories.items()}


def check(
    recording: Recording,
    decoder: Path,
    capacities: list[int],
    policies: Sequence[Policy] = POLICIES,
) -> None:
    filter_page_count = recording.metadata.settings.visit_page_count
    assert filter_page_count is not None
    visits = PageVisits.from_rows(recording.table("page_visits"), filter_page_count)
    simulated = simulate_all(recording, decoder, capacities, policies)
    for (policy, capacity), full in simulated.items():
        found = simulate_visits(visits, policy, capacity)
        case = policy, capacity, full, found
        assert full.eviction_count > 0, case
        if policy == "lru":
            assert found == full, case
        else:
            assert found.miss_count == pytest.approx(full.miss_count, rel=1e-3), case
            assert found.dirty_eviction_count == pytest.approx(
                full.dirty_eviction_count, rel=1e-2
            ), case


def test_a_small_program(tmp_path: Path, decoder: Path) -> None:
    words = "".join(f"{i * 2654435761 % 100_003} word {i % 7}\n" for i in range(20_000))
    (tmp_path / "text").write_text(words)
    command = ["/usr/bin/sort", "--parallel=1", str(tmp_path / "text")]
    recording = record(tmp_path / "r", *command, keep_accesses=True)
    # So few pages that the other policies often evict one in its visit.
    check(recording, decoder, [256, 350], ["lru"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet", "bvlc_alexnet"])
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
