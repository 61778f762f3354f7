# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

import attributed
from sgxlens.attribution import SOURCE_KINDS
from sgxlens.recording.reader import open_recording
from sgxlens.report.document import Document, build_document
from sgxlens.report.json import ShowReport, generated_schema_text, json_text, schema_text
from sgxlens.report.terminal import print_document
from sgxlens.units import format_bytes, format_count

MakeRecording = Callable[..., Path]

HOSTILE = '\x1b[31mred\x07 </script><script>x()</script> \u202etxt\u200b\n\0"' + "long" * 2500

SYSCALL = {
    "process": 0,
    "phase": 2,
    "thread": 1,
    "position": 0,
    "number": 0,
    "name": "read",
    "caller": "/lib/libc.so.6",
    **{f"arg{i}": 0 for i in range(6)},
    "result": -11,
    "kernel_read_bytes": (1 << 64) // 8,
    "kernel_write_bytes": 0,
    "path": None,
}


def parsed(document: Document) -> dict[str, Any]:
    """The report as read again, which must be as the published schema says."""
    text = json_text(document)
    assert text.isascii()
    for constant in ("NaN", "Infinity"):
        assert not re.search(rf"[ \[-]{constant}[,\n]", text)
    content: dict[str, Any] = json.loads(text)
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)
    assert ShowReport.model_validate(content).model_dump(mode="json", by_alias=True) == content
    return content


def test_the_published_schema_follows_from_the_models() -> None:
    assert schema_text() == generated_schema_text(), "run python tools/write_json_schemas.py"


def test_the_schema_refuses_what_is_no_report(make_recording: MakeRecording) -> None:
    content = parsed(build_document(open_recording(make_recording())))
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    assert list(validator.iter_errors(content | {"schema": "other"}))
    assert list(validator.iter_errors({k: v for k, v in content.items() if k != "reuse"}))
    assert list(validator.iter_errors(content | {"phases": [{"name": 1}]}))


