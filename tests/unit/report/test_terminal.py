# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

import attributed
from sgxlens.recording.reader import open_recording
from sgxlens.report.bars import bar
from sgxlens.report.document import build_document
from sgxlens.report.native_times import NativeTime
from sgxlens.report.terminal import print_document

MakeRecording = Callable[..., Path]
Show = Callable[..., str]

HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold red]x[/] \u202etxt\u200b\n" + "long" * 200


_CHOICES = ("phase", "process", "all_phases", "at_bytes")


@pytest.fixture
def show(make_recording: MakeRecording, monkeypatch: pytest.MonkeyPatch) -> Show:
    monkeypatch.setenv("COLUMNS", "80")

    def run(tables: dict[str, Any] | None = None, encoding: str = "utf-8", **metadata: Any) -> str:
        choice = {k: metadata.pop(k) for k in _CHOICES if k in metadata}
        document = build_document(open_recording(make_recording(tables, **metadata)), **choice)
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, errors="replace", write_through=True)
        print_document(document, stream)
        return raw.getvalue().decode(encoding)

    return run


def check_layout(text: str) -> None:
    for line in text.splitlines():
        assert cell_len(line) <= 80, line
    assert "\x1b" not in text


def test_a_recording_fits_80_columns_without_colour(show: Show) -> None:
    text = show()
    check_layout(text)
    for part in (
        "python3 model.py",
        "exited with status 0",
        "A CPU, 4 cores, 16 GiB",
        "none: exact",
        "Phase 2: inference 2",
        "cache lines (64 B)",
        "pages (4 KiB)",
        "cold misses",
        "1Ki to 4Ki",
        "line miss ratio",
        "32 MiB or more",
        "Not recorded.",
    ):
        assert part in text, part
    assert ">2  inference 2" in text


def test_the_phase_that_is_looked_at_comes_before_the_start_of_the_program(show: Show) -> None:
    text = show()
    assert text.index("inference 2") < text.index("Data reuse") < text.index("0  start")


def test_the_capacity_asked_for_is_marked(show: Show) -> None:
    text = show(at_bytes=92 << 20)
    check_layout(text)
    assert re.search(r"^ +>92 MiB or more ", text, re.MULTILINE)


