# SPDX-License-Identifier: Apache-2.0
"""Reports of predictions: the same numbers in the terminal and in JSON, whatever names hold."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import predictable
from sgxlens.enclave.charges import CAUSES
from sgxlens.enclave.quantities import Range
from sgxlens.errors import UsageError
from sgxlens.prediction import Prediction, predict
from sgxlens.prediction.paging import CurvePoint
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.report.prediction import PredictionDocument, prediction_document
from sgxlens.report.prediction_json import generated_schema_text, json_text, schema_text
from sgxlens.report.terminal.prediction import print_predictions
from sgxlens.report.terminal.values import (
    expected_count,
    number,
    of_native,
    seconds_range,
    value_range,
)
from sgxlens.report.verdict import verdict
from sgxlens.units import (
    format_bytes,
    format_count,
    format_needed_bytes,
    format_ratio,
    format_seconds,
)

MakeRecording = Callable[..., Path]
HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold red]x[/] \u202etxt\u200b\n" + "long" * 200


@pytest.fixture
def recording(make_recording: MakeRecording) -> Recording:
    return open_recording(make_recording(predictable.tables(), **predictable.metadata()))


@pytest.fixture
def prediction(recording: Recording) -> Prediction:
    return predict(recording, "xeon-e-2288g")


def shown(document: PredictionDocument, encoding: str = "utf-8", top: int = 10) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="replace", write_through=True)
    print_predictions(document, stream, top=top)
    text = raw.getvalue().decode(encoding)
    for line in text.splitlines():
        assert cell_len(line) <= 80, line
    assert "\x1b" not in text
    return text


def paged(prediction: Prediction) -> Prediction:
    """As if the EPC were too small."""
    points = tuple(
        CurvePoint(size << 20, loads, Range(loads * 12e-6, loads * 13e-6, loads * 14e-6))
        for size, loads in zip(range(2, 42), range(100_000, 60_000, -1000), strict=True)
    )
    needs = replace(prediction.epc, curve=points, cliff_bytes=30 << 20)
    policies = tuple(
        replace(row, load_count=400 if row.policy == "optimum" else 500) for row in needs.policies
    )
    return replace(prediction, epc=replace(needs, policies=policies))


def test_the_published_schema_follows_from_the_models() -> None:
    assert schema_text() == generated_schema_text(), "run python tools/write_json_schemas.py"


def test_nothing_to_predict_for_is_an_error(recording: Recording) -> None:
    with pytest.raises(UsageError, match="no platform"):
        prediction_document(recording, [])


def test_the_terminal_shows_the_numbers_of_the_json(
    recording: Recording, prediction: Prediction
) -> None:
    document = prediction_document(recording, [paged(prediction)])
    (content,) = json.loads(json_text(document))["predictions"]
    text = shown(document)
    steady = content["steady"]
    assert verdict(prediction) in " ".join(text.split())
    assert f" {format_seconds(steady['sgx_seconds']['likely'])} " in text
    for row in steady["causes"]:
        assert f" {format_seconds(row['added_seconds']['likely'])} " in text
    for row in steady["operators"]:
        assert f" {format_seconds(row['added_seconds']['likely'])} " in text
        if row["operator"] is not None:
            assert row["name"] in text
    for item in content["startup"]["items"]:
        assert item["what"] in text
    for row in content["epc"]["for_overhead"]:
        assert f"at most {row['overhead_percent']:g} %" in text
        assert format_needed_bytes(row["epc_bytes"]["high"]) in text
    for size in ("committed_bytes", "enclave_bytes", "built_bytes", "resident_bytes"):
        assert format_bytes(content["sizing"][size]) in text
    for setting in content["sizing"]["settings"]:
        assert setting["name"] in text
    assert format_count(500) in text
    assert "optimum (Belady)" in text
    for sentence in content["not_modelled"]:
        assert sentence[:60] in " ".join(text.split())


def test_a_long_curve_is_thinned_and_keeps_its_ends(
    recording: Recording, prediction: Prediction
) -> None:
    text = shown(prediction_document(recording, [paged(prediction)]))
    curve = text.split("Paging by size of the EPC")[1].split("Paging if")[0]
    assert "2 MiB" in curve
    assert "41 MiB" in curve
    assert curve.count("MiB") <= 12


def test_policies_that_all_load_the_same_take_one_line(
    recording: Recording, prediction: Prediction
) -> None:
    needs = paged(prediction).epc
    same = tuple(replace(row, load_count=1234) for row in needs.policies)
    document = prediction_document(
        recording, [replace(prediction, epc=replace(needs, policies=same))]
    )
    text = shown(document)
    assert "All orders of eviction load 1,234 pages." in text
    assert "Belady" not in text


def test_a_count_times_its_constant_is_what_it_adds(
    recording: Recording, prediction: Prediction
) -> None:
    text = shown(prediction_document(recording, [prediction]))
    part = text.split("What happens, and what it costs")[1].split("Operators by")[0]
    for item in prediction.steady.items:
        assert item.added_seconds.likely == pytest.approx(
            item.count.likely * item.constant_ns.likely / 1e9
        )
        (line,) = [line for line in part.splitlines() if line.startswith(f"  {item.what}  ")]
        for cell in (
            expected_count(item.count.likely),
            number(item.constant_ns.likely),
            format_seconds(item.added_seconds.likely),
            seconds_range(item.added_seconds),
        ):
            assert f" {cell}" in line


@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_report_keeps_the_times_whole(
    recording: Recording, prediction: Prediction, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = shown(prediction_document(recording, [paged(prediction)]))
    assert all(cell_len(line) <= columns for line in text.splitlines())
    comparison = text.split("by platform")[1].split("\n── ")[0]
    assert format_seconds(prediction.steady.sgx_seconds.likely) in comparison
    assert "inside" in comparison
    assert "…" not in comparison


def test_names_are_harmless_and_short(recording: Recording, prediction: Prediction) -> None:
    steady = prediction.steady
    operators = tuple(replace(row, name=HOSTILE, type=HOSTILE) for row in steady.operators)
    hostile = replace(
        paged(prediction),
        deployment=replace(
            prediction.deployment,
            platform=HOSTILE,
            platform_title=HOSTILE,
            runtime=HOSTILE,
            runtime_title=HOSTILE,
        ),
        steady=replace(steady, name=HOSTILE, operators=operators),
        startup=replace(prediction.startup, phases=(HOSTILE,), untimed_phases=(HOSTILE,)),
        phases=tuple(replace(row, name=HOSTILE) for row in prediction.phases),
        sizing=replace(prediction.sizing, committed_phase=HOSTILE),
        not_modelled=(HOSTILE,),
        warnings=(HOSTILE,),
        notes=(HOSTILE,),
    )
    document = prediction_document(recording, [hostile], left_out=[(HOSTILE, HOSTILE)])
    for encoding in ("utf-8", "ascii"):
        text = shown(document, encoding)
        for forbidden in ("\x07", "\u202e", "\u200b"):
            assert forbidden not in text
        assert "[bold red]" in text
    assert "</script" not in json_text(document)


def test_names_carry_their_units(recording: Recording, prediction: Prediction) -> None:
    """A name that ends in none of these is checked by a person, here."""
    units = ("_bytes", "_count", "_seconds", "_percent", "_ns", "_cause")
    # A range takes the unit of what holds it; a slowdown has none.
    plain = {"low", "likely", "high", "threads", "replicas", "max_threads", "value", *CAUSES}
    plain |= {"process", "phase", "operator", "index", "count"}
    content = json.loads(json_text(prediction_document(recording, [paged(prediction)])))
    numbers = set(_numbers(content["predictions"]))
    numbers -= set(prediction.sizing.kind_bytes) | {"is_background", "is_given", "is_used"}
    operators = [row for phase in prediction.phases for row in phase.operators]
    numbers -= {what for row in operators for what in row.likely_counts}
    assert {n for n in numbers if not n.endswith(units)} <= plain


def _numbers(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, (int, float)):
                yield name
            else:
                yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)


def test_ranges_are_short() -> None:
    assert seconds_range(Range(0.78, 0.8, 0.91)) == "780 to 910 ms"
    assert seconds_range(Range(0.5, 0.8, 1.2)) == "500 ms to 1.20 s"
    assert seconds_range(Range(0, 0, 0)) == "0 s"
    assert seconds_range(Range(60, 100, 245)) == "60.0 s to 4 min 05 s"
    assert seconds_range(Range(125, 180, 245)) == "2 min 05 s to 4 min 05 s"
    assert value_range(Range(12.04, 12.1, 12.1), format_ratio) == "12.0 to 12.1"
    assert value_range(Range(1, 2, 2), format_count) == "1 to 2"
    counts = (0, 0.0041, 0.041, 0.97, 3, 3.94, 12.4, 12_400)
    assert [expected_count(c) for c in counts] == [
        "0", "<0.01", "0.041", "0.97", "3", "3.9", "12", "12.4 k",
    ]  # fmt: skip
    assert [format_ratio(v) for v in (1, 9.994, 12.34, 123.4)] == ["1.00", "9.99", "12.3", "123"]
    assert [of_native(v, 2.0) for v in (0, 0.064, 17.4)] == ["0 %", "3.20 %", "870 %"]
