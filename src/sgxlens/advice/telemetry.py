# SPDX-License-Identifier: Apache-2.0
"""Threads of ONNX Runtime's telemetry in a recording, and the recording without them.

From release 1.29 on, the packages for Linux hold it, and it is on (microsoft/onnxruntime pull
request 27379). It keeps a database in the user's cache, ``.onnxruntime/onnxruntime.db``, and starts
a thread, which about ten seconds later starts others that upload. How many of them there are when
the program needs most memory, or whether it has ended before, differs between runs of the same
program, by up to 136 MiB (a stack of 8 MiB, and an arena that is 128 MiB while it is aligned) each.
That is no effect of a change of anything else: gains of memory, and of the start, which adds its
pages, are of the program without these threads.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.compute as pc

from sgxlens.enclave.mappings.threads import without_threads

if TYPE_CHECKING:
    from sgxlens.advice.modification import Modification
    from sgxlens.recording.reader import Recording

#: The variable that switches it off.
SWITCH = "ORT_DISABLE_TELEMETRY"
#: What gains that are of the program without its threads assume.
BESIDE_TELEMETRY = (
    "ONNX Runtime's telemetry is off, or takes as much as before: how many of its threads, of up to"
    " 136 MiB each, are there when most memory is needed differs from run to run."
)
#: Variables that decide what its threads take.
_OF_THREADS = frozenset({SWITCH, "MALLOC_ARENA_MAX"})
_FOLDER = ".onnxruntime"


class Telemetry(NamedTuple):
    """What gathers and sends usage data.

    Attributes:
        folder: where it keeps them.
        starts: its threads, by number and position of their start.
    """

    folder: str
    starts: frozenset[tuple[int, int]]


def telemetry_of(recording: Recording, process: int) -> Telemetry | None:
    """The telemetry of a process; None: there is none.

    Its threads are the first one that starts after the folder is used, and those that it and they
    make.

    Raises:
        RecordingError: the recording is damaged.
    """
    if not recording.has_table("syscalls") or not recording.has_table("threads"):
        return None
    table = recording.table("syscalls")
    chosen = pc.and_(
        pc.equal(table["process"], process),
        pc.fill_null(pc.match_substring(table["path"], f"/{_FOLDER}"), False),  # noqa: FBT003
    )
    for row in table.filter(chosen).select(["position", "path"]).to_pylist():
        path = PurePosixPath(row["path"])
        if path.name == _FOLDER:
            return Telemetry(str(path), _threads_since(recording, process, row["position"]))
    return None


def without_telemetry(recording: Recording, process: int) -> Recording:
    """The recording as if the threads of telemetry had not been; itself, where there are none.

    Raises:
        RecordingError: the recording is damaged.
    """
    found = telemetry_of(recording, process)
    if found is None or not found.starts:
        return recording
    return without_threads(recording, process, found.starts)


def is_beside_telemetry(modification: Modification) -> bool:
    """Whether a change leaves alone what threads of telemetry take."""
    return _OF_THREADS.isdisjoint(modification.environment)


def _threads_since(recording: Recording, process: int, position: int) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    rows = sorted(
        (
            row
            for row in recording.table("threads").to_pylist()
            if row["process"] == process and row["start_position"] >= position
        ),
        key=lambda row: row["start_position"],
    )
    numbers: set[int] = set()
    for row in rows:
        if not numbers or row["creator"] in numbers:
            numbers.add(row["thread"])
            found.add((row["thread"], row["start_position"]))
    return frozenset(found)
