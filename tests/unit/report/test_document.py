# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sgxlens.errors import UsageError
from sgxlens.recording.reader import open_recording
from sgxlens.recording.syscalls import is_libc
from sgxlens.report.document import build_document

MakeRecording = Callable[..., Path]


def syscall(phase: int, name: str, result: int | None, **more: Any) -> dict[str, Any]:
    return {
        "process": 0,
        "phase": phase,
        "thread": 1,
        "position": 0,
        "number": 1,
        "name": name,
        "caller": "/lib/x86_64-linux-gnu/libc.so.6",
        **{f"arg{i}": 0 for i in range(6)},
        "result": result,
        "kernel_read_bytes": 10,
        "kernel_write_bytes": 20,
        "path": None,
        **more,
    }


def thread(number: int, start: int, end: int | None) -> dict[str, Any]:
    return {
        "process": 0,
        "thread": number,
        "kernel_tid": 100 + number,
        "creator": None,
        "stack_pointer": 0,
        "start_position": start,
        "end_position": end,
    }


def test_the_last_inference_is_looked_at(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    document = build_document(recording)
    assert [p.name for p in document.selection] == ["inference 2"]
    assert document.reuse.histograms["line"] == recording.reuse(phase=2)
    assert [row.is_selected for row in document.phases] == [False, False, True]
    assert document.phases[1].access_counts == {"load": 161, "fetch": 7}
    assert document.phases[1].footprints["page"].size_bytes == 44 * 4096


def test_without_inferences_the_longest_phase_is(
    make_recording: MakeRecording, rows: SimpleNamespace
) -> None:
    phases = [rows.phase(0, "start", 0, 5), rows.phase(1, "b", 5, 90), rows.phase(2, "c", 90, 95)]
    document = build_document(open_recording(make_recording({"phases": phases})))
    assert [p.name for p in document.selection] == ["b"]


def test_the_start_of_the_program_is_not_looked_at_where_anything_else_was_recorded(
    make_recording: MakeRecording, rows: SimpleNamespace
) -> None:
    phases = [rows.phase(0, "start", 0, 900), rows.phase(1, "b", 900, 920)]
    document = build_document(open_recording(make_recording({"phases": phases})))
    assert [p.name for p in document.selection] == ["b"]
    phases[1]["end_position"] = 900
    document = build_document(open_recording(make_recording({"phases": phases}, force=True)))
    assert [p.name for p in document.selection] == ["start"]


def test_phases_are_selected_by_name_index_or_all(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    for choice in ("inference 1", 1):
        document = build_document(recording, choice)
        assert [p.index for p in document.selection] == [1]
    document = build_document(recording, all_phases=True)
    assert document.selects_all
    assert document.reuse.histograms["page"] == recording.reuse("page")
    with pytest.raises(UsageError, match="contradict"):
        build_document(recording, 1, all_phases=True)
    with pytest.raises(UsageError, match="no phase"):
        build_document(recording, 9)
    with pytest.raises(UsageError, match="no process"):
        build_document(recording, process=4)


def test_rows_of_the_histogram_keep_every_access(make_recording: MakeRecording) -> None:
    document = build_document(open_recording(make_recording()), 1)
    for name, histogram in document.reuse.histograms.items():
        assert sum(row.counts[name] for row in document.reuse.rows) == histogram.reuse_count
    by_start = {row.distance_min_blocks: row.counts["line"] for row in document.reuse.rows}
    assert (by_start[0], by_start[64], by_start[4096]) == (100, 51, 7)


def test_capacities_end_where_only_cold_misses_are_left(make_recording: MakeRecording) -> None:
    section = build_document(open_recording(make_recording()), 1).reuse
    assert section.capacity_bytes[0] == 32 << 10
    # The largest page distance is 4,351: 17 MiB are needed.
    assert section.capacity_bytes[-1] == 32 << 20
    assert section.curves["page"].miss_count[-1] == 10
    assert section.curves["line"].is_exact.all()


def test_the_capacity_asked_for_is_among_the_others(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    section = build_document(recording, 1, at_bytes=65 * 4096).reuse
    assert list(section.capacity_bytes) == sorted(section.capacity_bytes)
    where = section.capacity_bytes.index(65 * 4096)
    curve = section.curves["page"]
    # Of the bin from 64 to 67 the accesses at 65 to 67 miss, however many they are.
    assert (curve.miss_count_low[where], curve.miss_count_high[where]) == (17, 68)
    for size in (0, 4095, 1 << 63):
        with pytest.raises(UsageError, match="at least a page"):
            build_document(recording, at_bytes=size)


def test_system_calls_are_counted(make_recording: MakeRecording) -> None:
    calls = [
        syscall(2, "read", 10),
        syscall(2, "read", -4096),  # not an error: errors end at 4095
        syscall(2, "read", -11, caller="/opt/libfast.so"),
        syscall(2, "exit_group", None, caller=""),
        syscall(0, "read", 1),
        syscall(0, "mmap", -12),
    ]
    document = build_document(open_recording(make_recording({"syscalls": calls})))
    assert document.syscalls is not None
    read, exit_group, mmap = document.syscalls
    assert (read.name, read.count, read.total_count) == ("read", 3, 4)
    assert read.errors == {"EAGAIN": 1}
    assert (read.kernel_read_bytes, read.kernel_write_bytes) == (30, 60)
    assert read.foreign_callers == {"/opt/libfast.so": 1}
    assert (exit_group.unreturned_count, exit_group.unknown_caller_count) == (1, 1)
    assert (mmap.count, mmap.total_count, mmap.error_count) == (0, 1, 0)


def test_traps_signals_and_threads_are_counted(make_recording: MakeRecording) -> None:
    def trap(phase: int, kind: str, leaf: int | None, count: int) -> dict[str, Any]:
        return {
            "process": 0,
            "phase": phase,
            "kind": kind,
            "leaf": leaf,
            "subleaf": leaf,
            "count": count,
        }

    signal = {"process": 0, "thread": 1, "position": 3, "signal": 10, "name": "SIGUSR1"}
    path = make_recording(
        {
            "traps": [trap(2, "cpuid", 7, 5), trap(0, "cpuid", 7, 2), trap(0, "rdtsc", None, 9)],
            "signals": [signal, signal],
            "threads": [thread(1, 0, None), thread(2, 5, 10), thread(2, 10, 20), thread(3, 12, 15)],
        }
    )
    document = build_document(open_recording(path))
    assert document.traps is not None
    cpuid, rdtsc = document.traps
    assert (cpuid.kind, cpuid.count, cpuid.total_count, cpuid.leaves) == ("cpuid", 5, 7, {7: 5})
    assert (rdtsc.count, rdtsc.total_count) == (0, 9)
    assert document.signals is not None
    assert [(row.name, row.count) for row in document.signals] == [("SIGUSR1", 2)]
    assert document.threads is not None
    assert (document.threads.count, document.threads.alive_max) == (4, 3)
    assert document.threads.unended_count == 1


def test_what_was_not_recorded_is_none_and_what_did_not_happen_is_empty(
    make_recording: MakeRecording,
) -> None:
    assert build_document(open_recording(make_recording())).syscalls is None
    path = make_recording({"syscalls": [], "traps": [], "signals": []}, name="empty")
    document = build_document(open_recording(path))
    assert (document.syscalls, document.traps, document.signals) == ((), (), ())


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({"status": "lost", "exit_code": None}, "stream from the tracer was lost"),
        ({"status": "interrupted", "exit_code": None}, "was interrupted"),
        ({"status": "signalled", "exit_code": None, "signal": "SIGSEGV"}, "killed by SIGSEGV"),
        ({"status": "exited", "exit_code": 3}, "failed with status 3"),
    ],
)
def test_an_end_that_was_not_clean_is_told(
    make_recording: MakeRecording, outcome: dict[str, Any], words: str
) -> None:
    path = make_recording(outcome={"signal": None, "message": "", **outcome})
    (warning,) = build_document(open_recording(path)).warnings
    assert words in warning


def test_other_warnings(make_recording: MakeRecording, metadata: dict[str, Any]) -> None:
    settings = metadata["settings"] | {"sampling_rate": 0.5, "start_at_mark": "go"}
    processes = [metadata["processes"][0] | {"end": "killed", "exit_code": None}]
    path = make_recording(settings=settings, processes=processes, notes=["a note"])
    document = build_document(open_recording(path))
    text = "\n".join(document.warnings)
    assert "not whole: 0 (killed)" in text
    assert "Sampled at a rate of 0.5" in text
    assert "from the mark 'go' on" in text
    assert "a note" in text
    assert document.phases[0].footprints["line"].block_count == 88


def test_a_sampled_recording_has_estimates_with_bounds(
    make_recording: MakeRecording, metadata: dict[str, Any]
) -> None:
    exact = build_document(open_recording(make_recording())).reuse
    assert exact.estimates is None
    settings = metadata["settings"] | {"sampling_rate": 0.5}
    path = make_recording(name="sampled", settings=settings)
    reuse = build_document(open_recording(path), phase=1).reuse
    assert reuse.estimates is not None
    estimate = reuse.estimates["line"]
    # 51 accesses at 64 to 67, 10 cold and 7 beyond are half of those there were, of 168.
    assert reuse.capacity_bytes[0] // 64 == 512
    assert estimate.miss_ratio[0] == pytest.approx(2 * (10 + 7) / 168)
    assert (estimate.miss_ratio_low <= estimate.miss_ratio).all()
    assert (estimate.miss_ratio <= estimate.miss_ratio_high).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/lib/x86_64-linux-gnu/libc.so.6", True),
        ("/lib/libc-2.31.so", True),
        ("/lib/x86_64-linux-gnu/libpthread.so.0", True),
        ("/lib64/ld-linux-x86-64.so.2", True),
        ("/lib/ld-musl-x86_64.so.1", True),
        ("/usr/lib/libcrypto.so.3", False),
        ("/usr/lib/libonnxruntime.so.1", False),
        ("/usr/bin/ldd", False),
        ("", False),
    ],
)
def test_what_belongs_to_the_c_library(name: str, expected: bool) -> None:
    assert is_libc(name) is expected
