# SPDX-License-Identifier: Apache-2.0
"""The sizes of programs that map known memory, and those that the kernel tells of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memory_runtimes import runtime_with
from recordings import PROGRAMS, compile_program, needs_tracer, record
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.mappings.events import recorded_stacks
from sgxlens.enclave.memory import PhaseMemory, memory_needs
from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.enclave.runtime_work import runtime_charges
from sgxlens.enclave.transition_counts import count_transitions
from sgxlens.recording.reader import Recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.onnx import OnnxTarget

pytestmark = needs_tracer
_MIB = 1 << 20
_STACK_BYTES = 256 << 10
_PAGES = _MIB // 4096


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("memory") / "memory"
    return compile_program([PROGRAMS / "memory.c"], output, "-pthread")


@pytest.fixture(scope="module")
def recording(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("memory") / "recording", str(program))


def _by_name(recording: Recording, commits: str, mremap: str) -> dict[str, PhaseMemory]:
    needs = memory_needs(recording, runtime_with(commits, mremap))
    return {phase.phase.name: phase for phase in needs.phases}


def test_all_that_is_mapped_must_fit_where_it_is_committed_at_build(recording: Recording) -> None:
    phases = _by_name(recording, "at_build", "copies")
    base = phases["base"].committed_bytes
    added = {name: phase.committed_bytes - base for name, phase in phases.items()}
    assert added["reserve"] == 40 * _MIB
    assert added["use"] == added["discard"] == 64 * _MIB
    # The old 8 MiB stay until their copy of 12 MiB is made.
    assert added["grow"] == (64 + 4 + 8) * _MIB
    # The heap grows by what glibc gets for the threads.
    heap = added["end"] - (64 + 4 + 3) * _MIB
    assert 0 < heap < _MIB
    assert added["threads"] == (64 + 4 + 3) * _MIB + heap


def test_a_block_moves_where_mremap_works(recording: Recording) -> None:
    phases = _by_name(recording, "at_build", "moves")
    assert phases["grow"].committed_bytes == phases["use"].committed_bytes + 4 * _MIB


def test_what_is_not_reserved_counts_as_touched_where_it_is_committed_at_map(
    recording: Recording,
) -> None:
    phases = _by_name(recording, "at_map", "moves")
    base = phases["base"].committed_bytes
    assert phases["reserve"].committed_bytes == base + _MIB
    assert phases["use"].committed_bytes == base + 25 * _MIB


def test_only_what_is_touched_counts_where_it_is_committed_at_touch(recording: Recording) -> None:
    phases = _by_name(recording, "at_touch", "moves")
    for phase in phases.values():
        assert phase.committed_bytes == phase.resident_bytes
    used = phases["use"].committed_bytes - phases["base"].committed_bytes
    assert 25 * _MIB <= used < 26 * _MIB
    # 24 MiB, of which 16 were discarded.
    left = phases["threads"].committed_bytes - phases["base"].committed_bytes
    assert 9 * _MIB <= left < 10 * _MIB


def test_threads_and_kinds(recording: Recording) -> None:
    runtime = runtime_with("at_build", "moves")
    needs = memory_needs(recording, runtime)
    assert needs.live_thread_count == 4
    assert needs.max_threads == 4 + runtime.threads.own.high
    assert needs.committed_phase.name == "threads"
    assert sum(needs.kind_bytes.values()) == needs.committed_bytes
    assert 3 * _MIB < needs.kind_bytes["stack"] < 3 * _MIB + _STACK_BYTES
    # 40 MiB reserved, of which 2 are opened, and 8 that are mapped so in the middle of a block.
    assert needs.inaccessible_bytes == 46 * _MIB
    with_more = memory_needs(recording, runtime, threads=4 + 2)
    assert with_more.max_threads == needs.max_threads + 2
    assert with_more.added_threads_bytes.low == 2 * ((256 << 10) + 4096)
    assert with_more.total_bytes.low > needs.total_bytes.low + with_more.added_threads_bytes.low
    # The program asks for stacks of 1 MiB.
    stacks = recorded_stacks(recording, 0)
    assert stacks.threads == ()
    assert 0 < stacks.first_bytes < _MIB


def test_resident_memory_is_near_that_of_a_native_run(program: Path, recording: Recording) -> None:
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    native_bytes = int(output.split()[0]) << 10
    needs = memory_needs(recording, runtime_with("at_build", "moves"))
    assert needs.resident_phase is not None
    assert needs.resident_bytes is not None
    assert needs.resident_phase.name == "use"
    # Linux maps 64 KiB of a file for each page of it that is touched.
    assert abs(native_bytes - needs.resident_bytes) < 1.5 * _MIB


def _counts(
    recording: Recording, phase: str, runtime: Runtime, epc_bytes: int
) -> dict[tuple[str, str], Range]:
    (found,) = recording.select_phases(phase)
    platform = load_platform("xeon-gold-6326").overridden(epc_bytes=epc_bytes)
    charges: list[Charge] = runtime_charges(recording, found, runtime, platform, 128 * _MIB)
    return {(charge.cause, charge.what): charge.count for charge in charges}


_CLEARED = ("runtime", "bytes of memory cleared")
_FAULTS = ("transitions", "first faults of enclave pages")
_LOADS = ("paging", "pages loaded to be cleared")


def test_what_the_kernel_would_clear_too_is_not_charged(recording: Recording) -> None:
    runtime = runtime_with("at_build", "copies")
    counts = {
        phase: _counts(recording, phase, runtime, 1 << 30)
        for phase in ("base", "reserve", "use", "discard")
    }
    assert counts["base"] == {}
    assert counts["reserve"][_CLEARED] == Range(39 * _MIB, 39 * _MIB, 40 * _MIB)
    assert counts["use"][_CLEARED] == Range(0, 0, 24 * _MIB)
    assert counts["discard"][_CLEARED] == Range(16 * _MIB, 16 * _MIB, 16 * _MIB)
    # The kernel takes faults, too, for the pages that are used.
    # The loader had mapped some more before, and the stack grows.
    reserve = counts["reserve"][_FAULTS]
    assert reserve.likely == reserve.high
    assert 40 * _PAGES - 16 <= reserve.high <= 40 * _PAGES
    assert 0 <= reserve.high - reserve.low - _PAGES <= 16
    assert counts["use"][_FAULTS] == Range(0, 24 * _PAGES, 24 * _PAGES)
    assert _FAULTS not in counts["discard"]
    assert not any(_LOADS in count for count in counts.values())


def test_what_is_not_cleared_when_it_is_mapped_may_never_be_accessed(recording: Recording) -> None:
    faults = _counts(recording, "reserve", load_runtime("occlum"), 1 << 30)[_FAULTS]
    assert faults.low == 0
    assert _PAGES <= faults.likely <= _PAGES + 16
    assert 40 * _PAGES - 16 <= faults.high <= 40 * _PAGES


def test_pages_are_loaded_to_be_cleared_where_the_enclave_does_not_fit(
    recording: Recording,
) -> None:
    runtime = runtime_with("at_build", "copies")
    counts = {
        phase: _counts(recording, phase, runtime, 64 << 20) for phase in ("reserve", "discard")
    }
    assert counts["reserve"][_LOADS] == Range(0, 39 * _PAGES, 39 * _PAGES)
    assert counts["discard"][_LOADS] == Range(0, 16 * _PAGES, 16 * _PAGES)
    assert not any(_FAULTS in count for count in counts.values())


def test_replicas_fit_together_or_not_at_all_and_wait_for_each_others_loads(
    recording: Recording,
) -> None:
    (phase,) = recording.select_phases("discard")
    # One enclave of 128 MiB fits with its metadata, two do not.
    platform = load_platform("xeon-gold-6326").overridden(epc_bytes=129 << 20)
    runtime = runtime_with("at_build", "copies")

    def loads(replicas: int, built_bytes: int) -> list[tuple[Range, str]]:
        charges = runtime_charges(
            recording, phase, runtime, platform, built_bytes, threads=2, replicas=replicas
        )
        found = [c for c in charges if (c.cause, c.what) == _LOADS]
        return [(c.count, c.constant.name) for c in found]

    assert loads(1, 128 * _MIB) == []
    # What is left beside 129 MiB does not do for version arrays.
    alone = Range(0, 16 * _PAGES, 16 * _PAGES)
    assert loads(1, 129 * _MIB) == [(alone, "platform.paging.page_swap_ns.2")]
    both = alone.scaled(2)
    assert loads(2, 128 * _MIB) == [(both, "platform.paging.page_swap_ns.4")]


def test_pages_are_added_as_memory_is_mapped_or_touched(recording: Recording) -> None:
    added = ("runtime", "pages added to the enclave")
    faults = ("transitions", "faults of pages added when touched")
    traps = ("transitions", "traps of pages added when touched")
    at_map, at_touch = runtime_with("at_map", "copies"), runtime_with("at_touch", "copies")
    reserve = _counts(recording, "reserve", at_map, 1 << 30)
    assert reserve[added] == Range.exact(_PAGES)
    # The kernel adds a page at one fault; the other is delivered, with an AEX in its price.
    assert reserve[faults] == reserve[traps] == Range.exact(_PAGES)
    use = _counts(recording, "use", at_map, 1 << 30)
    assert use[added] == Range.exact(24 * _PAGES)
    assert faults not in use
    touched = _counts(recording, "use", at_touch, 1 << 30)
    assert 24 * _PAGES <= touched[added].likely < 25 * _PAGES
    assert touched[faults] == touched[traps] == touched[added]


def test_bytes_of_system_calls_are_priced_by_the_runtime(recording: Recording) -> None:
    runtime = load_runtime("gramine")
    platform = load_platform("xeon-gold-6326")
    start = recording.phases[0]
    charges = runtime_charges(recording, start, runtime, platform, 128 * _MIB)
    rows = count_transitions(recording, platform, runtime).of_phase(start)
    for what, constant, field in (
        ("bytes of files hashed", runtime.work.hash_byte_ns, "hashed_bytes"),
        ("bytes copied across the border", runtime.work.copy_byte_ns, "copied_bytes"),
    ):
        (charge,) = [charge for charge in charges if charge.what == what]
        assert charge.constant is constant
        # The C library alone is larger.
        assert charge.count.likely == sum(getattr(row, field).likely for row in rows) > _MIB
    # Nothing of the base phase reads a file.
    (base,) = recording.select_phases("base")
    assert runtime_charges(recording, base, runtime, platform, 128 * _MIB) == []


@pytest.mark.slow
def test_resident_memory_of_a_real_model_is_near_that_of_a_native_run(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    with OnnxTarget(str(model), warmup=0, runs=1) as target:
        recording = record_target(target, tmp_path / "recording", TracerOptions())
    needs = memory_needs(recording, load_runtime("gramine"))
    output = subprocess.run(
        [sys.executable, "-c", _RUN_NATIVELY, str(model)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    native_bytes = int(output) << 10
    assert needs.resident_bytes is not None
    # Linux maps more of the libraries than is touched.
    assert 0.7 * native_bytes < needs.resident_bytes < 1.05 * native_bytes
    # Threads' stacks and arenas, OpenBLAS's buffers, libraries.
    assert needs.committed_bytes > 2 * native_bytes
    (size,) = [s.value for s in needs.settings if s.name == "sgx.enclave_size"]
    assert size & (size - 1) == 0
    assert needs.total_bytes.high <= size < 2 * needs.total_bytes.high


_RUN_NATIVELY = """
import sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
(given,) = session.get_inputs()
session.run(None, {given.name: numpy.zeros(given.shape, "float32")})
print(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("VmHWM")))
"""
