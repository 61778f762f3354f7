# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attributed
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.report.memory_section import (
    Rectangle,
    StayCounts,
    TimelineSection,
    line_bytes_section,
    spatial_section,
    timeline_section,
)
from sgxlens.report.values import CountRange

MakeRecording = Callable[..., Path]


@pytest.fixture
def recording(make_recording: MakeRecording) -> Recording:
    return open_recording(make_recording(attributed.tables()))


def with_visits(
    make_recording: MakeRecording, metadata: dict[str, Any], filter_pages: int
) -> Recording:
    settings = metadata["settings"] | {"visit_page_count": filter_pages}
    return open_recording(make_recording(attributed.tables(), settings=settings, name="visits"))


def test_a_page_is_of_the_role_of_most_of_its_lines(recording: Recording) -> None:
    # Pages 1 and 2 hold the first weights, page 3 to 5 the second, 6 activations, 7 the rest.
    found = spatial_section(recording, recording.phases[-1], None)
    counts = {row.role: row.use for row in found.roles}
    assert {role: use.page_count for role, use in counts.items()} == {
        "weights": 5,
        "activations": 1,
        "unclassified": 1,
    }
    weights = counts["weights"].page_counts_by_line_count
    assert (weights[64], weights[6], weights[2], sum(weights)) == (3, 1, 1, 5)
    assert counts["weights"].line_count == 200
    assert (counts["activations"].written_page_count, counts["activations"].written_line_count) == (
        1,
        20,
    )
    assert found.total.page_count == 7
    assert found.total.line_count == 225
    assert found.total.written_page_count == 1
    assert found.total.stays is None
    assert found.no_stays == ""


def test_lines_used_of_a_page_while_it_is_in_memory(
    make_recording: MakeRecording, metadata: dict[str, Any]
) -> None:
    recording = with_visits(make_recording, metadata, 2)
    phase = recording.phases[-1]
    # All seven pages stay from the inference before.
    large = spatial_section(recording, phase, 7 * 4096)
    assert large.total.stays == StayCounts(0, 7, CountRange(225, 225))
    small = spatial_section(recording, phase, 4 * 4096)
    assert small.total.stays is not None
    assert small.total.stays.load_count == sum(
        row.use.stays.load_count for row in small.roles if row.use.stays
    )
    assert small.total.stays.load_count == 7
    # Activations lie in memory when they are written, and are loaded again for their reader.
    (activations,) = (row.use.stays for row in small.roles if row.role == "activations")
    assert activations == StayCounts(1, 2, CountRange(40, 40))


def test_what_is_not_known_of_a_memory_says_why(
    recording: Recording, make_recording: MakeRecording, metadata: dict[str, Any]
) -> None:
    found = spatial_section(recording, recording.phases[-1], 1 << 20)
    assert found.total.stays is None
    assert "no page visits" in found.no_stays
    fine = with_visits(make_recording, metadata, 256)
    small = spatial_section(fine, fine.phases[-1], 255 * 4096)
    assert small.total.stays is None
    assert "less than 256 pages" in small.no_stays


def test_the_picture_has_every_page_of_every_operator(recording: Recording) -> None:
    found = timeline_section(recording, recording.phases[-1])
    assert (found.page_count, found.step_count) == (7, 3)
    assert (found.cell_page_count, found.column_step_count) == (1, 1)
    assert [cell.address >> 12 for cell in found.cells] == list(range(1, 8))
    assert [cell.role for cell in found.cells] == 5 * ["weights"] + ["activations", "unclassified"]
    conv, between, gemm = found.columns
    assert [c.operator_indices for c in found.columns] == [(0,), (), (1,)]
    assert conv.rectangles == (Rectangle(0, 2, "r"), Rectangle(5, 1, "w"))
    assert between.rectangles == (Rectangle(6, 1, "r"),)
    assert gemm.rectangles == (Rectangle(2, 4, "r"),)
    assert (conv.end_position, gemm.end_position) == (
        between.start_position,
        recording.phases[-1].end_position,
    )


def drawn(section: TimelineSection) -> dict[tuple[int, int], str]:
    return {
        (x, y): rectangle.use
        for x, column in enumerate(section.columns)
        for rectangle in column.rectangles
        for y in range(
            rectangle.first_cell_index, rectangle.first_cell_index + rectangle.cell_count
        )
    }


@pytest.mark.parametrize(("rectangles", "rows"), [(2000, 3), (3, 512), (1, 512)])
def test_a_thinned_picture_shows_what_any_of_its_pages_does(
    recording: Recording, rectangles: int, rows: int
) -> None:
    phase = recording.phases[-1]
    full = timeline_section(recording, phase)
    thin = timeline_section(recording, phase, rectangles, rows)
    assert sum(len(column.rectangles) for column in thin.columns) <= rectangles
    assert len(thin.cells) <= rows
    assert thin.cell_page_count * thin.column_step_count > 1
    assert sum(cell.page_count for cell in thin.cells) == 7
    expected: dict[tuple[int, int], set[str]] = {}
    for (x, y), use in drawn(full).items():
        cell = (x // thin.column_step_count, y // thin.cell_page_count)
        expected.setdefault(cell, set()).update(use)
    assert {cell: set(use) for cell, use in drawn(thin).items()} == expected
    operators = [index for column in thin.columns for index in column.operator_indices]
    assert operators == [0, 1]


def test_bytes_used_of_lines_by_role_and_operator() -> None:
    made = attributed.program()
    made.line_use_interval = 4
    recording = made.record()
    phase = recording.phases[-1]
    found = line_bytes_section(recording, phase)
    assert found is not None
    assert found.interval_line_count == 4
    assert {row.role for row in found.roles} == {"weights", "activations", "unclassified"}
    # Of each 4 lines beside each other one is followed.
    assert 225 // 4 - 4 <= found.total.line_count <= 225 // 4 + 4
    assert [row.operator_index for row in found.operators] == [0, 1]
    for count in (found.total, found.between, *(row.use for row in found.operators)):
        assert sum(count.line_counts_by_byte_count) == count.line_count
        assert 4 * count.line_count <= count.byte_count <= 64 * count.line_count
    conv, gemm = (row.use for row in found.operators)
    assert conv.written_line_count == found.total.written_line_count > 0
    assert gemm.written_byte_count == found.between.written_byte_count == 0


def test_a_recording_without_bytes_of_lines_says_so(make_recording: MakeRecording) -> None:
    tables = attributed.tables()
    del tables["line_use"]
    recording = open_recording(make_recording(tables))
    assert line_bytes_section(recording, recording.phases[-1]) is None
