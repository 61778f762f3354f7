# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attributed
from sgxlens.errors import UsageError
from sgxlens.recording.reader import open_recording
from sgxlens.report.attribution_section import AttributionSection, RegionUser, Tensor, parse_tensors
from sgxlens.report.document import Document, build_document
from sgxlens.report.ordering import ORDERS, choose_order, ordered

MakeRecording = Callable[..., Path]


@pytest.fixture
def document(make_recording: MakeRecording) -> Document:
    return build_document(open_recording(make_recording(attributed.tables())), at_bytes=8192)


@pytest.fixture
def section(document: Document) -> AttributionSection:
    assert document.no_attribution == ""
    assert document.attribution is not None
    return document.attribution


def test_operators_are_those_of_the_phase_looked_at(section: AttributionSection) -> None:
    assert section.operators is not None
    conv, gemm = section.operators.rows
    assert [(row.name, row.type, row.index) for row in (conv, gemm)] == [
        (attributed.CONV, "Conv", 0),
        (attributed.GEMM, "Gemm", 1),
    ]
    assert conv.operator == 4  # of the process: the third run
    assert conv.outputs == (Tensor("float", (1, 64, 56, 56)),)
    assert gemm.outputs is None
    assert conv.parameter_bytes == 70 * 64
    assert conv.footprint_bytes_by_role == {"weights": 70 * 64, "activations": 20 * 64}
    line = conv.use["line"]
    assert (line.access_count, line.block_count, line.written_block_count) == (160, 90, 20)
    assert line.footprint_bytes == 90 * 64
    assert line.access_counts_by_source["same_operator"] == 70
    assert line.access_counts_by_source["previous_inference"] == 90
    assert gemm.use["line"].access_counts_by_source["earlier_operator"] == 20
    assert conv.use["page"].block_count == 3


@pytest.mark.parametrize("granularity", ["line", "page"])
def test_operators_add_up_to_the_phase(document: Document, granularity: Any) -> None:
    section = document.attribution
    assert section is not None
    assert section.operators is not None
    parts = [*(row.use[granularity] for row in section.operators.rows)]
    parts.append(section.operators.between[granularity])
    total = section.operators.total[granularity]
    histogram = document.reuse.histograms[granularity]
    curve = document.reuse.curves[granularity]
    where = document.reuse.capacity_bytes.index(8192)
    regions = [row.use[granularity] for row in section.regions.rows]
    sources = [row.counts[granularity] for row in section.sources.rows]
    for counted in (parts, [total], regions, sources):
        assert sum(part.access_count for part in counted) == histogram.total
        ranges = [part.miss_count for part in counted]
        assert sum(r.high for r in ranges if r is not None) == curve.miss_count_high[where]
        assert sum(r.low for r in ranges if r is not None) == curve.miss_count_low[where]
    assert 0 < curve.miss_count_high[where] < histogram.total
    assert total.block_count == document.phases[-1].footprints[granularity].block_count


def test_misses_are_ranges_where_the_size_falls_inside_a_bin(
    make_recording: MakeRecording,
) -> None:
    path = make_recording(attributed.tables(bin_width=3))
    found = build_document(open_recording(path), at_bytes=7 * 4096).attribution
    assert found is not None
    ranges = [row.counts["page"].miss_count for row in found.sources.rows]
    assert any(r is not None and r.low < r.high for r in ranges)
    without = build_document(open_recording(path)).attribution
    assert without is not None
    assert all(row.counts["page"].miss_count is None for row in without.sources.rows)


def test_regions_tell_what_is_not_classified(section: AttributionSection) -> None:
    assert [row.role for row in section.regions.roles] == ["weights", "activations", "unclassified"]
    assert section.regions.unclassified_ratio == pytest.approx(5 / 225)
    weights = section.regions.rows[0]
    assert (weights.kind, weights.role) == ("constant", "weights")
    assert weights.use["line"].footprint_bytes == 200 * 64
    assert weights.users == (RegionUser(1, 130, 0), RegionUser(0, 70, 0))
    produced = section.regions.rows[1]
    assert produced.users == (RegionUser(0, 0, 20), RegionUser(1, 20, 0))


def test_a_region_with_a_page_and_none_of_its_lines_counts(make_recording: MakeRecording) -> None:
    tables = attributed.tables()
    tables["regions"].append(tables["regions"][0] | {"region": 3, "kind": "file", "role": "file"})
    for row in tables["reuse_sources"]:
        if (row["granularity"], row["region"]) == ("page", 0):
            row["region"] = 3
    section = build_document(open_recording(make_recording(tables))).attribution
    assert section is not None
    (found,) = (region for region in section.regions.rows if region.region == 3)
    assert (found.use["line"].access_count, found.use["page"].access_count) == (0, 5)
    assert sum(region.use["page"].access_count for region in section.regions.rows) == 315


