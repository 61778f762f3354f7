# SPDX-License-Identifier: Apache-2.0
"""Runs a program under the tracer and feeds its streams to the native core.

Each traced process announces the ring that it writes in the session's folder. A session ends when
every recorded process has ended.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from sgxlens._native import Analysis, NativeStreamError, Ring, wait_for_its_turn
from sgxlens.errors import TracerError
from sgxlens.recording.environment import inherited_environment, session_root, tracer_command
from sgxlens.recording.session_folder import SessionFolder
from sgxlens.recording.syscalls import signal_name
from sgxlens.recording.tracer_log import Explanation, explain

_POLL_SECONDS = 0.05
# A program that was asked to end gets this long before it is killed; it is slow under the tracer.
_GRACE_SECONDS = 30.0
# A terminal sends these to all processes of its foreground group by itself.
_TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGQUIT)


#: Of one line in so many it may be recorded which bytes are used; 0: of none.
LINE_USE_INTERVALS = (0, 1, 2, 4, 8, 16, 32, 64)
#: All accesses to these lines are followed; that costs a few percent of the analysis' time.
DEFAULT_LINE_USE_INTERVAL = 64


@dataclass(frozen=True)
class TracerOptions:
    """How a program is traced.

    ``isa`` is the instruction set shown to it (sse, avx, avx2); ``sampling_rate`` the share of
    blocks followed, 1.0 for exact results. ``attribute``: whether accesses are attributed to
    contexts and regions, which needs all blocks; ``split_at_clock_reads``: whether the program's
    clock reads may be boundaries of operators. ``line_use_interval``: of one line in so many it is
    recorded which bytes are used, where accesses are attributed; one of `LINE_USE_INTERVALS`.
    """

    isa: str = "avx"
    follow_children: bool = False
    start_at_mark: str | None = None
    sampling_rate: float = 1.0
    attribute: bool = True
    split_at_clock_reads: bool = False
    line_use_interval: int = DEFAULT_LINE_USE_INTERVAL

    def new_analysis(self) -> Analysis:
        """An analysis for one process."""
        return Analysis(
            self.sampling_rate,
            attribute=self.attribute,
            split_at_clock_reads=self.split_at_clock_reads,
            line_use_interval=self.line_use_interval,
        )


@dataclass(frozen=True)
class Progress:
    """What a session is doing at one moment, for a display."""

    elapsed_seconds: float
    line_access_count: int
    phase: str
    process_count: int
    waiting_for_children: bool
    is_ending: bool = False
    """The program was asked to end; asked again, it is killed."""
    doing: str = ""
    """What is done instead of recording; empty: the program is recorded."""


class KeepAccesses(Protocol):
    """Where the raw stream of each process goes, if it is kept."""

    def open(self, process: int) -> Callable[[bytes], None]:
        """Return what takes the chunks of that process."""


@dataclass
class TracedProcess:
    """One process image and the stream it writes; ``ring`` is None once that is read."""

    ring: Ring | None
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


@dataclass
class Signals:
    """Signals that asked this process to end."""

    received: list[int] = field(default_factory=list)
    handled: int = 0

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Remember a signal; this is its handler."""
        self.received.append(number)


