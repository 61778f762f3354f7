# SPDX-License-Identifier: Apache-2.0
"""What threads cost that run an operator together, and those that do something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime
from sgxlens.enclave.transitions import count_transitions, transition_charges
from sgxlens.recording.reader import Recording, open_recording
from system_calls import NO_DISK, Row, call, thread

MakeRecording = Callable[..., Path]

# A phase with an operator in which threads 1 and 2 work, and thread 3 does something else.


def operator(source: str = "onnxruntime_profile") -> Row:
    return {
        "process": 0,
        "operator": 0,
        "phase": 1,
        "index": 0,
        "parent": None,
        "thread": 1,
        "name": "conv",
        "type": "Conv",
        "start_position": 220,
        "end_position": 300,
        "input_shapes": "",
        "output_shapes": "",
        "parameter_bytes": None,
        "activation_bytes": None,
        "output_bytes": None,
        "source": source,
    }


def context(number: int, thread: int, start: int, end: int, operator: int | None) -> Row:
    return {
        "process": 0,
        "context": number,
        "phase": 1,
        "span": number,
        "thread": thread,
        "operator": operator,
        "start_position": start,
        "end_position": end,
        "line_access_count": 10,
        "page_access_count": 1,
    }


TARGET: dict[str, Any] = {
    "kind": "onnx",
    "model": "model.onnx",
    "inputs": [],
    "input_file": None,
    "seed": 0,
    "threads": 2,
    "warmup": 0,
    "runs": 1,
    "onnxruntime": "1.20",
}
WORKING = [
    call("futex", 0, 128, 0, position=230),
    call("futex", 0, 128, 0, position=230, thread=2),
    call("futex", 0, 128, 0, position=310),
    call("sched_yield", position=240, thread=2),
    call("clock_gettime", position=240),
    call("getpid", position=240),
    call("nanosleep", position=250),
    call("pwrite64", 9, 0, 10, result=10, position=250, thread=3),
    call("futex", 0, 128, 0, position=260, thread=3),
    call("uname", position=260, thread=4),
    call("sysinfo", position=260, thread=5),
]


@pytest.fixture
def parallel(make_recording: MakeRecording) -> Recording:
    return recorded(make_recording, TARGET)


def recorded(make_recording: MakeRecording, target: dict[str, Any]) -> Recording:
    contexts = [
        context(0, 1, 200, 220, None),
        context(1, 1, 220, 300, 0),
        context(2, 2, 220, 300, 0),
        context(3, 3, 220, 300, None),
        context(4, 1, 300, 400, None),
    ]
    threads = [thread(1, 0, 70), thread(4, 0, 71), {**thread(3, 0, 72), "creator": 4}]
    threads.append({**thread(5, 0, 73), "creator": 4})
    tables = {
        "syscalls": WORKING,
        "operators": [operator()],
        "contexts": contexts,
        "threads": threads,
    }
    return open_recording(make_recording(tables, target=target))


def test_the_profile_that_sgxlens_asked_for_is_left_out_and_said(parallel: Recording) -> None:
    platform, runtime = load_platform("xeon-e-2288g"), load_runtime("gramine")
    counts = count_transitions(parallel, platform, runtime, NO_DISK)
    assert list(counts.left_out.values()) == [2]
    assert {row.name for row in counts.rows}.isdisjoint({"clock_gettime", "getpid"})


def test_threads_of_an_operator_cost_a_parallel_region_and_not_their_waits(
    parallel: Recording,
) -> None:
    platform, runtime = load_platform("xeon-gold-6326"), load_runtime("gramine")
    (phase,) = parallel.select_phases("inference 1")
    charges = transition_charges(parallel, phase, platform, runtime, NO_DISK, threads=2)
    found = {(c.what, c.operator): (c.count, c.constant.name) for c in charges}
    ocall, region = "platform.transitions.ocall_ns", "platform.transitions.parallel_region_ns.2"
    assert found == {
        ("OCALLs of futex", None): (Range.exact(1), ocall),  # after the operator
        ("OCALLs of nanosleep", 0): (Range.exact(1), ocall),
        ("parallel regions", 0): (Range.exact(1), region),
    }
    four = transition_charges(parallel, phase, platform, runtime, NO_DISK, threads=4)
    assert any(c.constant.name.endswith("parallel_region_ns.4") for c in four)
    one = transition_charges(parallel, phase, platform, runtime, NO_DISK, threads=1)
    waits = sum((c.count for c in one if c.what == "OCALLs of futex"), Range.exact(0))
    assert waits == Range.exact(3)
    assert not any(c.what == "parallel regions" for c in one)


@pytest.mark.parametrize(
    "target",
    [
        {**TARGET, "session": {"allow_spinning": True}},
        {"kind": "torch", "environment": {"OMP_WAIT_POLICY": "active"}},
        {"kind": "command", "environment": {"KMP_BLOCKTIME": "infinite"}},
    ],
)
def test_threads_that_spin_are_woken_once_at_most(
    make_recording: MakeRecording, target: dict[str, Any]
) -> None:
    recording = recorded(make_recording, target)
    (phase,) = recording.select_phases("inference 1")
    platform, runtime = load_platform("xeon-gold-6326"), load_runtime("gramine")
    charges = transition_charges(recording, phase, platform, runtime, NO_DISK, threads=2)
    (regions,) = (c for c in charges if c.what == "parallel regions")
    assert regions.count == Range(0, 0, 1)


def test_more_threads_than_recorded_may_split_any_operator(make_recording: MakeRecording) -> None:
    contexts = [context(0, 1, 220, 300, 0)]
    tables = {"syscalls": [], "operators": [operator()], "contexts": contexts}
    recording = open_recording(make_recording(tables, target={**TARGET, "threads": 1}))
    platform, runtime = load_platform("xeon-gold-6326"), load_runtime("gramine")
    (phase,) = recording.select_phases("inference 1")
    charges = transition_charges(recording, phase, platform, runtime, NO_DISK, threads=8)
    assert [(c.what, c.count) for c in charges] == [("parallel regions", Range(0, 1, 1))]


def test_what_threads_do_beside_the_inference_is_counted_and_not_charged(
    parallel: Recording,
) -> None:
    platform, runtime = load_platform("xeon-gold-6326"), load_runtime("gramine")
    counts = count_transitions(parallel, platform, runtime, NO_DISK)
    beside = {row.name for row in counts.rows if row.is_background}
    # Thread 3 writes a file, thread 4 made it, and then thread 5.
    assert beside == {"pwrite64", "futex", "uname", "sysinfo"}


def test_an_inference_of_the_sdk_is_an_ecall(parallel: Recording) -> None:
    platform, runtime = load_platform("xeon-gold-6326"), load_runtime("sdk")
    what = "ECALLs of the inference"
    for phase in parallel.phases:
        charges = transition_charges(parallel, phase, platform, runtime, NO_DISK)
        assert any(c.what == what for c in charges) == phase.name.startswith("inference")
