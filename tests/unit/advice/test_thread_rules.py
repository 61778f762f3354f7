# SPDX-License-Identifier: Apache-2.0
"""How threads wait for each other, and who makes their system calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import paged
import predictable
from advised import SGX1, SGX2, Make, asked, calls, declined, position_of

LIBGOMP = "/opt/lib/libgomp-1a2b.so.1"
WAIT, WAKE = 0x80, 0x81  # of a futex of one process


def of_threads(count: int, target: dict[str, Any] | None = None) -> dict[str, Any]:
    """Fields of ``recording.json`` of a program with so many threads."""
    found = predictable.metadata(count)
    return {"native": found["native"], **({"target": target} if target else {})}


def futex_calls(count: int, caller: str) -> list[dict[str, Any]]:
    fields = {"arg1": WAKE, "result": 1, "caller": caller}
    return calls(4, position_of(4), "futex", count, **fields)


@pytest.fixture
def waiting(make: Make) -> Path:
    """A program of two threads of which one wakes the other 200 times."""
    return make(fields=of_threads(2), syscalls=futex_calls(200, LIBGOMP))


def test_system_calls_of_an_openmp_library_should_be_those_of_the_c_library(
    waiting: Path, make: Make
) -> None:
    (advice,) = asked("raw_syscalls", waiting, SGX2)
    assert advice.evidence[0].value.likely == 200
    # exception_ns of the platform.
    assert advice.gains[0].saved.likely == pytest.approx(200 * 6860e-9)
    mount = advice.steps[0].snippet
    assert f'path = "{LIBGOMP}", uri = "file:{{{{ gramine.runtimedir() }}}}/libgomp.so.1"' in mount
    (other,) = asked("raw_syscalls", waiting, SGX2, "occlum")
    assert "Occlum.json" in other.steps[0].text
    assert "or trap nowhere in" in declined("raw_syscalls", waiting, SGX2, "sdk")
    libc = make(syscalls=futex_calls(200, "/lib/x86_64-linux-gnu/libc.so.6"))
    assert "made by the C library" in declined("raw_syscalls", libc, SGX2)
    few = make(syscalls=futex_calls(3, LIBGOMP))
    assert "trap 3 times" in declined("raw_syscalls", few, SGX2)


def test_a_program_whose_instructions_trap_should_be_linked_otherwise(make: Make) -> None:
    (advice,) = asked("raw_syscalls", make(syscalls=futex_calls(200, "/opt/app")), SGX2)
    (step,) = advice.steps
    assert "Link /opt/app dynamically" in step.text


def test_threads_that_sleep_should_spin(waiting: Path, make: Make) -> None:
    (advice,) = asked("wait_policy", waiting, SGX2)
    saved = advice.gains[0].saved
    assert saved.likely >= 200 * 3110e-9
    # How long its threads spin is not known.
    assert saved.low < 0.05 * saved.likely
    assert 'loader.env.OMP_WAIT_POLICY = "active"' in advice.steps[0].snippet
    alone = make(fields=of_threads(1), syscalls=futex_calls(200, LIBGOMP))
    assert "one thread works" in declined("wait_policy", alone, SGX2)
    few = make(fields=of_threads(2, {"kind": "torch", "environment": {"KMP_BLOCKTIME": "0"}}))
    assert "% of an inference" in declined("wait_policy", few, SGX2)


@pytest.mark.parametrize(
    ("target", "sleeps"),
    [
        ({"kind": "onnx", "model": "x.onnx"}, True),
        ({"kind": "onnx", "model": "x.onnx", "session": {"allow_spinning": True}}, False),
        ({"kind": "torch"}, True),
        ({"kind": "command", "environment": {"OMP_WAIT_POLICY": "ACTIVE"}}, False),
    ],
)
def test_how_threads_wait_is_read_from_the_recording(
    make: Make, target: dict[str, Any], sleeps: bool
) -> None:
    path = make(fields=of_threads(16, target))
    if sleeps:
        (advice,) = asked("wait_policy", path, SGX1, epc=paged.LARGE_EPC)
        # An operator may be a parallel region: none was seen to be one.
        assert advice.evidence[0].value.high == 1
        is_model = target["kind"] == "onnx"
        assert (advice.modification is not None) == is_model
    else:
        assert "spin already" in declined("wait_policy", path, SGX1, epc=paged.LARGE_EPC)


def test_pages_come_in_no_faster_for_many_threads(make: Make) -> None:
    path = make(fields=of_threads(16))
    # Stacks of so many threads make a large enclave, whose version arrays take 8 MiB.
    (advice,) = asked("threads", path, SGX1, epc="9100K", native_seconds=2e-4)
    assert advice.title == "Work with 2 threads in place of 16"
    (gain,) = advice.gains
    # 27.2 us a page with 16 threads, and 11.5 with 2; natively 8 times as long at most.
    saved = (gain.before.likely - 2e-4) * (1 - 11.5 / 27.2)
    assert (
        gain.saved.low < saved - 2e-4 * (8**0.5 - 1) == pytest.approx(gain.saved.likely, rel=0.02)
    )
    assert gain.saved.high > saved
    options = [row.value.likely for row in advice.evidence if row.what.startswith("an inference")]
    assert len(options) == 4
    assert min(options) == pytest.approx(gain.after.likely)
    assert advice.modification is None


def test_two_threads_page_faster_than_one(make: Make) -> None:
    target = {"kind": "onnx", "model": "net.onnx"}
    path = make(fields=of_threads(1, target))
    (advice,) = asked("threads", path, SGX1, epc=paged.SMALL_EPC)
    assert advice.title == "Work with 2 threads in place of 1"
    # The error of what a page takes is the same for one and two threads.
    saved = advice.gains[0].saved
    assert 0 < saved.low < saved.likely
    assert advice.modification is not None
    assert advice.modification.session == {"intra_op_threads": 2}
    assert "sgx.max_threads = 5" in advice.steps[1].snippet


def test_where_the_enclave_adds_no_less_no_other_count_is_advised(make: Make) -> None:
    assert "with other counts more" in declined("threads", make(fields=of_threads(1)), SGX2)
    assert "natively it likely takes longer" in declined(
        "threads", make(fields=of_threads(16)), SGX2
    )
