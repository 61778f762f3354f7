# SPDX-License-Identifier: Apache-2.0
"""Replay of descriptors, paths and sizes, and what Gramine makes of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgxlens.enclave.files import FileKinds, matcher
from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime
from sgxlens.enclave.transitions import TransitionCounts, count_transitions
from sgxlens.errors import UsageError
from sgxlens.recording.reader import open_recording
from system_calls import AT_FDCWD, NO_DISK, Row, call, opened, thread

MakeRecording = Callable[..., Path]
O_CREAT, O_DIRECTORY = 0o100, 0o200000
READ_WRITE, SHARED = 3, 1
ENOENT = -2


@pytest.fixture
def counted(make_recording: MakeRecording) -> Callable[..., TransitionCounts]:
    def count(
        calls: list[Row],
        files: FileKinds = NO_DISK,
        runtime: str = "gramine",
        tables: dict[str, list[Row]] | None = None,
        **metadata: Any,
    ) -> TransitionCounts:
        path = make_recording({"syscalls": calls, **(tables or {})}, force=True, **metadata)
        platform = load_platform("xeon-gold-6326")
        return count_transitions(open_recording(path), platform, load_runtime(runtime), files)

    return count


Counted = Callable[..., TransitionCounts]


def ocalls(counts: TransitionCounts, name: str) -> Range:
    return sum((row.ocalls for row in counts.rows if row.name == name), Range.exact(0))


def test_only_the_last_descriptor_of_a_handle_closes_it(counted: Counted) -> None:
    counts = counted(
        [
            opened("/a", 3),
            call("dup", 3, result=4),
            call("close", 3),
            call("close", 4),
            call("close", 4, result=-9),
        ]
    )
    closes = [(row.outcome, row.count) for row in counts.rows if row.name == "close"]
    assert sorted(closes) == [("inside", 2), ("ocall", 1)]


def test_a_descriptor_that_is_taken_over_is_closed_before(counted: Counted) -> None:
    calls = [opened("/a", 3), opened("/b", 4)]
    assert ocalls(counted([*calls, call("dup2", 3, 4, result=4)]), "dup2") == Range.exact(1)
    assert ocalls(counted([*calls, call("dup2", 3, 3, result=3)]), "dup2") == Range.exact(0)
    both = counted([*calls, call("close_range", 3, 100)])
    assert ocalls(both, "close_range") == Range.exact(2)
    assert sum(row.count for row in both.rows if row.name == "close_range") == 1


def test_a_call_of_several_descriptors_traps_once(counted: Counted) -> None:
    close_range = call("close_range", 3, 100, caller="/opt/program")
    counts = counted([opened("/a", 3), opened("/b", 4), close_range])
    (trap,) = (row for row in counts.rows if row.name == "raw_syscall")
    assert (trap.count, trap.exceptions) == (1, Range.exact(1))


def test_a_path_that_was_removed_is_looked_up_as_a_new_one(counted: Counted) -> None:
    sealed = FileKinds(encrypted=("/a",), look_on_disk=False)
    twice = [opened("/a", 3), call("close", 3), opened("/a", 3)]
    remove = call("unlink", path="/a")
    assert ocalls(counted(twice, sealed), "openat").low == (3 + 5 + 4) + 4
    removed = counted([*twice[:2], remove, twice[2]], sealed)
    assert ocalls(removed, "openat").low == 2 * (3 + 5 + 4)


def test_a_leaf_of_cpuid_is_asked_of_the_host_once_whatever_ecx_holds(counted: Counted) -> None:
    def leaf(number: int, subleaf: int) -> Row:
        return {
            "process": 0, "phase": 1, "kind": "cpuid", "leaf": number, "subleaf": subleaf,
            "count": 2,
        }  # fmt: skip

    def asked(*traps: Row) -> Range:
        return ocalls(counted([], tables={"traps": list(traps)}), "cpuid")

    assert asked(leaf(0, 0), leaf(0, 9)) == Range.exact(1)
    assert asked(leaf(7, 0), leaf(7, 1)) == Range.exact(2)  # answers by ECX
    assert asked(leaf(1, 0)) == Range.exact(2)  # never kept


def test_the_ends_of_a_pipe_are_the_lowest_free_descriptors(counted: Counted) -> None:
    # The first file got 4: 3 was taken before the program started.
    counts = counted(
        [
            opened("/a", 4),
            call("pipe2"),
            call("write", 6, 0, 40_000, result=40_000),
            call("read", 5, 0, 100, result=100),
            call("close", 4),
            opened("/a", 4),
        ]
    )
    assert ocalls(counts, "pipe2") == Range.exact(31)
    assert ocalls(counts, "write") == Range.exact(3)  # three TLS records
    assert ocalls(counts, "read") == Range(0, 2, 2)
    assert not any("descriptors" in note for note in counts.notes)


def test_a_child_has_the_descriptors_of_its_parent(counted: Counted, rows: Any) -> None:
    parent = [opened("/data", 3), call("read", 3, 0, 100, result=100)]
    child = [
        call("read", 3, 0, 32_768, result=32_768, process=1, phase=0),
        call("close", 3, process=1, phase=0),
    ]
    counts = counted(
        [*parent, call("fork", result=77), call("close", 3), *child],
        processes=[
            {**_process(0, 70, 1), "started": "exec"},
            {**_process(1, 77, 70), "started": "fork"},
        ],
        tables={
            "phases": [
                *(rows.phase(i, name, i * 200, (i + 1) * 200) for i, name in enumerate("ab")),
                rows.phase(0, "start", 0, 100, process=1),
            ],
        },
    )
    reads = {row.process: row.ocalls for row in counts.rows if row.name == "read"}
    # The child goes on from byte 100, and so touches a third chunk.
    assert reads == {0: Range.exact(1), 1: Range.exact(3)}
    closes = {row.process: row.ocalls for row in counts.rows if row.name == "close"}
    assert closes == {0: Range.exact(1), 1: Range.exact(1)}


def _process(number: int, pid: int, parent: int) -> Row:
    return {
        "process": number,
        "pid": pid,
        "parent_pid": parent,
        "program": "/bin/program",
        "end": "exited",
        "exit_code": 0,
        "instruction_count": 1,
        "line_access_count": 400,
        "page_access_count": 1,
    }


def test_each_new_component_costs_once_and_a_missing_path_each_time(counted: Counted) -> None:
    missing = call("newfstatat", AT_FDCWD, path="/a/b/no", result=ENOENT)
    directory = opened("/a/b", 3, O_DIRECTORY)
    assert ocalls(counted([directory, missing, missing]), "newfstatat") == Range.exact(2)
    assert ocalls(counted([directory]), "openat") == Range.exact(2 * 3 + 1)
    # What exists is known, though it is looked up later: its look-up is paid for by the first.
    later = counted([missing, directory])
    assert ocalls(later, "newfstatat") == Range.exact(2 * 3 + 1)
    assert ocalls(later, "openat") == Range.exact(1)


def test_parents_that_nothing_tells_of_make_a_range_once(counted: Counted) -> None:
    missing = call("access", path="/a/b/no", result=ENOENT)
    counts = counted([missing, missing])
    assert ocalls(counts, "access") == Range(2, 2, 2 + 2 * 3)
    assert any(note.endswith("how much of them exists: 1") for note in counts.notes)
    # The first folder was asked for, and is not there.
    known = counted([call("access", path="/a", result=ENOENT), missing])
    assert ocalls(known, "access") == Range.exact(2)


def test_a_read_that_meets_the_end_tells_the_size(counted: Counted) -> None:
    size = 5 * 16_384
    calls = [opened("/data", 3), call("pread64", 3, 0, 100_000, 16_384, result=size - 16_384)]
    counts = counted(calls)
    assert ocalls(counts, "openat") == Range.exact(3 + 3 + 5 + 2)
    assert ocalls(counts, "pread64") == Range.exact(4)


def test_a_size_that_nothing_tells_is_a_range(counted: Counted) -> None:
    counts = counted([opened("/data", 3), call("pread64", 3, 0, 16_384, 0, result=16_384)])
    assert ocalls(counts, "openat") == Range(3 + 3 + 1 + 2, 3 + 3 + 1 + 2, 3 + 3 + 2 + 2)
    assert any("not the size" in note for note in counts.notes)
    counts = counted([call("stat", path="/data")])
    assert ocalls(counts, "stat") == Range.exact(6)
    assert any("no size is known" in note for note in counts.notes)


def test_a_file_of_this_machine_tells_its_size_if_it_is_not_younger(
    counted: Counted, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_bytes(bytes(50_000))
    calls = [
        call("chdir", path=str(tmp_path)),
        call("stat", path="data"),
    ]
    look = FileKinds()
    os.utime(data, (1_000_000_000, 1_000_000_000))
    counts = counted(calls, look)
    assert ocalls(counts, "stat") == Range.exact(3 + 3 + 4)
    assert any("on this machine" in note for note in counts.notes)
    os.utime(data, (4_000_000_000, 4_000_000_000))
    assert ocalls(counted(calls, look), "stat") == Range.exact(3 + 3)
    os.utime(data, (1_000_000_000, 1_000_000_000))
    assert ocalls(counted(calls, NO_DISK), "stat") == Range.exact(3 + 3)


def test_a_folder_is_listed_by_the_names_it_has_here(counted: Counted, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("one", "two", "six"):
        (folder / name).touch()
    calls = [opened(str(folder), 3, O_DIRECTORY), call("getdents64", 3, result=5 * 24)]
    listed = ocalls(counted([*calls, call("getdents64", 3)], FileKinds()), "getdents64")
    assert listed == Range.exact(3 + 1 + 3 * 3)
    # The same size, and no look at the folder: how many names that are is not known.
    assert ocalls(counted(calls), "getdents64") == Range(4, 4 + 3, 4 + 3 * 3)


def test_the_user_says_what_files_are(counted: Counted) -> None:
    calls = [
        opened("/models/a.onnx", 3),
        call("read", 3, 0, 10_000, result=10_000),
        call("read", 3, 0, 10_000, result=0),
    ]
    assert ocalls(counted(calls), "openat") == Range.exact(2 * 3 + 3 + 1 + 2)
    allowed = counted(calls, FileKinds(allowed=("/models/",), look_on_disk=False))
    assert ocalls(allowed, "openat") == Range.exact(2 * 3 + 2)
    assert ocalls(allowed, "read") == Range.exact(2)
    sealed = counted(calls, FileKinds(encrypted=("*.onnx", "**.onnx"), look_on_disk=False))
    assert ocalls(sealed, "openat") == Range.exact((2 * 3 + 5 + 1) + 4 + 1)
    # 10,000 bytes are the first 3,072 and two nodes, which may be at hand.
    assert ocalls(sealed, "read") == Range(0, 2, 2 + 1 + 1 + 1)
    inside = counted(calls, FileKinds(tmpfs=("/models/**",), look_on_disk=False))
    assert inside.total("ocalls") == Range.exact(0)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/b/c", False),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a", True),
        ("/a/**", "/ab", False),
        ("/a/", "/a/b/c", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/a/c", False),
        ("/a.c", "/abc", False),
        ("**.so", "/usr/lib/x.so", True),
        ("/usr/**/x", "/usr/lib/a/x", True),
    ],
)
def test_patterns_match_paths(pattern: str, path: str, expected: bool) -> None:
    assert bool(matcher([pattern]).fullmatch(path)) is expected


def test_a_pattern_that_can_match_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="pattern 'models/' of files should start with"):
        FileKinds(trusted=("models/",))


def test_a_file_is_of_one_kind() -> None:
    with pytest.raises(UsageError, match="'/m/\\*\\*' cannot be both encrypted and trusted"):
        FileKinds(trusted=("/a", "/m/**"), encrypted=("/m/**",))


def test_a_pattern_that_matches_no_file_is_told(counted: Counted) -> None:
    calls = [opened("/models/a.onnx", 3)]
    found = counted(calls, FileKinds(allowed=("/model/**", "/models/**"), look_on_disk=False))
    assert [note for note in found.notes if "/model" in note] == [
        "no file that the program uses matches '/model/**'"
    ]


def test_a_shared_mapping_is_written_back(counted: Counted) -> None:
    calls = [
        opened("/data", 3, 2),
        call("mmap", 0, 8192, READ_WRITE, SHARED, 3, 0, result=0x10000),
        call("munmap", 0x10000, 4096),
        call("munmap", 0x10000, 4096),
        call("munmap", 0x11000, 8192),
    ]
    assert ocalls(counted(calls), "munmap") == Range.exact(2)


def test_a_call_that_gramine_refuses_is_the_one_that_follows_it(counted: Counted) -> None:
    threads = {"threads": [thread(1, 0, 70), thread(2, 250, 71)]}
    worked = counted([call("clone3", result=71), call("statx", path="/a")], tables=threads)
    assert ocalls(worked, "clone3") == Range(34, 36, 38)
    assert ocalls(worked, "statx") == Range.exact(3 + 3)
    refused = counted([call("clone3", result=-38), call("statx", path="/a", result=-38)])
    assert refused.total("ocalls") == Range.exact(0)


def test_a_call_that_the_table_does_not_know_is_said_and_is_one_ocall(counted: Counted) -> None:
    counts = counted([call("cachestat"), call("cachestat")])
    assert counts.unknown == {"cachestat": 2}
    assert ocalls(counts, "cachestat") == Range.exact(2)


def test_a_rule_that_counts_less_than_nothing_is_one_line(counted: Counted, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "gramine"\nname = "mine"\n[[syscalls]]\nnames = ["read"]\n'
        '[[syscalls.rules]]\noutcome = "ocall"\nocalls = "1 - n"\n'
    )
    calls = [opened("/a", 3), call("read", 3, 0, 10, result=10)]
    with pytest.raises(UsageError, match=r"runtime mine: syscalls\.read: ocalls is -9 \(low\)"):
        counted(calls, runtime=str(path))


def test_paths_and_sizes_that_no_kernel_knows_are_harmless(counted: Counted) -> None:
    most = (1 << 64) - 1
    counts = counted(
        [
            opened("/a\0b", 3),
            call("getdents64", 3, result=48),
            opened("relative/../../../x", 4),
            call("getdents64", 4, result=48),
            call("mmap", 0, most, READ_WRITE, SHARED, 4, most, result=4096),
            call("munmap", 0, most),
            call("readv", 4, 0, most, result=(1 << 63) - 1),
            call("close_range", 0, most),
            call("exit_group", result=None),
        ],
        FileKinds(),
    )
    assert sum(row.count for row in counts.rows) == 9


def test_a_caller_that_is_not_known_may_trap(counted: Counted) -> None:
    counts = counted(
        [
            call("getpid"),
            call("getpid", caller="/usr/lib/libgomp.so.1"),
            call("getpid", caller=""),
        ]
    )
    assert counts.total("exceptions") == Range(1, 2, 2)
    assert {row.caller for row in counts.rows} == {"libc", "libgomp", "unknown"}


@pytest.mark.parametrize(("count", "low"), [(9_999, 9_999), (10_000, 0)])
def test_a_loop_over_the_time_stamp_counter_may_end_after_a_time(
    make_recording: MakeRecording, count: int, low: int
) -> None:
    row = {"process": 0, "phase": 1, "kind": "rdtsc", "leaf": None, "subleaf": None}
    recording = open_recording(make_recording({"traps": [{**row, "count": count}]}))
    gramine = load_runtime("gramine")
    (old,) = count_transitions(recording, load_platform("xeon-e-2288g"), gramine, NO_DISK).rows
    assert old.exceptions == old.ocalls == Range(low, count, count)
    (new,) = count_transitions(recording, load_platform("xeon-gold-6326"), gramine, NO_DISK).rows
    assert new.exceptions == new.ocalls == Range.exact(0)


def test_a_descriptor_from_before_is_said(counted: Counted) -> None:
    counts = counted([call("read", 9, 0, 10, result=10)])
    assert ocalls(counts, "read") == Range.exact(1)
    assert any("were not opened in the recording" in note for note in counts.notes)


def test_pages_of_the_program_are_added_by_faults_where_memory_is_dynamic(
    counted: Counted,
) -> None:
    segments = [(0, 0x400000, 4 * 4096), (4 * 4096, 0x500000, 2 * 4096)]
    mappings = [
        {
            "process": 0, "position": 0, "event": "map", "address": address, "size_bytes": size,
            "protection": "r-x", "kind": "file", "name": "/no/such/program",
            "file_offset": offset, "from_address": None,
        }
        for offset, address, size in segments
    ]  # fmt: skip

    def loaded(runtime: str, **kinds: Any) -> tuple[float, float]:
        files = FileKinds(look_on_disk=False, **kinds)
        counts = counted([], files, runtime, {"mappings": mappings})
        (row,) = (row for row in counts.rows if row.name == "program_load")
        return row.ocalls.likely, row.aex.likely

    # Three components; six pages in three chunks of 16 KiB.
    trusted, allowed = {"trusted": ("/**",)}, {"allowed": ("/**",)}
    assert loaded("gramine", **allowed) == (3 * 3 + 2 + 1 + 2 + 1, 0)
    assert loaded("gramine-edmm", **allowed) == (3 * 3 + 2 + 1 + 2 * 2 + 1, 6)
    asked, aex = loaded("gramine-edmm", **trusted)
    # Beside what it takes without: rights of two segments, blocks of three reads given back.
    assert (asked - loaded("gramine", **trusted)[0], aex) == (2 + 2 * 3, 6)
