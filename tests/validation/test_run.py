# SPDX-License-Identifier: Apache-2.0
"""Predictions against published times."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings import needs_tracer
from sgxlens.enclave.quantities import Range
from validation import recordings
from validation.recordings import Program, recording_of
from validation.rows import Row, load_rows
from validation.run import Result, markdown_table, predict_row


def _row(*, likely_must_hold: bool = True) -> Row:
    return Row(
        network="mlp",
        batch=1,
        platform="xeon-e-2288g",
        native_seconds=1.0,
        sgx_seconds=4.0,
        likely_must_hold=likely_must_hold,
    )


@pytest.mark.parametrize(
    ("low", "likely", "high", "likely_must_hold", "holds"),
    [
        (3.5, 4.7, 5, True, True),
        (3.5, 4.9, 5, True, False),  # 22 % too much
        (3.5, 4.9, 5, False, True),
        (4.1, 4.3, 5, True, False),  # published below the range
        (3.0, 3.5, 3.9, False, False),  # above it
    ],
)
def test_a_row_holds_inside_the_range_and_near_the_likely_time(
    low: float, likely: float, high: float, likely_must_hold: bool, holds: bool
) -> None:
    row = _row(likely_must_hold=likely_must_hold)
    result = Result(row, "onnx", Range(low, likely, high), slowdown_error_bound=0.2)
    assert result.holds is holds
    assert result.error == pytest.approx(likely / 4 - 1)


def test_the_table_has_a_line_for_each_row() -> None:
    result = Result(_row(), "torch", Range(3.5, 4.4, 5), slowdown_error_bound=0.2)
    heading, rule, line = markdown_table([result]).splitlines()
    assert heading.count("|") == rule.count("|") == line.count("|")
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("mlp b1", "xeon-e-2288g", "PyTorch", "1000", "4000", "4x"),
        *("3500", "4400", "5000", "4.4x", "+10.0%", "yes"),
    ]


@pytest.mark.slow
@needs_tracer
def test_the_large_mlp_is_recorded_once_and_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(recordings, "FOLDER", tmp_path)
    program = Program("large_mlp", 1, "onnx")
    published = load_rows()
    recording = recording_of(program, threads=1)
    again = recording_of(program, threads=1)
    assert again.metadata.created == recording.metadata.created
    rows = [row for row in published.rows if (row.network, row.batch) == ("large_mlp", 1)]
    assert {row.platform for row in rows} == {"xeon-e-2288g", "xeon-gold-6326"}
    for row in rows:
        assert predict_row(published, row, "onnx", recording).holds, row.name
