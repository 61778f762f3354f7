# SPDX-License-Identifier: Apache-2.0
"""What tests of several folders share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from sgxlens.recording.schemas import TABLES
from sgxlens.recording.writer import RecordingWriter

# How long an example takes says something of the machine only.
settings.register_profile("sgxlens", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sgxlens")

Rows = Sequence[Mapping[str, Any]]
FOLDER = Path(__file__).parent
MakeRecording = Callable[..., Path]

PROCESS = {
    "process": 0,
    "pid": 100,
    "parent_pid": 1,
    "program": "/usr/bin/python3",
    "started": "exec",
    "end": "exited",
    "exit_code": 0,
    "instruction_count": 5_000,
    "line_access_count": 1_000,
    "page_access_count": 900,
}
METADATA: dict[str, Any] = {
    "sgxlens_version": "0.1.0",
    "created": "2026-01-02T03:04:05Z",
    "command": ["python3", "model.py"],
    "target": {"kind": "command"},
    "host": {"cpu": "A CPU", "cores": 4, "kernel": "6.1.0", "memory_bytes": 16 << 30},
    "tracer": {"isa": "avx", "stream_version": 1, "valgrind": "3.19.0"},
    "settings": {
        "follow_children": False,
        "start_at_mark": None,
        "sampling_rate": 1.0,
        "keep_accesses": False,
        "line_use_interval": 1,
    },
    "outcome": {"status": "exited", "exit_code": 0, "signal": None, "message": ""},
    "elapsed_seconds": 12.5,
    "processes": [PROCESS],
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps together what shares a recording or a browser, where tests run side by side."""
    for item in items:
        folder, *rest = item.path.relative_to(FOLDER).parts
        if folder == "browser":
            item.add_marker(pytest.mark.xdist_group(folder))
        elif folder == "integration":
            item.add_marker(pytest.mark.xdist_group(rest[-1]))


def phase_row(index: int, name: str, start: int, end: int, process: int = 0) -> dict[str, Any]:
    return {
        "process": process,
        "phase": index,
        "name": name,
        "start_position": start,
        "end_position": end,
        "start_ns": start * 1000,
        "end_ns": end * 1000,
        "instruction_count": (end - start) * 5,
    }


def reuse_row(
    phase: int,
    granularity: str,
    access: str,
    bounds: tuple[int, int] | None,
    count: int,
    *,
    process: int = 0,
) -> dict[str, Any]:
    low, high = bounds if bounds is not None else (None, None)
    return {
        "process": process,
        "phase": phase,
        "granularity": granularity,
        "access": access,
        "distance_min": low,
        "distance_max": high,
        "count": count,
    }


def footprint_row(
    phase: int | None,
    granularity: str,
    access: str,
    accesses: int,
    blocks: int,
    *,
    process: int = 0,
) -> dict[str, Any]:
    return {
        "process": process,
        "phase": phase,
        "granularity": granularity,
        "access": access,
        "access_count": accesses,
        "block_count": blocks,
        "first_touch_count": blocks // 2 if access == "any" else None,
    }


def default_tables() -> dict[str, Rows]:
    """A program of three phases that makes loads and fetches; no other table."""
    names = ("start", "inference 1", "inference 2")
    reuse, footprints = [], []
    for phase in range(3):
        for granularity in ("line", "page"):
            reuse += [
                reuse_row(phase, granularity, "load", (0, 0), 100),
                reuse_row(phase, granularity, "load", (64, 67), 50 + phase),
                reuse_row(phase, granularity, "load", None, 10),
                reuse_row(phase, granularity, "fetch", (4096, 4351), 7),
            ]
            footprints += [
                footprint_row(phase, granularity, "load", 160 + phase, 40),
                footprint_row(phase, granularity, "fetch", 7, 5),
                footprint_row(phase, granularity, "any", 167 + phase, 44),
            ]
    for granularity in ("line", "page"):
        footprints.append(footprint_row(None, granularity, "any", 504, 90))
    return {
        "phases": [phase_row(i, name, i * 200, (i + 1) * 200) for i, name in enumerate(names)],
        "reuse": reuse,
        "footprints": footprints,
    }


def columns(name: str, rows: Rows) -> dict[str, list[Any]]:
    return {c.name: [row[c.name] for row in rows] for c in TABLES[name].columns}


@pytest.fixture
def metadata() -> dict[str, Any]:
    """The fields of a recording's metadata, free to be changed."""
    return copy.deepcopy(METADATA)


@pytest.fixture
def rows() -> SimpleNamespace:
    """Functions that make rows of tables."""
    return SimpleNamespace(
        phase=phase_row,
        reuse=reuse_row,
        footprint=footprint_row,
        columns=columns,
        default_tables=default_tables,
    )


@pytest.fixture
def make_recording(tmp_path: Path) -> MakeRecording:
    """A function that writes a recording of the tables and metadata given."""

    def make(
        tables: Mapping[str, Rows] | None = None,
        name: str = "recording",
        force: bool = False,
        **metadata: Any,
    ) -> Path:
        with RecordingWriter(tmp_path / name, force=force) as writer:
            for table, rows in {**default_tables(), **(tables or {})}.items():
                writer.write_table(table, columns(table, rows))
            return writer.finish({**METADATA, **metadata})

    return make