@contextmanager
def catching_signals() -> Iterator[Signals]:
    """Collect the signals that end a program instead of dying of them."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # What is ignored here (under nohup, say) the program ignores too, as it would alone.
        if signal.getsignal(number) is not signal.SIG_IGN:
            previous[number] = signal.signal(number, signals.note)
    try:
        yield signals
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
        "--max-threads=5000",  # 500 by itself; each costs 7 KB
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
        signals: Signals | None = None,
    ) -> None:
        self._command = list(command)
        self._options = options
        self._environment = inherited_environment() if environment is None else dict(environment)
        self._keep = keep
        self._on_progress = on_progress
        self._processes: list[TracedProcess] = []
        self._signals = signals or Signals()
        self._deadline: float | None = None
        self._is_killing = False

    def run(self) -> SessionResult:
        """Run the program to its end, whatever that is.

        Raises TracerError where the tracer cannot be started, KeyboardInterrupt where a signal
        came before there was anything to record.
        """
        with SessionFolder(session_root()) as folder:
            return self._run_in(folder)

    def _run_in(self, folder: SessionFolder) -> SessionResult:
        start_ns = time.monotonic_ns()
        root: subprocess.Popen[bytes] | None = None
        try:
            root = subprocess.Popen(
                [*tracer_arguments(self._options, folder.path), *self._command],
                env=self._environment,
                close_fds=False,  # it gets what it would get alone; ours close themselves
            )
            self._attend(folder, root, start_ns)
            status = root.wait()
        except BaseException:
            self._kill_everything(root)
            raise
        finally:
            for process in self._processes:
                if process.ring is not None:
                    process.ring.writer_is_gone()
            for process in self._processes:
                _release(process)
        for process in self._processes:
            process.analysis.finish()
        elapsed_seconds = (time.monotonic_ns() - start_ns) / 1e9
        return SessionResult(
            self._processes,
            self._outcome(explain(folder.path), root.pid, status),
            elapsed_seconds,
        )

    def _attend(self, folder: SessionFolder, root: subprocess.Popen[bytes], start_ns: int) -> None:
        """Take up streams as they are announced, until every process has ended."""
        while True:
            ended = root.poll() is not None
            may_announce = folder.has_tracers()
            for ring_path, pid in folder.announced():
                self._take_up(ring_path, pid)
            self._note_deaths()
            alive = [p for p in self._processes if p.end == "running"]
            if ended and not alive and not may_announce:
                return
            self._pass_interrupts_on(root, alive)
            if any(p.error is not None for p in alive) or self._patience_has_run_out():
                self._is_killing = True
            if self._is_killing:
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
                        is_ending=self._deadline is not None,
                    )
                )
            folder.wait(_POLL_SECONDS)

    def _take_up(self, ring_path: Path, pid: int) -> None:
        """Start to read a ring that was announced."""
        for process in self._processes:
            if process.pid == pid and process.end == "running":
                # The same process under a new image: the former one writes no more.
                process.end = "replaced"
                if process.ring is not None:
                    process.ring.writer_is_gone()
        ring = Ring(str(ring_path))
        ring_path.unlink()  # mapped on both sides: it goes with the processes, in any case
        process = TracedProcess(ring, self._options.new_analysis(), pid)
        try:
            process.pid_fd = os.pidfd_open(pid)
        except OSError:  # gone already, or an old kernel: then its /proc entry is looked at
            process.pid_fd = None
        keep = None if self._keep is None else self._keep.open(len(self._processes))
        process.thread = threading.Thread(
            target=self._read, args=(ring, process, keep), name=f"sgxlens-reader-{pid}", daemon=True
        )
        self._processes.append(process)
        process.thread.start()

    @staticmethod
    def _read(ring: Ring, process: TracedProcess, keep: Callable[[bytes], None] | None) -> None:
        wait_for_its_turn()
        try:
            ring.drain(process.analysis, keep)
        except (NativeStreamError, OSError, MemoryError) as error:
            process.error = _describe(error)

    def _note_deaths(self) -> None:
        for process in self._processes:
            if process.end != "running":
                continue
            if process.pid_fd is not None:
                dead = bool(select.select([process.pid_fd], [], [], 0)[0])
            else:
                dead = not Path("/proc", str(process.pid)).exists()
            if dead and process.ring is not None:
                process.ring.writer_is_gone()
            if process.thread is not None and not process.thread.is_alive() and dead:
                process.end = "exited" if process.analysis.ended else "killed"
                _release(process)

    def _pass_interrupts_on(
        self, root: subprocess.Popen[bytes], alive: list[TracedProcess]
    ) -> None:
        """Send the program what this process was sent; at the second time, make an end."""
        fresh = self._signals.received[self._signals.handled :]
        self._signals.handled += len(fresh)
        for number in fresh:
            if self._deadline is not None:
                self._is_killing = True
            else:
                self._deadline = time.monotonic() + _GRACE_SECONDS
                reached = number in _TERMINAL_SIGNALS and _terminal_signals_us()
                pids = {p.pid for p in alive}
                if root.poll() is None:
                    pids.add(root.pid)
                for pid in pids:
                    if not (reached and _is_in_our_group(pid)):
                        _send(pid, number)

    def _patience_has_run_out(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

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

    def _outcome(self, explanation: Explanation, root_pid: int, status: int) -> Outcome:
        """Judge how the program ended by its wait status, its streams and the tracer's log."""
        errors = [p.error for p in self._processes if p.error is not None]
        exit_code = status if status >= 0 else None
        ended_by = None if status >= 0 else signal_name(-status)
        if errors:
            return Outcome("lost", exit_code, ended_by, f"the stream broke off: {errors[0]}")
        if self._signals.received:
            if not self._processes:
                raise KeyboardInterrupt
            name = signal_name(self._signals.received[0])
            how = "ended by" if ended_by is not None else "exited after"
            return Outcome("interrupted", exit_code, ended_by, f"{how} {name} from the user")
        if not self._processes:
            raise TracerError(
                explanation.failure
                or f"the tracer ended before the program started ({ended_by or exit_code}):"
                " run `sgxlens doctor`"
            )
        if ended_by is not None:
            message = explanation.crash if status == -signal.SIGILL else ""
            return Outcome("signalled", None, ended_by, message or _of_signal(-status))
        last = [p for p in self._processes if p.pid == root_pid][-1]
        if last.end == "killed":  # not by a signal, and yet it wrote no end: the tracer ended it
            why = explanation.failure or "run `sgxlens doctor`"
            return Outcome("lost", exit_code, None, f"the tracer ended the program: {why}")
        return Outcome("exited", exit_code, None, explanation.omission)


def _release(process: TracedProcess) -> None:
    """Give back what a process that ended holds: 8 MiB of shared memory, for one."""
    if process.thread is not None:
        process.thread.join()
    process.ring = None
    if process.pid_fd is not None:
        os.close(process.pid_fd)
        process.pid_fd = None


def _describe(error: Exception) -> str:
    """Say what an error means that came while a stream was read."""
    if isinstance(error, OSError) and error.strerror:
        return f"the accesses cannot be kept: {error.strerror}"
    if isinstance(error, MemoryError):
        return "the recorder ran out of memory"
    return str(error) or type(error).__name__


def _is_in_our_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return True


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _of_signal(number: int) -> str:
    if number == signal.SIGKILL:
        return "killed from outside, as the kernel does when memory runs out"
    return f"ended by {signal_name(number)}"
