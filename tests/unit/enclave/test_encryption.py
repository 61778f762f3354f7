# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import attributed
from sgxlens.enclave.cache import miss_probability
from sgxlens.enclave.encryption import (
    UNKNOWN_RANDOM_SHARE,
    LineMisses,
    encryption_charges,
    line_misses,
)
from sgxlens.enclave.platform import Platform, load_platform
from sgxlens.errors import RecordingError
from sgxlens.recording.reader import Phase, Recording, open_recording

MakeRecording = Callable[..., Path]


def _last_phase(path: Path) -> tuple[Recording, Phase]:
    recording = open_recording(path)
    return recording, recording.phases[-1]


def _platform(llc_bytes: int) -> Platform:
    return load_platform("xeon-e-2288g").overridden(llc_bytes=llc_bytes)


def test_weights_that_do_not_fit_are_charged_to_who_reads_them(
    make_recording: MakeRecording,
) -> None:
    recording, phase = _last_phase(make_recording(attributed.tables()))
    charges = encryption_charges(recording, phase, _platform(16 * 64))
    platform = _platform(16 * 64)
    assert {charge.cause for charge in charges} == {"encryption"}
    conv, gemm = (o.number for o in recording.operators if o.phase == phase.index)
    counts = {(c.operator, c.role, c.what): c.count for c in charges}
    # One set of 16 lines: a fully associative LRU memory. The convolution reads its weights twice.
    assert counts[conv, "weights", "sequential lines"].likely == pytest.approx(2 * 70)
    # The last aligned group of 8 has 6 of the 70 lines, and 2 of the 130.
    assert (conv, "weights", "random lines") not in counts
    assert counts[gemm, "weights", "sequential lines"].likely == pytest.approx(128)
    assert counts[gemm, "weights", "random lines"].likely == pytest.approx(2)
    assert all(
        c.constant
        == (
            platform.encryption.random_ns
            if c.what == "random lines"
            else platform.encryption.sequential_ns.at(1)
        )
        for c in charges
    )


def test_what_misses_does_not_depend_on_the_parts_in_which_rows_are_read(
    make_recording: MakeRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_recording(attributed.tables())

    def found(part_row_count: int) -> list[tuple[LineMisses, ...]]:
        monkeypatch.setattr("sgxlens.attribution.facts._PART_ROW_COUNT", part_row_count)
        recording = open_recording(path)
        cache = _platform(16 * 64).cache
        return [line_misses(recording, phase, cache) for phase in recording.phases]

    whole = found(1 << 20)
    assert len(whole[-1]) > 2
    assert found(1) == found(3) == whole


def test_bins_that_overlap_are_damage_in_whatever_parts_they_are(
    make_recording: MakeRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgxlens.attribution.facts._PART_ROW_COUNT", 1)
    tables = attributed.tables()
    last = tables["phases"][-1]["phase"]
    contexts = {row["context"] for row in tables["contexts"] if row["phase"] == last}
    alike = [
        row
        for row in tables["reuse_sources"]
        if (row["granularity"], row["distance_min"]) == ("line", 224) and row["context"] in contexts
    ]
    assert len(alike) > 1
    alike[-1]["distance_max"] += 1
    recording, phase = _last_phase(make_recording(tables))
    with pytest.raises(RecordingError, match=r"reuse_sources\.parquet: bins overlap"):
        line_misses(recording, phase, _platform(16 * 64).cache)


def test_what_fits_the_cache_costs_nothing(make_recording: MakeRecording) -> None:
    recording, phase = _last_phase(make_recording(attributed.tables()))
    assert sum(c.count.high for c in encryption_charges(recording, phase, _platform(1 << 24))) == 0


def test_without_attribution_all_is_one_sum(make_recording: MakeRecording) -> None:
    recording, phase = _last_phase(make_recording())
    sequential, random = encryption_charges(recording, phase, _platform(16 * 64))
    assert {(c.operator, c.role) for c in (sequential, random)} == {(None, None)}
    reuse = recording.reuse("line", phase.index)
    high = reuse.count @ miss_probability(reuse.distance_max_blocks, 16 * 64, 16)
    assert sequential.count.high == pytest.approx(high + reuse.cold_count)
    assert random.count.high == pytest.approx(UNKNOWN_RANDOM_SHARE.high * sequential.count.high)


def test_the_published_cost_of_a_working_set_of_about_the_cache_is_explained() -> None:
    """SGX4ML (doi:10.18420/BTW2023-44), medium_mlp: 14.3 MB cost 1.2 to 2.5 ns a line."""
    platform = load_platform("xeon-e-2288g")
    size = platform.cache.llc_bytes
    missed = miss_probability([14_300_000 // 64], size.likely, platform.cache.llc_ways)[0]
    assert 1.2 < missed * platform.encryption.sequential_ns.at(1).likely < 2.5


@pytest.mark.parametrize(
    ("area_mib", "published"), [(16, 0.0166), (32, 0.3138), (64, 0.6675), (128, 0.8371)]
)
def test_published_misses_of_random_reads_are_within_the_range(
    area_mib: int, published: float
) -> None:
    """LLC misses a read on a Xeon Gold 6326, as its platform file says where they are from."""
    cache = load_platform("xeon-gold-6326").cache
    # Of independent uniform accesses all positions in the LRU stack are as likely.
    distances = np.linspace(0, area_mib * 16384 - 1, 4000, dtype=np.int64)
    low, high = (
        miss_probability(distances, size, cache.llc_ways).mean()
        for size in (cache.llc_bytes.high, cache.llc_bytes.low)
    )
    assert low - 0.005 < published < high + 0.005
    assert high - low < 0.15
