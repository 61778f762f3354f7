# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import re
import signal
from pathlib import Path

import pytest

from sgxlens.recording.syscalls import errno_name, signal_name, syscall_name

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


@pytest.mark.skipif(not HEADER.exists(), reason="no kernel headers")
def test_names_agree_with_the_kernel_headers() -> None:
    for name, number in re.findall(r"#define __NR_(\w+) (\d+)", HEADER.read_text()):
        if syscall_name(int(number)) != f"syscall_{number}":  # the headers may be newer
            assert syscall_name(int(number)) == name


def test_names() -> None:
    assert [syscall_name(n) for n in (0, 202, 334, 424, 462, 469)] == [
        "read",
        "futex",
        "rseq",
        "pidfd_send_signal",
        "mseal",
        "file_setattr",
    ]
    assert syscall_name(400) == "syscall_400"
    assert errno_name(errno.ENOENT) == "ENOENT"
    assert errno_name(512) == "ERESTARTSYS"
    assert errno_name(4000) == "errno_4000"
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
    assert signal_name(99) == "signal_99"