def test_reuse_goes_from_producer_to_consumer(section: AttributionSection) -> None:
    (flow,) = section.sources.flows["line"]
    assert (flow.producer_index, flow.consumer_index, flow.access_count) == (0, 1, 20)


def test_threads_share_what_one_writes_for_the_other(section: AttributionSection) -> None:
    assert section.sharing.threads == (1, 2)
    assert section.sharing.blocks["line"].shared_written_count == 20
    assert section.sharing.blocks["line"].other_thread_reuse_count == 20


def test_a_thread_without_accesses_shares_nothing(make_recording: MakeRecording) -> None:
    tables = attributed.tables()
    first = tables["contexts"][0]
    number = len(tables["contexts"])
    empty = {"context": number, "phase": 4, "thread": 0, "operator": None}
    tables["contexts"].append(
        first | empty | {"line_access_count": 0, "page_access_count": 0, "end_position": 0}
    )
    section = build_document(open_recording(make_recording(tables))).attribution
    assert section is not None
    assert section.sharing.threads == (1, 2)


def test_working_sets_cover_the_phase(section: AttributionSection, document: Document) -> None:
    windows = section.working_sets.windows
    assert sum(w.line_access_count for w in windows) == document.selection[0].line_access_count
    assert max(w.line_count for w in windows) == 150


def test_why_there_is_no_attribution(
    make_recording: MakeRecording, metadata: dict[str, Any]
) -> None:
    def reason(path: Path, **choice: Any) -> str:
        document = build_document(open_recording(path), **choice)
        assert document.attribution is None
        return document.no_attribution

    plain = make_recording()
    assert reason(plain) == "Not recorded."
    settings = metadata["settings"] | {"sampling_rate": 0.5}
    assert "sampled" in reason(make_recording(settings=settings, name="sampled"))
    attributed_path = make_recording(attributed.tables(), name="attributed")
    assert "one phase at a time" in reason(attributed_path, all_phases=True)
    empty = attributed.tables()
    empty["phases"] = [row | {"end_position": row["start_position"]} for row in empty["phases"]]
    assert reason(make_recording(empty, name="empty")) == "No accesses."


def test_a_program_without_operators_has_regions_and_sources(
    make_recording: MakeRecording,
) -> None:
    path = make_recording(attributed.tables())
    section = build_document(open_recording(path), "load").attribution
    assert section is not None
    assert section.operators is None
    assert section.regions.rows
    cold = section.sources.rows[-1]
    assert (cold.source, cold.counts["line"].access_count) == ("cold", 200)


@pytest.mark.parametrize(
    ("text", "tensors"),
    [
        ("", None),
        ("[]", ()),
        ('[{"float":[1,3]},{"int64":[]}]', (Tensor("float", (1, 3)), Tensor("int64", ()))),
        ("{}", None),
        ("[1]", None),
        ('[{"float":[1.5]}]', None),
        ('[{"float":[true]}]', None),
        ('[{"a":[1],"b":[2]}]', None),
        ('[{"float":NaN}]', None),
        ("[" * 100_000, None),
    ],
)
def test_shapes_are_read_or_unknown(text: str, tensors: tuple[Tensor, ...] | None) -> None:
    assert parse_tensors(text) == tensors


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("footprint", [attributed.GEMM, attributed.CONV]),
        ("accesses", [attributed.CONV, attributed.GEMM]),
        ("line-misses", [attributed.GEMM, attributed.CONV]),
        ("same-operator", [attributed.CONV, attributed.GEMM]),
        ("earlier-operator", [attributed.GEMM, attributed.CONV]),
    ],
)
def test_operators_are_listed_in_an_order(document: Document, order: str, names: list[str]) -> None:
    assert choose_order(document, order) == order
    assert document.attribution is not None
    assert document.attribution.operators is not None
    assert [row.name for row in ordered(document.attribution.operators.rows, order)] == names


def test_every_order_works_for_regions(document: Document) -> None:
    assert document.attribution is not None
    for order in ORDERS:
        assert len(ordered(document.attribution.regions.rows, order)) == 3


def test_the_order_is_misses_where_a_size_is_asked_for(
    document: Document, make_recording: MakeRecording
) -> None:
    assert choose_order(document, None) == "page-misses"
    plain = build_document(open_recording(make_recording(name="plain")))
    assert choose_order(plain, None) == "footprint"
    with pytest.raises(UsageError, match="nothing to sort: not recorded"):
        choose_order(plain, "footprint")
    sizeless = open_recording(make_recording(attributed.tables(), name="sizeless"))
    with pytest.raises(UsageError, match="needs --at"):
        choose_order(build_document(sizeless), "line-misses")
    with pytest.raises(UsageError, match="no native times"):
        choose_order(document, "time")
    with pytest.raises(UsageError, match="no order 'size'"):
        choose_order(document, "size")
