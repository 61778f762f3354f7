# SPDX-License-Identifier: Apache-2.0
"""A C program with a known list of system calls and traps: what becomes of each, by hand.

The program is `programs/transitions.c`; its data.bin has 40,000 bytes, three chunks of 16 KiB. All
folders above it are looked up before the first phase that is counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recordings import PROGRAMS, compile_program, needs_tracer, record
from sgxlens.enclave.files import FileKinds
from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime
from sgxlens.enclave.transitions import TransitionRow, count_transitions, transition_charges
from sgxlens.recording.reader import Recording

SGX1, SGX2 = "xeon-e-2288g", "xeon-gold-6326"
#: Releases of the C library make different calls for the same function.
ALIASES = {
    "newfstatat": "stat",
    "fstat": "stat",
    "clock_nanosleep": "nanosleep",
    "clone3": "clone",
    "faccessat": "access",
}
CALLS = {
    "trusted file": {
        "openat": 5,
        "read": 4,
        "pread64": 2,
        "lseek": 1,
        "stat": 2,
        "mmap": 1,
        "munmap": 1,
        "dup": 1,
        "close": 4,
        "access": 1,
    },
    "allowed file": {
        "openat": 1,
        "write": 5,
        "pwrite64": 1,
        "pread64": 2,
        "ftruncate": 1,
        "fsync": 1,
        "close": 1,
        "unlink": 1,
        "writev": 1,
    },
    "threads": {"futex": 5, "nanosleep": 2, "exit": 1, "sched_yield": 2},
    "rest": {
        "getpid": 5,
        "clock_gettime": 7,
        "getppid": 3,
        "raw_syscall": 4,
        "cpuid": 5,
        "rdtsc": 4,
        "pipe2": 1,
        "write": 3,
        "read": 2,
        "close": 3,
        "eventfd2": 1,
        "poll": 1,
        "mmap": 1,
        "mprotect": 1,
        "munmap": 1,
    },
    "end": {"exit_group": 1},
}
Expected = dict[str, dict[str, int]]
#: OCALLs of all calls of one name; what is not here makes none.
GRAMINE: Expected = {
    "trusted file": {
        # data.bin: 3 for the new component, 3 + 3 chunks to hash it, 2 to open it; again: 2.
        # Two missing ones, each asked of the host. /proc/self/maps is made inside.
        "openat": (3 + (3 + 3) + 2) + 2 + 1 + 1 + 0,
        # Bytes 0 to 99 are in chunk 0, 100 to 20,099 in chunks 0 and 1; nothing at the end.
        "read": 1 + 2 + 0 + 0,
        # 8,192 to 24,575: chunks 0 and 1. 39,000 to 39,999 (there the file ends): chunk 2.
        "pread64": 2 + 1,
        "mmap": 3,
        # The duplicate is not the last of its handle; twice data.bin; maps is inside.
        "close": 0 + 1 + 1 + 0,
        # One missing path, of which the first component is missing already.
        "access": 1,
    },
    "allowed file": {
        # The failing look-up, open, fstat.
        "openat": 3,
        # 10 bytes: 1. 600,000 bytes are over 512 KiB: 1 more for the first mapping outside; then
        # it is there; 700,000 are more than it holds: 2 more. Standard output: 1.
        "write": 1 + 2 + 1 + 3 + 1,
        "pwrite64": 1,
        "pread64": 2,  # also at the end
        "ftruncate": 1,
        "fsync": 1,
        "close": 1,
        "unlink": 4,  # the path is known: open, fstat, unlink, close
        "writev": 2,  # one for each piece
    },
    "threads": {
        # Waking none, and EAGAIN, stay inside. Timing out, waiting, waking one.
        "futex": 0 + 0 + 1 + 1 + 1,
        "clone": 36,
        "nanosleep": 2,
        "exit": 8,
        "sched_yield": 2,
    },
    "rest": {
        "cpuid": 1 + 0 + 0 + 1 + 1,  # a new leaf three times; leaf 1 is never kept
        "pipe2": 31,
        "write": 1 + 1 + 1,  # standard output (raw), pipe, eventfd
        "read": 2 + 1,  # head and body of a record; eventfd
        "close": 3,
        "eventfd2": 2,
        "poll": 1,
    },
    "end": {"exit_group": 1},
}
GRAMINE_1_7: Expected = {
    **GRAMINE,
    "trusted file": {
        # No OCALL for hashing; 3 to open, 2 to close, and the file is mapped outside meanwhile.
        "openat": (3 + 3) + 3 + 1 + 1,
        "close": 2 + 2,
        "access": 1,
    },
}
EDMM: Expected = {
    **GRAMINE,
    "trusted file": {
        **GRAMINE["trusted file"],
        # 2 more for each read that reads: its scratch block is given back.
        "read": (1 + 2) + (2 + 2),
        "pread64": (2 + 2) + (1 + 2),
        "mmap": 3 + 2 + 1,  # and one for the rights
        "munmap": 2,
    },
    # Two more for a new slot; glibc maps the stack without access and then allows it.
    "threads": {**GRAMINE["threads"], "clone": 38, "mmap": 1, "mprotect": 1},
    "rest": {**GRAMINE["rest"], "mprotect": 1, "munmap": 2},
}
SDK: Expected = {
    # Each is an OCALL of the developer, but for memory; a file is not mapped but read.
    "trusted file": {**CALLS["trusted file"], "munmap": 0},
    "allowed file": CALLS["allowed file"],
    # Threads: pthread_create asks and waits, the new thread wakes its creator.
    "threads": {"futex": 3, "clone": 3, "nanosleep": 2, "sched_yield": 2},
    "rest": {**CALLS["rest"], "raw_syscall": 0, "rdtsc": 0, "mmap": 0, "mprotect": 0, "munmap": 0},
    "end": {},
}
OCCLUM: Expected = {
    "trusted file": {
        "openat": 5,  # opening a new file of the image and its metadata
        # Nodes of 4 KiB: 0; then 0 (at hand) to 4.
        "read": 1 + 4,
        "pread64": 4 + 0,  # nodes 2 to 5; node 9, in which it starts, is taken to be at hand
        "mmap": 10 + 1,  # ten nodes and one of hashes
    },
    "allowed file": {
        "openat": 2,
        "write": 4 * 2 + 1,  # HostFS asks for the attributes each time
        "pwrite64": 2,
        "pread64": 2 * 2,
        "ftruncate": 4,
        "fsync": 4,
        "close": 1,
        "unlink": 4,
        "writev": 1,
    },
    "threads": {"futex": 3, "clone": 2, "nanosleep": 2, "exit": 1, "sched_yield": 2},
    "rest": {
        "write": 1 + 0 + 1,  # pipes are inside
        "read": 0 + 1,
        "close": 1,
        "eventfd2": 1,
        "poll": 1,
        "mprotect": 1,
    },
    "end": {"exit_group": 1},
}


@dataclass(frozen=True)
class Case:
    runtime: str
    platform: str
    ocalls: Expected
    exceptions: dict[str, int]


def on_sgx1(expected: Expected, ocalls: int) -> Expected:
    """RDTSC traps there, so that each clock read asks the host; and RDTSC itself."""
    rest = {**expected["rest"], "clock_gettime": 7, "rdtsc": ocalls}
    return {**expected, "rest": rest}


CASES = [
    Case("gramine", SGX2, GRAMINE, {"raw_syscall": 4, "cpuid": 5}),
    Case("gramine", SGX1, on_sgx1(GRAMINE, 4), {"raw_syscall": 4, "cpuid": 5, "rdtsc": 4}),
    Case("gramine-exitless", SGX2, GRAMINE, {"raw_syscall": 4, "cpuid": 5}),
    Case("gramine-1.7", SGX2, GRAMINE_1_7, {"raw_syscall": 4, "cpuid": 5}),
    Case("gramine-edmm", SGX2, EDMM, {"raw_syscall": 4, "cpuid": 5}),
    Case("sdk", SGX2, SDK, {}),
    Case("sdk", SGX1, on_sgx1(SDK, 4), {}),
    Case("occlum", SGX2, OCCLUM, {"raw_syscall": 4, "cpuid": 5}),
    Case("occlum-edmm", SGX2, OCCLUM, {"raw_syscall": 4, "cpuid": 5}),
]
#: Under Gramine, all other counts follow from the recording exactly.
UNSURE = {"clone", "exit", "writev", "read"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("transitions")
    (path / "data.bin").write_bytes(bytes(40_000))
    return path


@pytest.fixture(scope="module")
def recording(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    place = tmp_path_factory.mktemp("recorded")
    program = compile_program([PROGRAMS / "transitions.c"], place / "transitions", "-pthread")
    return record(place / "recording", str(program), str(folder))


def kinds(folder: Path) -> FileKinds:
    """As by default, wherever the folder is (Occlum has a file system in memory at /tmp)."""
    return FileKinds(trusted=(f"{folder}/data.bin",), allowed=(f"{folder}/out.bin",))


def by_name(rows: tuple[TransitionRow, ...], field: str) -> dict[str, Range]:
    found: dict[str, Range] = defaultdict(lambda: Range.exact(0))
    for row in rows:
        found[ALIASES.get(row.name, row.name)] += getattr(row, field)
    return found


@needs_tracer
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.runtime} on {case.platform}")
def test_every_call_becomes_what_is_said_by_hand(
    case: Case, recording: Recording, folder: Path
) -> None:
    counts = count_transitions(
        recording, load_platform(case.platform), load_runtime(case.runtime), kinds(folder)
    )
    assert not counts.unknown
    for phase in recording.phases:
        if phase.name not in CALLS:
            continue
        rows = counts.of_phase(phase)
        made: dict[str, int] = defaultdict(int)
        for row in rows:
            made[ALIASES.get(row.name, row.name)] += row.count
        for name, count in CALLS[phase.name].items():
            assert made[name] == count, (phase.name, name)
        ocalls = by_name(rows, "ocalls")
        likely = {name: found.likely for name, found in ocalls.items() if found.likely}
        assert likely == {n: c for n, c in case.ocalls[phase.name].items() if c}, phase.name
        if case.runtime.startswith("gramine") and case.runtime != "gramine-edmm":
            unsure = {n for n, found in ocalls.items() if found.low != found.high}
            assert unsure <= UNSURE, phase.name
        exceptions = by_name(rows, "exceptions")
        wanted = {n: c for n, c in case.exceptions.items() if n in CALLS[phase.name]}
        assert {n: e.likely for n, e in exceptions.items() if e.likely} == wanted


@needs_tracer
def test_edmm_adds_each_page_by_a_fault(recording: Recording, folder: Path) -> None:
    runtime = load_runtime("gramine-edmm")
    counts = count_transitions(recording, load_platform(SGX2), runtime, kinds(folder))
    by_phase = {p.name: by_name(counts.of_phase(p), "aex") for p in recording.phases}
    assert by_phase["trusted file"]["mmap"] == Range.exact(10)  # 40,000 bytes
    assert by_phase["rest"]["mmap"] == Range.exact(16)  # 65,536 bytes
    # A new slot for the thread.
    assert by_phase["threads"]["clone"] == Range(0, 90, 90)


@needs_tracer
def test_bytes_are_hashed_and_copied_in_whole_chunks(recording: Recording, folder: Path) -> None:
    runtime = load_runtime("gramine")
    counts = count_transitions(recording, load_platform(SGX2), runtime, kinds(folder))
    (phase,) = recording.select_phases("trusted file")
    hashed = by_name(counts.of_phase(phase), "hashed_bytes")
    assert hashed["openat"] == Range.exact(2 * 40_000)  # the whole, and each chunk
    assert hashed["read"] == Range.exact(16_384 + 2 * 16_384)
    # Chunks 0 and 1, and the last one, which ends with the file.
    assert hashed["pread64"] == Range.exact(2 * 16_384 + (40_000 - 2 * 16_384))
    assert hashed["mmap"] == Range.exact(40_000)
    (phase,) = recording.select_phases("allowed file")
    copied = by_name(counts.of_phase(phase), "copied_bytes")
    assert copied["write"] == Range.exact(10 + 2 * 600_000 + 700_000 + 6)


@needs_tracer
def test_exitless_leaves_only_the_calls_that_always_exit(
    recording: Recording, folder: Path
) -> None:
    platform, runtime = load_platform(SGX2), load_runtime("gramine-exitless")
    (phase,) = recording.select_phases("threads")
    charges = transition_charges(recording, phase, platform, runtime, kinds(folder))
    exits = {c.what: c.count.likely for c in charges if c.constant.name.endswith(".ocall_ns")}
    assert exits == {
        "OCALLs of futex": 2,  # both waits
        "OCALLs of clone": 4,
        "OCALLs of clock_nanosleep": 2,
        "OCALLs of exit": 1,
        "OCALLs of sched_yield": 2,
    }
    rest = {c.what: c.count.likely for c in charges if "switchless_" in c.constant.name}
    assert rest == {
        "switchless OCALLs of futex": 1,  # the wake
        "switchless OCALLs of clone": 32,
        "switchless OCALLs of exit": 7,
    }


@needs_tracer
def test_timers_and_clocks_take_the_time_of_the_phase(recording: Recording, folder: Path) -> None:
    platform, runtime = load_platform(SGX2), load_runtime("gramine")
    (phase,) = recording.select_phases("rest")
    charges = transition_charges(
        recording, phase, platform, runtime, kinds(folder), native_seconds=0.2
    )
    counts = {c.what: c.count for c in charges}
    hertz = platform.transitions.timer_hz
    assert counts["AEXs of timer interrupts"] == hertz.range.scaled(0.2)
    # Once in 50 ms: four times, of seven clock reads.
    assert counts["OCALLs of clock reads"] == Range(0, 4, 5)


HELLO = """
#include <stdio.h>
int main(void) {
    puts("hello world");
    return 0;
}
"""
# Of a hello-world under an older release: Gramine's Documentation/performance.rst.
DOCUMENTED_EEXITS, DOCUMENTED_SIGNALS = 192, 32
CHUNK = 16_384


def chunks(offset: int, size: int) -> int:
    """Chunks that hold some bytes, one by one."""
    return len({byte // CHUNK for byte in range(offset, offset + size)})


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    place = tmp_path_factory.mktemp("hello")
    (place / "hello.c").write_text(HELLO)
    program = compile_program([place / "hello.c"], place / "hello")
    return record(place / "recording", str(program))


def hello_counts(recording: Recording, runtime: str) -> dict[str, Range]:
    counts = count_transitions(recording, load_platform(SGX2), load_runtime(runtime))
    found = by_name(counts.rows, "ocalls")
    found["start"] = load_runtime(runtime).entry.start_ocalls.range
    return found


@needs_tracer
def test_hello_world_is_near_what_gramine_documents_of_an_older_release(hello: Recording) -> None:
    found = hello_counts(hello, "gramine-1.7")
    # CPUID traps as often as this C library on this processor wants; documented are 32.
    cpuid = min(found.pop("cpuid").likely, DOCUMENTED_SIGNALS)
    exits = sum(count.likely for count in found.values()) + cpuid
    assert 0.7 * DOCUMENTED_EEXITS < exits < 1.5 * DOCUMENTED_EEXITS
    # Nearly all of it is the start of the runtime, and traps.
    assert found["start"].likely + cpuid > 0.6 * exits
    assert (found["write"], found["exit_group"]) == (Range.exact(1), Range.exact(1))


@needs_tracer
def test_since_1_8_hello_world_pays_for_reading_its_libraries_in_chunks(hello: Recording) -> None:
    before, since = hello_counts(hello, "gramine-1.7"), hello_counts(hello, "gramine")
    segments, sizes = _loaded(hello)
    more = 0
    # Hashed when looked up; opened with 2 instead of 3, closed with 1 instead of 2.
    more += sum(3 + chunks(0, size) - 1 - 1 for size in sizes.values())
    for path, offset, length in segments:
        more += chunks(offset, max(min(length, sizes[path] - offset), 0))
    more += len({path for path, *_ in segments if path in _objects(hello)})  # their headers
    assert sum(c.likely for c in since.values()) - sum(c.likely for c in before.values()) == more
    library = next(size for path, size in sizes.items() if "libc" in path)
    assert more > 2 * library / CHUNK


def _objects(recording: Recording) -> dict[str, list[tuple[int, int]]]:
    """The program and its loader, which are there at the start, with their segments."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in recording.table("mappings").to_pylist():
        if row["position"] == 0 and row["kind"] == "file" and "sgxlens-amd64" not in row["name"]:
            found[row["name"]].append((row["file_offset"], row["size_bytes"]))
    return found


def _loaded(recording: Recording) -> tuple[list[tuple[str, int, int]], dict[str, int]]:
    """What is read and mapped of which file, and the size of each."""
    parts = [(path, *part) for path, found in _objects(recording).items() for part in found]
    opened: dict[int, str] = {}
    sizes = {path: Path(path).stat().st_size for path in _objects(recording)}
    row: dict[str, Any]
    for row in recording.table("syscalls").to_pylist():
        if row["name"] == "openat" and row["result"] >= 0:
            opened[row["result"]] = row["path"]
            if "vgpreload" not in row["path"]:
                sizes[row["path"]] = Path(row["path"]).stat().st_size
        elif row["name"] in ("read", "pread64"):
            offset = row["arg3"] if row["name"] == "pread64" else 0
            parts.append((opened[row["arg0"]], offset, row["result"]))
        elif row["name"] == "mmap" and row["arg4"] in opened:
            parts.append((opened[row["arg4"]], row["arg5"], row["arg1"]))
    return [part for part in parts if part[0] in sizes], sizes
