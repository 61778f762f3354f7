# SPDX-License-Identifier: Apache-2.0
"""Rows of the tables ``syscalls`` and ``threads``, made by hand."""

from __future__ import annotations

from typing import Any

from sgxlens.enclave.files import FileKinds
from sgxlens.recording.syscalls import syscall_name

Row = dict[str, Any]
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
NUMBERS = {syscall_name(number): number for number in range(500)}
AT_FDCWD = -100 & (1 << 64) - 1
NO_DISK = FileKinds(look_on_disk=False)


def call(name: str, *arguments: int, result: int | None = 0, **given: Any) -> Row:
    values = [*arguments, *[0] * (6 - len(arguments))]
    return {
        "process": 0,
        "phase": 1,
        "thread": 1,
        "position": 250,
        "number": NUMBERS[name],
        "name": name,
        "caller": LIBC,
        **{f"arg{index}": value for index, value in enumerate(values)},
        "result": result,
        "kernel_read_bytes": 0,
        "kernel_write_bytes": 0,
        "path": None,
        **given,
    }


def opened(path: str, descriptor: int, flags: int = 0, **given: Any) -> Row:
    return call("openat", AT_FDCWD, 0, flags, result=descriptor, path=path, **given)


def thread(number: int, start: int, tid: int, process: int = 0) -> Row:
    return {
        "process": process,
        "thread": number,
        "kernel_tid": tid,
        "creator": None,
        "stack_pointer": 0,
        "start_position": start,
        "end_position": None,
    }
