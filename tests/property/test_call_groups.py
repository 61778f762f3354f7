# SPDX-License-Identifier: Apache-2.0
"""System calls judged in groups, against the same calls of a recording that shares nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgxlens.enclave.files import FileKinds
from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.runtime import load_runtime
from sgxlens.enclave.transitions import TransitionCounts, count_transitions
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.recording.schemas import TABLES
from system_calls import NO_DISK, Row, call, opened, thread

READ, READ_WRITE, SHARED, PRIVATE, ANONYMOUS = 1, 3, 1, 2, 0x22
PATHS = ("/models/a.onnx", "/models/b", "/scratch/c")
KINDS = (
    NO_DISK,
    FileKinds(allowed=("/models/**",), look_on_disk=False),
    FileKinds(encrypted=("/models/b",), look_on_disk=False),
    FileKinds(tmpfs=("/scratch/**",), look_on_disk=False),
)
RUNTIMES = [load_runtime(name) for name in ("gramine", "gramine-exitless", "gramine-edmm")]
PLATFORM = load_platform("xeon-gold-6326")

BYTES = st.sampled_from([1, 4096, 10_000, 300_000])
FLAGS = st.sampled_from([0, 0, 1, 0o102, 0x200000])
CALLS = st.one_of(
    st.builds(opened, st.sampled_from(PATHS), st.sampled_from([3, 4]), FLAGS),
    st.builds(
        lambda path: call("newfstatat", 0, result=-2, path=path),
        st.sampled_from([f"{path}/d" for path in PATHS]),
    ),
    st.builds(lambda size: call("read", 3, 0, size, result=size), BYTES),
    st.builds(lambda size: call("write", 4, 0, size, result=size), BYTES),
    st.builds(lambda size, at: call("pread64", 3, 0, size, at, result=size), BYTES, BYTES),
    st.builds(
        lambda size, how, of: call("mmap", 0, size, READ, how, of, 0, result=0x10000),
        *(BYTES, st.sampled_from([PRIVATE, SHARED, ANONYMOUS]), st.sampled_from([3, 4])),
    ),
    st.builds(lambda size: call("munmap", 0x10000, size), BYTES),
    st.sampled_from([
        call("close", 3), call("close", 4), call("close_range", 3, 5),
        call("clone", result=77), call("exit"), call("clock_gettime"), call("futex", 0, 1, 1),
        call("getdents64", 3, result=96), call("write", 1, 0, 5, result=5, caller="/app/lib.so"),
    ]),
)  # fmt: skip
SHARED_MAPPING = [
    call("mmap", 0, 300_000, READ_WRITE, SHARED, 4, 0, result=0x10000),
    call("munmap", 0x10000, 300_000),
]


@st.composite
def programs(draw: st.DrawFn) -> list[Row]:
    shared = draw(st.sampled_from([[], SHARED_MAPPING]))
    opens = [opened(PATHS[0], 3), opened(PATHS[1], 4, 2)]
    rows = [*opens, *shared, *draw(st.lists(CALLS, max_size=20))]
    threads = draw(st.lists(st.integers(1, 2), min_size=len(rows), max_size=len(rows)))
    return [
        {**row, "thread": number, "position": 200 + 3 * index}
        for index, (row, number) in enumerate(zip(rows, threads, strict=True))
    ]


@pytest.fixture
def empty(make_recording: Callable[..., Path]) -> Recording:
    """A recording without a system call, of which nothing can be shared."""
    return open_recording(make_recording({"syscalls": [], "threads": [thread(1, 0, 50)]}))


def table(name: str, rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, TABLES[name].schema)


def counts(recording: Recording) -> list[TransitionCounts]:
    return [
        count_transitions(recording, PLATFORM, runtime, kinds)
        for runtime in RUNTIMES
        for kinds in KINDS
    ]


def same(left: list[TransitionCounts], right: list[TransitionCounts]) -> bool:
    return all(
        (a.rows, a.left_out, a.unknown, a.notes) == (b.rows, b.left_out, b.unknown, b.notes)
        for a, b in zip(left, right, strict=True)
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs())
def test_what_was_counted_before_for_other_files_changes_nothing(
    empty: Recording, rows: list[Row]
) -> None:
    shared = counts(empty.with_tables(syscalls=table("syscalls", rows)))
    alone = [
        count_transitions(
            empty.with_tables(syscalls=table("syscalls", rows)), PLATFORM, runtime, kinds
        )
        for runtime in RUNTIMES
        for kinds in KINDS
    ]
    assert same(shared, alone)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs(), st.lists(BYTES, min_size=25, max_size=25), st.booleans())
def test_only_what_changed_is_counted_anew(
    empty: Recording, rows: list[Row], lengths: list[int], other_threads: bool
) -> None:
    threads = [thread(1, 0, 50), thread(2, 210, 77)]
    before = empty.with_tables(syscalls=table("syscalls", rows), threads=table("threads", threads))
    counts(before)
    shrunk = [
        {**row, "arg1": length} if row["name"] == "mmap" else row
        for row, length in zip(rows, lengths, strict=False)
    ]
    changed = {"syscalls": table("syscalls", shrunk)}
    if other_threads:
        changed["threads"] = table("threads", threads[:1])
    anew = empty.with_tables(**{"threads": table("threads", threads), **changed})
    assert same(counts(before.with_tables(**changed)), counts(anew))
