# SPDX-License-Identifier: Apache-2.0
"""The EPC simulated from a real recording, against what was counted while it was made."""

from __future__ import annotations

from pathlib import Path

from recordings import needs_tracer, record
from sgxlens.enclave.epc import EpcSimulation
from sgxlens.reuse.curves import miss_ratio_curve
from sgxlens.reuse.page_visits import PageVisits

pytestmark = needs_tracer


def test_lru_loads_are_the_misses_of_the_page_curve(tmp_path: Path) -> None:
    words = "".join(f"{i * 2654435761 % 100_003} word {i % 7}\n" for i in range(30_000))
    (tmp_path / "text").write_text(words)
    recording = record(tmp_path / "r", "/usr/bin/sort", "--parallel=1", str(tmp_path / "text"))
    filter_page_count = recording.metadata.settings.visit_page_count
    assert filter_page_count is not None
    visits = PageVisits.from_rows(recording.table("page_visits"), filter_page_count)
    # Reuse distances are kept in bins, which meet at powers of two.
    capacities = [256, 512, 1024]
    curve = miss_ratio_curve(recording.reuse("page"), capacities)
    assert curve.is_exact.all()
    runs = EpcSimulation(visits).sweep("lru", capacities)
    assert [int(run.load_count.sum()) for run in runs] == curve.miss_count.tolist()
    assert curve.miss_count[0] > curve.miss_count[1] > len(set(visits.page.tolist()))
