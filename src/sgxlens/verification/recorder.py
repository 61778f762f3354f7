# SPDX-License-Identifier: Apache-2.0
"""Records changed programs, side by side where memory allows it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgxlens.errors import RecordingError
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.verification.worker import RECORDING

if TYPE_CHECKING:
    from typing import IO

_WORKER = "sgxlens.verification.worker"
_POLL_SECONDS = 0.25
#: A worker that was told to end gets this long to end its program.
_GRACE_SECONDS = 40.0
#: What a recording needs for each byte that the recorded program touched (the program itself, and
#: what the analysis keeps of its lines), and beside it (tables, the tracer and its translations).
#: Measured: AlexNet, which touches 640 MiB, took 2.5 GiB; a transformer of 190 MiB took 1.8 GiB.
_BYTES_PER_BYTE = 2.0
_OWN_BYTES = 1400 << 20
#: Processors that a recording keeps busy: the program and the analysis.
_CORES_PER_RECORDING = 2


@dataclass
class _Worker:
    """A process that records."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]
    progress: dict[str, Any] = field(default_factory=dict)
    pending: bytes = b""

    def read(self) -> None:
        """Take what it told."""
        if self.process.stdout is not None:
            self.pending += os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.pending = self.pending.split(b"\n")
        for line in lines:
            self.progress |= json.loads(line)


def finished(folder: Path) -> Recording | None:
    """The recording in a folder, if it is whole."""
    try:
        return open_recording(folder / RECORDING)
    except RecordingError:
        return None


def record_all(
    folders: Sequence[tuple[str, Path]],
    *,
    jobs: int,
    on_progress: Callable[[str], None],
) -> dict[Path, str]:
    """Record what is prepared in each of the folders, `jobs` at once.

    Args:
        folders: a name and a folder each.
        jobs: recordings at once.
        on_progress: called a few times a second.

    Returns:
        Why there is no recording, of the folders in which there is none.
    """
    failures: dict[Path, str] = {}
    waiting = list(folders)
    done = 0
    with _workers() as running:
        while waiting or running:
            while waiting and len(running) < jobs:
                name, folder = waiting.pop(0)
                running.append(_start(name, folder))
            pipes: list[IO[bytes]] = [w.process.stdout for w in running if w.process.stdout]
            ready, _, _ = select.select(pipes, [], [], _POLL_SECONDS)
            for worker in list(running):
                if worker.process.stdout in ready:
                    worker.read()
                if worker.process.poll() is not None:
                    running.remove(worker)
                    done += 1
                    reason = _ended(worker)
                    if reason is not None:
                        failures[worker.folder] = reason
            on_progress(_told(running, done, len(folders)))
    return failures


def jobs_for(recording: Recording) -> int:
    """How many recordings of such a program this machine can make at once."""
    by_memory = int(0.8 * _available_bytes() // recording_bytes(recording))
    by_cores = len(os.sched_getaffinity(0)) // _CORES_PER_RECORDING
    return max(min(by_memory, by_cores), 1)


def recording_bytes(recording: Recording) -> float:
    """Memory that recording a program like this takes, about."""
    rows = recording.table("footprints").to_pylist()
    pages: int = sum(
        row["block_count"]
        for row in rows
        if (row["phase"], row["granularity"], row["access"]) == (None, "page", "any")
    )
    return _OWN_BYTES + _BYTES_PER_BYTE * pages * PAGE_BYTES


def _available_bytes() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        found = int(fields["MemAvailable"].split()[0]) * 1024.0
    except (OSError, KeyError, ValueError):
        return 0.0
    try:  # a container may have less than the machine
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return found
    return min(found, float(limit - used))


def _start(name: str, folder: Path) -> _Worker:
    process = subprocess.Popen(
        [sys.executable, "-m", _WORKER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for this process, which then ends the workers one by one.
        start_new_session=True,
    )
    return _Worker(name, folder, process)


def _ended(worker: _Worker) -> str | None:
    """Why a worker that ended left no recording; None: it left one."""
    worker.read()
    _close(worker.process)
    if finished(worker.folder) is not None:
        return None
    _sweep(worker.folder)
    error = worker.progress.get("error")
    return str(error) if error else f"recording failed (status {worker.process.returncode})"


@contextmanager
def _workers() -> Iterator[list[_Worker]]:
    """A list of workers; whatever happens, none of them outlives the block."""
    running: list[_Worker] = []
    try:
        yield running
    finally:
        for worker in running:
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        deadline = time.monotonic() + _GRACE_SECONDS
        for worker in running:
            try:
                worker.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _close(worker.process)
            _sweep(worker.folder)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _sweep(folder: Path) -> None:
    """Remove what a recording that was not finished left."""
    for path in folder.glob(".sgxlens-*"):
        shutil.rmtree(path, ignore_errors=True)


def _told(running: Sequence[_Worker], done: int, count: int) -> str:
    parts = []
    for worker in running:
        phase = worker.progress.get("phase") or "starting"
        accesses = worker.progress.get("accesses", 0) / 1e6
        parts.append(f"{worker.name}: {phase}, {accesses:,.0f} M accesses")
    return f"recording {min(done + 1, count)} of {count}  " + "; ".join(parts)