@pytest.mark.parametrize("columns", [60, 80, 100, 120])
@pytest.mark.parametrize("at_bytes", [None, 300 << 10])
def test_attribution_fits_the_terminal(
    show: Show, monkeypatch: pytest.MonkeyPatch, columns: int, at_bytes: int | None
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = show(attributed.tables(), at_bytes=at_bytes)
    for line in text.splitlines():
        assert cell_len(line) <= columns, line
    for part in (
        "Operators by footprint" if at_bytes is None else "Operators by page misses at 300 KiB",
        "/classifier/Gemm",
        "(no operator)",
        "Unclassified: 2.22 % of the lines.",
        "a previous inference",
        "from operator",
        "median operator",
        "Lines used of each page",
        "Bytes used of each line",
        "Operators that leave most bytes",
        "Pages over time",
        "Sharing between threads",
        "Gemm +1",  # the weights
        "not timed natively",
    ):
        assert part in text or columns == 60, part
    assert ("1x64x56x56" in text) == (columns >= 100)
    assert "Not recorded.\n\nSystem calls" not in text


def test_names_of_operators_and_regions_are_harmless_and_short(show: Show) -> None:
    tables = attributed.tables()
    for row in tables["operators"]:
        row |= {"name": HOSTILE * 12, "type": HOSTILE, "output_shapes": '[{"\x1b[31m":[1]}]'}
    for row in tables["regions"]:
        row |= {"name": "名前" * 100 + HOSTILE, "reason": HOSTILE}
    text = show(tables, at_bytes=300 << 10)
    check_layout(text)
    for forbidden in ("\x07", "\u202e", "\u200b"):
        assert forbidden not in text
    assert "…" in text
    text = show(tables, encoding="ascii", force=True)
    check_layout(text)


def test_a_section_that_cannot_be_says_why_in_one_line(show: Show) -> None:
    text = show()
    assert "Operators, regions and reuse sources\n  Not recorded.\n" in text
    text = show(attributed.tables(), all_phases=True, force=True)
    assert "Known of one phase at a time" in text
    text = show(attributed.tables(), phase="load", force=True)
    assert "nothing told of any" in text


def test_native_times_have_their_spread(make_recording: MakeRecording) -> None:
    document = build_document(open_recording(make_recording(attributed.tables())))
    time = NativeTime(5, 0.012, 0.011, 0.014)
    who = document.attribution
    assert who is not None
    assert who.operators is not None
    conv, gemm = who.operators.rows
    operators = replace(who.operators, rows=(replace(conv, native_time=time), gemm))
    document = replace(
        document,
        attribution=replace(who, operators=operators),
        phases=tuple(replace(row, native_time=time) for row in document.phases),
    )
    stream = io.StringIO()
    print_document(document, stream, order="time")
    text = stream.getvalue()
    check_layout(text)
    assert "natively 12.0 ms (median of 5: 11.0 to 14.0 ms)" in text
    assert re.search(r"0 +/features/Conv +Conv +12.0 ms +100 % +11.0 ms +14.0 ms +5", text)
    assert "Not timed natively: 1 operators." in text
    assert "Native time of each phase" in text
    assert "Operators by time" in text
    assert "regions by footprint" in text


def test_a_sampled_recording_says_how_far_it_may_be_off(
    show: Show, metadata: dict[str, Any]
) -> None:
    text = show(settings=metadata["settings"] | {"sampling_rate": 0.01})
    check_layout(text)
    for part in ("one block in 100", "accesses to sampled", "within", "100 %", "three standard"):
        assert part in text, part
    assert "none: exact" not in text


def test_empty_sections_say_that_nothing_happened(show: Show) -> None:
    text = show({"syscalls": [], "traps": [], "signals": [], "threads": []})
    assert text.count("Not recorded") == 1  # attribution
    assert text.count("None in the whole recording.") == 2
    assert "None.\n" in text


def test_hostile_names_are_harmless(
    show: Show, rows: SimpleNamespace, metadata: dict[str, Any]
) -> None:
    syscall = {
        "process": 0,
        "phase": 0,
        "thread": 1,
        "position": 0,
        "number": 1,
        "name": HOSTILE,
        "caller": HOSTILE,
        **{f"arg{i}": 0 for i in range(6)},
        "result": -1,
        "kernel_read_bytes": (1 << 64) // 8,
        "kernel_write_bytes": 0,
        "path": HOSTILE,
    }
    signal = {"process": 0, "thread": 1, "position": 0, "signal": 10, "name": HOSTILE}
    text = show(
        {
            "phases": [rows.phase(0, HOSTILE, 0, 5)],
            "syscalls": [syscall],
            "signals": [signal],
        },
        command=["run", HOSTILE],
        host=metadata["host"] | {"cpu": HOSTILE, "kernel": HOSTILE},
        tracer=metadata["tracer"] | {"isa": HOSTILE, "valgrind": HOSTILE},
        outcome=metadata["outcome"] | {"message": HOSTILE},
        target={"kind": "onnx", "model": HOSTILE},
        processes=[metadata["processes"][0] | {"program": HOSTILE, "process": p} for p in (0, 1)],
        notes=[HOSTILE],
        sgxlens_version=HOSTILE,
    )
    check_layout(text)
    for forbidden in ("\x07", "\u202e", "\u200b"):
        assert forbidden not in text
    assert "[bold red]" in text  # shown, not obeyed


def test_a_terminal_without_unicode(show: Show) -> None:
    text = show(encoding="ascii")
    check_layout(text)
    assert "####" in text


def test_very_many_phases_are_cut_but_the_selected_one_is_there(
    show: Show, rows: SimpleNamespace
) -> None:
    phases = [rows.phase(i, f"step {i}", i, i + 1) for i in range(1000)]
    text = show({"phases": phases}, phase=500)
    check_layout(text)
    assert ">500  step 500" in text
    assert "step 999" in text
    assert "step 400" not in text
    assert "976 more phases" in text or "975 more phases" in text


def test_several_processes(show: Show, rows: SimpleNamespace, metadata: dict[str, Any]) -> None:
    process = metadata["processes"][0]
    both = [rows.phase(0, "start", 0, 5, process=p) for p in (0, 1)]
    processes = [process, process | {"process": 1, "started": "fork", "end": "running"}]
    text = show({"phases": both}, processes=processes)
    check_layout(text)
    assert "Processes" in text
    assert "Phase 0: start (process" in text
    text = show({"phases": both}, processes=processes, phase="start", force=True)
    assert "All phases together" in text


def test_nothing_at_all(show: Show) -> None:
    text = show({"phases": [], "reuse": [], "footprints": []})
    check_layout(text)
    assert "There is no phase" in text
    text = show({"reuse": [], "footprints": []}, force=True)
    check_layout(text)
    assert "No accesses." in text


def test_an_end_that_was_not_clean_stands_out(show: Show) -> None:
    outcome = {"status": "signalled", "exit_code": None, "signal": "SIGKILL", "message": ""}
    text = show(outcome=outcome)
    assert "killed by SIGKILL" in text
    assert "! The program was killed by SIGKILL" in text


def test_bars() -> None:
    assert bar(0, 10) == ""
    assert bar(1e-9, 10) == "▏"
    assert bar(1, 10) == "█" * 10
    assert bar(0.55, 10) == "█████▌"
    assert bar(1e-9, 10, ascii_only=True) == "#"
    assert bar(1, 10, ascii_only=True) == "#" * 10
    for eighth in range(81):
        assert len(bar(eighth / 80, 10)) <= 10