def test_the_numbers_are_those_of_the_recording(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    document = build_document(recording, 1)
    content = parsed(document)
    line = content["reuse"]["line"]
    assert (line["access_count"], line["cold_count"], line["reuse_count"]) == (168, 10, 158)
    assert line["bins"] == [
        {"distance_min_blocks": 0, "distance_max_blocks": 0, "count": 100},
        {"distance_min_blocks": 64, "distance_max_blocks": 67, "count": 51},
        {"distance_min_blocks": 4096, "distance_max_blocks": 4351, "count": 7},
    ]
    point = line["miss_curve"][0]
    assert (point["capacity_bytes"], point["capacity_blocks"]) == (32 << 10, 512)
    assert point["miss_count"] == {"low": 17, "high": 17}
    assert point["miss_ratio"]["high"] == pytest.approx(17 / 168)
    assert [q["distance_blocks"] for q in line["quantiles"]] == [
        {"low": 0, "high": 0},
        {"low": 4096, "high": 4351},
        None,
    ]
    assert line["estimates"] is None
    phase = content["phases"][1]
    assert phase["is_selected"]
    assert phase["access_counts"] == {"fetch": 7, "load": 161}
    assert phase["footprints"]["page"]["size_bytes"] == 44 * 4096
    assert content["recording"]["metadata"]["command"] == ["python3", "model.py"]


def test_what_was_not_recorded_is_null_and_what_did_not_happen_is_empty(
    make_recording: MakeRecording,
) -> None:
    content = parsed(build_document(open_recording(make_recording())))
    assert (content["syscalls"], content["threads"]) == (None, None)
    tables: dict[str, Any] = {"syscalls": [SYSCALL], "traps": [], "signals": [], "threads": []}
    content = parsed(build_document(open_recording(make_recording(tables, name="some"))))
    assert (content["traps"], content["signals"]) == ([], [])
    (call,) = content["syscalls"]
    assert (call["errors"], call["error_count"]) == ({"EAGAIN": 1}, 1)
    assert call["kernel_read_bytes"] == 1 << 61


def test_a_recording_of_nothing_has_no_ratios(make_recording: MakeRecording) -> None:
    path = make_recording({"phases": [], "reuse": [], "footprints": []})
    content = parsed(build_document(open_recording(path)))
    assert content["selection"] == {"phases": [], "is_all": True, "at_bytes": None}
    assert content["reuse"]["page"]["miss_curve"][0]["miss_ratio"] is None


def test_a_sampled_recording_has_bounds(
    make_recording: MakeRecording, metadata: dict[str, Any]
) -> None:
    path = make_recording(settings=metadata["settings"] | {"sampling_rate": 0.5})
    content = parsed(build_document(open_recording(path), 1))
    point = content["reuse"]["line"]["estimates"][0]
    assert point["miss_ratio"] == pytest.approx(2 * 17 / 168)
    assert point["miss_ratio_bounds"]["low"] <= point["miss_ratio"]
    path = make_recording(
        {"phases": [], "reuse": [], "footprints": []},
        name="none",
        settings=metadata["settings"] | {"sampling_rate": 0.5},
    )
    assert parsed(build_document(open_recording(path)))["reuse"]["line"]["estimates"] is None


def test_hostile_names_stay_text(
    make_recording: MakeRecording, rows: SimpleNamespace, metadata: dict[str, Any]
) -> None:
    path = make_recording(
        {
            "phases": [rows.phase(0, HOSTILE, 0, 5)],
            "syscalls": [SYSCALL | {"name": HOSTILE, "caller": HOSTILE, "phase": 0}],
            "signals": [{"process": 0, "thread": 1, "position": 0, "signal": 10, "name": HOSTILE}],
        },
        name=os.fsdecode(b"not\xffutf8"),
        command=["run", HOSTILE],
        notes=[HOSTILE],
    )
    document = build_document(open_recording(path))
    assert "</script" not in json_text(document)
    content = parsed(document)
    assert content["phases"][0]["name"] == HOSTILE
    assert content["syscalls"][0]["callers"] == {HOSTILE: 1}
    assert content["recording"]["path"].endswith("not\\xffutf8")


def test_attribution_is_there_in_full(make_recording: MakeRecording) -> None:
    path = make_recording(attributed.tables(bin_width=3))
    content = parsed(build_document(open_recording(path), at_bytes=7 * 4096))
    assert content["no_attribution"] == ""
    conv, gemm = content["operators"]["rows"]
    assert conv["outputs"] == [{"type": "float", "dimension_counts": [1, 64, 56, 56]}]
    assert gemm["outputs"] is None
    assert conv["use"]["line"]["access_counts_by_source"]["same_operator"] == 70
    assert set(conv["use"]["page"]["miss_count"]) == {"low", "high"}
    assert conv["native_time"] is None
    (flow,) = content["reuse_sources"]["flows"]["line"]
    assert (flow["producer_index"], flow["consumer_index"]) == (0, 1)
    assert content["regions"]["roles"][0]["role"] == "weights"
    assert content["sharing"]["threads"] == [1, 2]
    assert content["working_sets"]["windows"]
    assert content["spatial_use"]["roles"][0]["role"] == "weights"
    assert content["spatial_use"]["total"]["line_count"] == 225
    # Of every line of this recording the bytes are known.
    assert content["line_bytes"]["total"]["line_count"] == 225
    assert [row["operator_index"] for row in content["line_bytes"]["operators"]] == [0, 1]
    assert content["timeline"]["columns"][0]["operator_indices"] == [0]


def test_without_attribution_its_parts_are_null_and_say_why(make_recording: MakeRecording) -> None:
    content = parsed(build_document(open_recording(make_recording())))
    parts = ("operators", "regions", "reuse_sources", "working_sets", "sharing", "spatial_use")
    for part in (*parts, "line_bytes", "timeline"):
        assert content[part] is None
    assert content["no_attribution"] == "Not recorded."


def test_the_terminal_shows_the_same_numbers(
    make_recording: MakeRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    path = make_recording(attributed.tables(bin_width=3))
    document = build_document(open_recording(path), at_bytes=7 * 4096)
    content = parsed(document)
    stream = io.StringIO()
    print_document(document, stream)
    lines = stream.getvalue().splitlines()

    def shown(first: str) -> str:
        """All lines that begin with `first`, in one."""
        found = [line for line in lines if re.match(rf" +{re.escape(first)}\b", line)]
        assert found, first
        return " ".join(found)

    for row in content["operators"]["rows"]:
        text = shown(f"{row['index']}  {row['name']}")
        for granularity in ("line", "page"):
            use = row["use"][granularity]
            assert f" {format_bytes(use['footprint_bytes'])} " in text
            misses = use["miss_count"]
            low, high = (format_count(misses[key]) for key in ("low", "high"))
            assert f" {high if low == high else f'{low}-{high}'}" in text
        for size in row["footprint_bytes_by_role"].values():
            assert format_bytes(size) in text
    for row in content["regions"]["roles"]:
        text = shown(row["role"])
        assert format_bytes(row["use"]["page"]["footprint_bytes"]) in text
        assert format_count(row["use"]["line"]["miss_count"]["high"]) in text
    for phase in content["phases"]:
        text = shown(f"{'>' if phase['is_selected'] else ''}{phase['phase']}  {phase['name']}")
        assert f" {format_count(phase['footprints']['line']['block_count'])} " in text
        for count in phase["access_counts"].values():
            assert f" {format_count(count)} " in text
    for point in content["reuse"]["line"]["miss_curve"]:
        mark = ">" if point["capacity_bytes"] == content["selection"]["at_bytes"] else ""
        text = shown(f"{mark}{format_bytes(point['capacity_bytes'])}")
        assert f" {format_count(point['miss_count']['high'])} " in text


def test_names_carry_their_units(make_recording: MakeRecording) -> None:
    """A name that ends in none of these is checked by a person, here."""
    units = (
        "_bytes",
        "_blocks",
        "_count",
        "_counts",
        "_ns",
        "_seconds",
        "_ratio",
        "_position",
        "_index",
    )
    plain = {"count", "errors", "callers", "leaves", "quantiles", "fraction", "bins", "low", "high"}
    plain |= {"address"}
    tables: dict[str, Any] = {**attributed.tables(), "syscalls": [SYSCALL]}
    content = parsed(build_document(open_recording(make_recording(tables)), at_bytes=8192))
    numbers = {
        name
        for part, value in content.items()
        if part not in ("recording", "schema_version")
        for name, value in _numbers(value)
    }
    names = {"process", "phase", "operator", "parent", "thread", "region"}
    keys = {"load", "store", "EAGAIN", "/lib/libc.so.6", *SOURCE_KINDS, "weights", "activations"}
    numbers -= names | keys | {"is_selected", "is_all", "index"}
    assert {n for n in numbers if not n.endswith(units)} <= plain


def _numbers(value: object) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, (int, float)):
                yield name, item
            else:
                yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
