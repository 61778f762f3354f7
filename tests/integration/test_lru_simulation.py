# SPDX-License-Identifier: Apache-2.0
"""Miss-ratio curves of a real program: against simulated LRU memories, exact against sampled."""

from __future__ import annotations

from pathlib import Path

import pytest

import lru
from recordings import kept_chunks, needs_tracer, record
from sgxlens.cli.main import main
from sgxlens.recording._reference import decode, line_accesses, page_accesses
from sgxlens.recording.format import BLOCK_BYTES
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.recording.schemas import TABLES
from sgxlens.reuse.curves import miss_ratio_curve
from sgxlens.reuse.sampling import estimate_miss_ratio

pytestmark = needs_tracer
SETTINGS = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("sort")
    words = (f"{i * 2654435761 % 100003} word {i % 7}\n" for i in range(1500))
    (folder / "text").write_text("".join(words))
    command = ["/usr/bin/sort", "--parallel=1", str(folder / "text")]
    return record(folder / "exact", *command, keep_accesses=True, settings=SETTINGS)


@pytest.fixture(scope="module")
def accesses(recording: Recording) -> dict[str, list[lru.Access]]:
    entries = decode(kept_chunks(recording)).entries
    return {"line": line_accesses(entries), "page": page_accesses(entries)}


@pytest.mark.parametrize(
    ("granularity", "capacity"),
    [("line", 64), ("line", 512), ("line", 4096), ("page", 8), ("page", 64), ("page", 256)],
)
def test_misses_equal_those_of_a_simulated_memory(
    granularity: str,
    capacity: int,
    recording: Recording,
    accesses: dict[str, list[lru.Access]],
) -> None:
    curve = miss_ratio_curve(recording.reuse(granularity), [capacity])
    assert curve.is_exact.all()
    assert curve.access_count == len(accesses[granularity])
    assert curve.miss_count.tolist() == [lru.misses(accesses[granularity], capacity)]


def _replayed(recording: Recording, output: Path, *options: str) -> Recording:
    assert main(["replay", str(recording.path), "--quiet", "-o", str(output), *options]) == 0
    return open_recording(output)


def test_replay_gives_the_same_tables_bit_for_bit(recording: Recording, tmp_path: Path) -> None:
    replayed = _replayed(recording, tmp_path / "replayed")
    assert replayed.metadata.tables.keys() == recording.metadata.tables.keys()
    for name in recording.metadata.tables:
        file_name = TABLES[name].file_name
        assert (replayed.path / file_name).read_bytes() == (
            recording.path / file_name
        ).read_bytes(), name
    assert replayed.metadata.processes == recording.metadata.processes


def test_sampled_replay_equals_the_sampled_recording(tmp_path: Path) -> None:
    made = record(
        tmp_path / "sampled",
        "/bin/true",
        sampling_rate=0.1,
        keep_accesses=True,
        settings=SETTINGS,
    )
    replayed = _replayed(made, tmp_path / "replayed", "--sampling-rate", "0.1")
    assert replayed.metadata.tables.keys() == made.metadata.tables.keys()
    assert not made.has_table("contexts")
    for name in made.metadata.tables:
        assert replayed.table(name).equals(made.table(name)), name


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("granularity", ["line", "page"])
def test_sampling_stays_within_its_bounds(
    rate: float, granularity: str, recording: Recording, tmp_path: Path
) -> None:
    sampled = _replayed(recording, tmp_path / "sampled", "--sampling-rate", str(rate))
    exact = recording.reuse(granularity)
    capacities = [2**k for k in range(30) if 2**k * BLOCK_BYTES[granularity] <= 64 << 20]
    curve = miss_ratio_curve(exact, capacities)
    estimate = estimate_miss_ratio(sampled.reuse(granularity), exact.total, rate, capacities)
    assert (estimate.miss_ratio_low <= curve.miss_ratio).all()
    assert (curve.miss_ratio <= estimate.miss_ratio_high).all()
    # The bounds mean something only where they are narrow, and they are for large memories.
    assert estimate.miss_ratio_high[-1] - estimate.miss_ratio_low[-1] < 0.02 / rate


def test_sampled_recording_counts_all_accesses(recording: Recording, tmp_path: Path) -> None:
    sampled = _replayed(recording, tmp_path / "sampled", "--sampling-rate", "0.1")
    of_both = [
        [
            (row["phase"], row["granularity"], row["access"], row["access_count"])
            for row in r.table("footprints").to_pylist()
        ]
        for r in (recording, sampled)
    ]
    assert of_both[0] == of_both[1]
