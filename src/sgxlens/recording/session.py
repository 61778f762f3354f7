# SPDX-License-Identifier: Apache-2.0
"""Runs a program under the tracer and feeds its streams to the native core.

A session owns a private folder with a FIFO on which each traced process announces the ring that
it writes, and a lock that tells those processes that their reader lives. It ends when every
recorded process has ended.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from sgxlens._native import Analysis, NativeStreamError, Ring
from sgxlens.errors import TracerError
from sgxlens.recording.environment import session_root, tracer_command
from sgxlens.recording.syscalls import signal_name
from sgxlens.recording.tracer_log import explain

CONTROL_NAME = "control"  # as in tracer/include/sgxlens/stream.h
LOCK_NAME = "lock"

_POLL_SECONDS = 0.05
# A program that was asked to end gets this long before it is killed.
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class TracerOptions:
    """How a program is traced.

    ``isa`` is the instruction set shown to it (sse, avx, avx2); ``sampling_rate`` the share of
    blocks followed, 1.0 for exact results.
    """

    isa: str = "avx"
    follow_children: bool = False
    start_at_mark: str | None = None
    sampling_rate: float = 1.0


@dataclass(frozen=True)
class Progress:
    """What a session is doing at one moment, for a display."""

    elapsed_seconds: float
    line_access_count: int
    phase: str
    process_count: int
    waiting_for_children: bool


class KeepAccesses(Protocol):
    """Where the raw stream of each process goes, if it is kept."""

    def open(self, process: int) -> Callable[[bytes], None]:
        """Return what takes the chunks of that process."""


@dataclass
class TracedProcess:
    """One process image and the stream it writes."""

    ring: Ring
    analysis: Analysis
    pid: int
    end: str = "running"  # exited, killed, replaced
    error: str | None = None
    pid_fd: int | None = None
    thread: threading.Thread | None = None


@dataclass(frozen=True)
class Outcome:
    """How a recorded program ended.

    ``status`` is exited, signalled, interrupted (the user ended it) or lost (its stream broke).
    """

    status: str
    exit_code: int | None
    signal: str | None
    message: str


@dataclass
class SessionResult:
    """What a session leaves: the analyses of its processes, and how it ended."""

    processes: list[TracedProcess]
    outcome: Outcome
    elapsed_seconds: float
    start_ns: int


@dataclass
class _Interrupts:
    """Signals that asked this session to end."""

    received: list[int] = field(default_factory=list)
    handled: int = 0

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)


@contextmanager
def _catching(interrupts: _Interrupts) -> Iterator[None]:
    """Collect the signals that end a program instead of dying of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, interrupts.note) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _terminal_signals_us() -> bool:
    """Whether Ctrl-C at a terminal reaches this process's whole group, the program included."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _descendants(pid: int) -> list[int]:
    """Return the processes below `pid`, deepest last."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def tracer_arguments(options: TracerOptions, folder: Path | None) -> list[str]:
    """Return the command line of the tracer; the program's follows.

    `folder` is the session's. None: the stream is thrown away, which only a measurement wants.

    Raises:
        TracerError: there is no tracer here.
    """
    arguments = [
        *tracer_command(folder),
        "--tool=sgxlens",
        "--command-line-only=yes",  # a user's ~/.valgrindrc is not meant for us
        "--quiet",
        "--sigill-diagnostics=yes",
        "--vgdb=no",
        "--run-libc-freeres=no",  # the program itself does not run it either
        "--run-cxx-freeres=no",
        "--fair-sched=try",  # else threads that spin starve those they wait for
        f"--isa={options.isa}",
        f"--follow-children={'yes' if options.follow_children else 'no'}",
    ]
    if options.start_at_mark is not None:
        arguments.append(f"--start-at-mark={options.start_at_mark}")
    if folder is None:
        return [*arguments, "--sink=nowhere"]
    return [*arguments, f"--log-file={folder}/log.%p", f"--session={folder}"]


