# SPDX-License-Identifier: Apache-2.0
"""Tables of a small recording that has all that a prediction needs."""

from __future__ import annotations

from typing import Any

import attributed

#: Native seconds of each phase, and of its two operators in a profiled run.
NATIVE_SECONDS = {"start": 0.02, "load": 0.1, "warm-up 1": 0.008, "inference": 0.005}
MAPPING = {
    "process": 0, "position": 0, "event": "map", "address": 0, "size_bytes": 64 << 20,
    "protection": "rw-", "kind": "anonymous", "name": "", "file_offset": 0, "from_address": None,
}  # fmt: skip
CONV_SECONDS, GEMM_SECONDS = 0.004, 0.002


def tables() -> dict[str, Any]:
    """As of `attributed`, and native times of two plain runs and a profiled one."""
    native = []
    for run in range(3):
        slower = (1.0, 1.1, 1.2)[run]
        for name in attributed.PHASES:
            seconds = NATIVE_SECONDS.get(name, NATIVE_SECONDS["inference"]) * slower
            native.append(native_row(run, name, seconds))
            if run == 2 and not name.startswith(("start", "load")):
                native.append(native_row(run, name, CONV_SECONDS, 0, attributed.CONV))
                native.append(native_row(run, name, GEMM_SECONDS, 1, attributed.GEMM))
    return {
        **attributed.tables(),
        "native_times": native,
        "mappings": [MAPPING],
        "syscalls": syscalls(),
        "traps": [
            {"process": 0, "phase": 4, "kind": "rdtsc", "leaf": None, "subleaf": None, "count": 7}
        ],
    }


def syscalls(count: int = 3) -> list[dict[str, Any]]:
    """Calls of ``getpid`` and ``sethostname`` in the second operator of the last inference."""
    position = next(
        row["start_position"] + 1
        for row in attributed.tables()["operators"]
        if (row["phase"], row["index"]) == (4, 1)
    )
    return [
        {
            "process": 0, "phase": 4, "thread": 1, "position": position, "number": number,
            "name": name, "caller": "/lib/x86_64-linux-gnu/libc.so.6",
            **{f"arg{i}": 0 for i in range(6)}, "result": 1, "kernel_read_bytes": 0,
            "kernel_write_bytes": 0, "path": None,
        }
        for number, name in ((39, "getpid"), (170, "sethostname"))
        for _ in range(count)
    ]  # fmt: skip


def native_row(
    run: int, phase: str, seconds: float, index: int | None = None, name: str | None = None
) -> dict[str, Any]:
    """A row of table ``native_times``."""
    return {
        "run": run, "phase": phase, "occurrence": 0, "operator_index": index,
        "operator_name": name, "seconds": seconds,
    }  # fmt: skip


def metadata(threads: int | None = 1) -> dict[str, Any]:
    """Fields of ``recording.json`` that go with `tables`."""
    host = {"cpu": "A CPU", "cores": 4, "kernel": "6.1.0", "memory_bytes": 16 << 30}
    return {
        "settings": {
            "follow_children": False,
            "start_at_mark": None,
            "sampling_rate": 1.0,
            "keep_accesses": False,
            "line_use_interval": 1,
            "attribute": True,
            "visit_page_count": 256,
        },
        "native": {
            "source": None,
            "sgxlens_version": "0.1.0",
            "created": "2026-01-02T03:04:05Z",
            "host": host,
            "command": ["python3", "model.py"],
            "target": {},
            "threads": threads,
            "runs": [{"seconds": 1.0, "profiled": run == 2} for run in range(3)],
            "notes": [],
        },
    }