class Session:
    """One run of a program under the tracer."""

    def __init__(
        self,
        command: Sequence[str],
        options: TracerOptions,
        *,
        environment: Mapping[str, str] | None = None,
        keep: KeepAccesses | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._command = list(command)
        self._options = options
        self._environment = dict(os.environ if environment is None else environment)
        self._keep = keep
        self._on_progress = on_progress
        self._processes: list[TracedProcess] = []
        self._interrupts = _Interrupts()
        self._killed_at: float | None = None

    def run(self) -> SessionResult:
        """Run the program to its end, whatever that is.

        Raises TracerError where the tracer cannot be started.
        """
        try:
            folder = Path(tempfile.mkdtemp(prefix="sgxlens-", dir=session_root()))
        except OSError as error:
            raise TracerError(f"cannot make a session folder: {error}") from error
        try:
            with _catching(self._interrupts):
                return self._run_in(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run_in(self, folder: Path) -> SessionResult:
        os.mkfifo(folder / CONTROL_NAME, 0o600)
        control = os.open(folder / CONTROL_NAME, os.O_RDWR | os.O_NONBLOCK)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        start_ns = time.monotonic_ns()
        root: subprocess.Popen[bytes] | None = None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            root = subprocess.Popen(
                [*tracer_arguments(self._options, folder), *self._command], env=self._environment
            )
            self._attend(folder, control, root, start_ns)
            status = root.wait()
        except BaseException:
            self._kill_everything(root)
            raise
        finally:
            for process in self._processes:
                process.ring.writer_is_gone()
            for process in self._processes:
                if process.thread is not None:
                    process.thread.join()
                if process.pid_fd is not None:
                    os.close(process.pid_fd)
            os.close(lock)
            os.close(control)
        for process in self._processes:
            process.analysis.finish()
        elapsed_seconds = (time.monotonic_ns() - start_ns) / 1e9
        return SessionResult(
            self._processes, self._outcome(folder, status), elapsed_seconds, start_ns
        )

    def _attend(
        self, folder: Path, control: int, root: subprocess.Popen[bytes], start_ns: int
    ) -> None:
        """Take up streams as they are announced, until every process has ended."""
        pending = b""
        while True:
            ended = root.poll() is not None
            pending = self._take_announcements(folder, control, pending)
            self._note_deaths()
            alive = [p for p in self._processes if p.end == "running"]
            if ended and not alive:
                return
            broken = [p for p in alive if p.error is not None]
            if broken or self._should_kill(root, [p.pid for p in alive]):
                self._kill_everything(root)
            if self._on_progress is not None:
                phase = self._processes[0].analysis.current_phase if self._processes else b""
                self._on_progress(
                    Progress(
                        elapsed_seconds=(time.monotonic_ns() - start_ns) / 1e9,
                        line_access_count=sum(
                            p.analysis.line_access_count for p in self._processes
                        ),
                        phase=phase.decode(errors="replace"),
                        process_count=len(alive),
                        waiting_for_children=ended,
                    )
                )
            select.select([control], [], [], _POLL_SECONDS)

    def _take_announcements(self, folder: Path, control: int, pending: bytes) -> bytes:
        while True:
            try:
                data = os.read(control, 4096)
            except BlockingIOError:
                break
            pending += data
        *lines, pending = pending.split(b"\n")
        for line in lines:
            name, pid = line.decode("ascii").split(" ")
            self._take_up(folder / name, int(pid))
        return pending

    def _take_up(self, ring_path: Path, pid: int) -> None:
        """Start to read a ring that was announced."""
        for process in self._processes:
            if process.pid == pid and process.end == "running":
                # The same process under a new image: the former one writes no more.
                process.end = "replaced"
                process.ring.writer_is_gone()
        ring = Ring(str(ring_path))
        ring_path.unlink()  # mapped on both sides: it goes with the processes, in any case
        process = TracedProcess(ring, Analysis(self._options.sampling_rate), pid)
        try:
            process.pid_fd = os.pidfd_open(pid)
        except OSError:  # gone already, or an old kernel: then its /proc entry is looked at
            process.pid_fd = None
        keep = None if self._keep is None else self._keep.open(len(self._processes))
        process.thread = threading.Thread(
            target=self._read, args=(process, keep), name=f"sgxlens-reader-{pid}", daemon=True
        )
        self._processes.append(process)
        process.thread.start()

    @staticmethod
    def _read(process: TracedProcess, keep: Callable[[bytes], None] | None) -> None:
        try:
            process.ring.drain(process.analysis, keep)
        except (NativeStreamError, OSError, MemoryError) as error:
            process.error = str(error) or type(error).__name__

    def _note_deaths(self) -> None:
        for process in self._processes:
            if process.end != "running":
                continue
            if process.pid_fd is not None:
                dead = bool(select.select([process.pid_fd], [], [], 0)[0])
            else:
                dead = not Path("/proc", str(process.pid)).exists()
            if dead:
                process.ring.writer_is_gone()
            if process.thread is not None and not process.thread.is_alive() and dead:
                process.end = "exited" if process.analysis.ended else "killed"

    def _should_kill(self, root: subprocess.Popen[bytes], alive: list[int]) -> bool:
        """Pass on what this session was asked; return whether patience has run out."""
        interrupts = self._interrupts
        fresh = interrupts.received[interrupts.handled :]
        interrupts.handled += len(fresh)
        for number in fresh:
            if self._killed_at is not None:
                return True  # asked twice
            self._killed_at = time.monotonic() + _GRACE_SECONDS
            if number == signal.SIGINT and _terminal_signals_us():
                continue
            for pid in {root.pid, *alive}:
                _send(pid, number)
        return self._killed_at is not None and time.monotonic() > self._killed_at

    def _kill_everything(self, root: subprocess.Popen[bytes] | None) -> None:
        pids = {p.pid for p in self._processes if p.end == "running"}
        if root is not None and root.poll() is None:
            pids.add(root.pid)
        for pid in list(pids):
            pids.update(_descendants(pid))
        for pid in pids:
            _send(pid, signal.SIGKILL)
        if root is not None:
            root.wait()

    def _outcome(self, folder: Path, status: int) -> Outcome:
        errors = [p.error for p in self._processes if p.error is not None]
        exit_code = status if status >= 0 else None
        ended_by = None if status >= 0 else signal_name(-status)
        explanation = explain(folder)
        if errors:
            return Outcome("lost", exit_code, ended_by, f"the stream broke off: {errors[0]}")
        if not self._processes:
            raise TracerError(
                explanation or "the tracer ended before the program started: run `sgxlens doctor`"
            )
        if self._interrupts.received:
            name = signal_name(self._interrupts.received[0])
            return Outcome("interrupted", exit_code, ended_by, f"ended by the user ({name})")
        if ended_by is not None:
            return Outcome("signalled", None, ended_by, explanation or _of_signal(-status))
        return Outcome("exited", exit_code, None, explanation)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _of_signal(number: int) -> str:
    if number == signal.SIGKILL:
        return "killed from outside, as the kernel does when memory runs out"
    return f"ended by {signal_name(number)}"
