# SPDX-License-Identifier: Apache-2.0
"""Runs a target natively, several times, and takes its times."""

from __future__ import annotations

import bisect
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import sgxlens
from sgxlens.recording.environment import host_info
from sgxlens.recording.native_times.marks import VARIABLE, read_marks
from sgxlens.recording.native_times.model import (
    NativeRun,
    NativeTimes,
    OperatorTime,
    PhaseTime,
)
from sgxlens.recording.operators import Profile, ProfileError
from sgxlens.recording.syscalls import signal_name

DEFAULT_RUNS = 3
#: The phase of what comes before the first mark, as in a recording.
START_PHASE = "start"

_POLL_SECONDS = 0.1
# From here on a wait for a processor distorts the times more than they spread by themselves.
_BUSY_SHARE = 0.05
# Kills the process group $0 when the pipe that is its input has no writer any more: this process.
_GUARDIAN = 'read -r _; kill -s KILL -- "-$0"'


class NotTimed(Exception):  # noqa: N818 -- no error: the recording is good without
    """There are no native times; the message says why, for a note."""


class TimedTarget(Protocol):
    """What is run natively."""

    def native_command(self, *, profiled: bool = False) -> list[str] | None:
        """Return the command line for the native run; None: there is none of that kind.

        `profiled`: a run that times its operators.
        """

    def info(self) -> dict[str, Any]:
        """Return the field ``target`` of ``recording.json``."""


@runtime_checkable
class ProfiledTarget(TimedTarget, Protocol):
    """A target whose profiled runs leave a profile of ONNX Runtime."""

    def operator_profile(self) -> Profile:
        """Return the profile of the last profiled run; ProfileError: there is none."""


@runtime_checkable
class SelfTimingTarget(TimedTarget, Protocol):
    """A target whose profiled native runs time their operators by themselves."""

    def native_profile(self) -> Profile:
        """Return the operators of the last profiled native run; ProfileError: there are none."""


@dataclass(frozen=True)
class NativeSettings:
    """How to run natively.

    Attributes:
        runs: how many times.
        profiled_runs: how many times more with operators timed, where they can be; None: as many.
        environment: of the program.
        stdin: opens what the program gets as its standard input; None: nothing.
        limit_seconds: of one run; longer ones are given up. None: no limit.
        expected_status: how the program ended before, as ``Popen.returncode`` has it; None: it
            must succeed.
        is_cancelled: asked ten times a second whether to give up.
        on_progress: called ten times a second, with what is being done.
    """

    environment: Mapping[str, str]
    runs: int = DEFAULT_RUNS
    profiled_runs: int | None = None
    stdin: Callable[[], IO[bytes]] | None = None
    limit_seconds: float | None = None
    expected_status: int | None = None
    is_cancelled: Callable[[], bool] = lambda: False
    on_progress: Callable[[str], None] = lambda _: None


def measure(target: TimedTarget, settings: NativeSettings) -> NativeTimes:
    """Run `target` natively and return the times of all runs.

    The program's output goes nowhere. Phases are timed in runs of their own, without whatever
    times operators.

    Raises:
        NotTimed: a run failed, ended otherwise than before, took too long or was cancelled.
    """
    plain = target.native_command()
    if plain is None:
        raise NotTimed("this kind of target cannot be run natively")
    profiled = target.native_command(profiled=True)
    plan = [(plain, False)] * settings.runs
    if profiled is not None:
        again = settings.runs if settings.profiled_runs is None else settings.profiled_runs
        plan += [(profiled, True)] * again
    runs: list[NativeRun] = []
    notes: list[str] = []
    waited_shares: list[float] = []
    created = datetime.now(timezone.utc)
    with tempfile.TemporaryDirectory(prefix="sgxlens-") as folder:
        marks = Path(folder, "marks")
        for number, (command, is_profiled) in enumerate(plan):
            doing = f"native run {number + 1} of {len(plan)}"
            run = _run(command, marks, settings, doing)
            operators: list[list[OperatorTime]] = [[] for _ in run.names]
            if is_profiled and isinstance(target, (ProfiledTarget, SelfTimingTarget)):
                try:
                    operators = _operators(run, _profile_of(target))
                except ProfileError as error:
                    notes.append(f"no native times of operators in run {number}: {error}")
            runs.append(run.times(operators, is_profiled=is_profiled))
            waited_shares.append(run.waited_share)
    waited_share = statistics.median(waited_shares)
    if waited_share > _BUSY_SHARE:
        notes.append(
            f"native times are too long: the machine was busy, and the program waited for a"
            f" processor in {waited_share:.0%} of its time"
        )
    info = target.info()
    return NativeTimes(
        sgxlens_version=sgxlens.__version__,
        created=created,
        host=host_info(),
        command=plain,
        target=info,
        threads=info.get("threads"),
        runs=runs,
        notes=notes,
    )


@dataclass(frozen=True)
class _Run:
    """One run; times are nanoseconds of CLOCK_MONOTONIC. There is one more time than names."""

    names: list[str]
    times_ns: list[int]
    offset_ns: int  # from CLOCK_MONOTONIC to CLOCK_REALTIME
    waited_ns: int  # for a processor

    @property
    def waited_share(self) -> float:
        """Share of the run in which its first thread waited for a processor."""
        return self.waited_ns / max(self.times_ns[-1] - self.times_ns[0], 1)

    def times(self, operators: list[list[OperatorTime]], *, is_profiled: bool) -> NativeRun:
        """Return how long what took; `operators` of each phase."""
        return NativeRun(
            seconds=(self.times_ns[-1] - self.times_ns[0]) / 1e9,
            profiled=is_profiled,
            phases=[
                PhaseTime(name=name, seconds=max(end - start, 0) / 1e9, operators=of_phase)
                for name, start, end, of_phase in zip(
                    self.names, self.times_ns, self.times_ns[1:], operators, strict=False
                )
            ],
        )


def _profile_of(target: ProfiledTarget | SelfTimingTarget) -> Profile:
    if isinstance(target, SelfTimingTarget):
        return target.native_profile()
    return target.operator_profile()


def _operators(run: _Run, profile: Profile) -> list[list[OperatorTime]]:
    """The operators of each phase in the order of their starts, by the profile of the run.

    Raises:
        ProfileError: the profile does not say when it began.
    """
    if profile.start_ns is None:
        raise ProfileError(f"the profile {profile.path} does not say when it began")
    # The profile's clock is CLOCK_REALTIME.
    began_ns = profile.start_ns - run.offset_ns
    found: list[list[OperatorTime]] = [[] for _ in run.names]
    for event in sorted(profile.events, key=lambda e: (e.start_us, -e.duration_us)):
        if event.node is not None:
            phase = bisect.bisect(run.times_ns, began_ns + event.start_us * 1000) - 1
            if 0 <= phase < len(found):
                found[phase].append(
                    OperatorTime(
                        name=event.node.name,
                        type=event.node.type,
                        seconds=max(event.duration_us, 0) / 1e6,
                    )
                )
    return found


def _realtime_offset_ns() -> int:
    """CLOCK_REALTIME less CLOCK_MONOTONIC.

    A process that is taken off its processor between the two reads would be wrong by that long,
    which is longer than an operator. So the reads that lie closest together tell.
    """
    reads = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(16)]
    before, realtime, after = min(reads, key=lambda read: read[2] - read[0])
    return realtime - (before + after) // 2


def _run(command: list[str], marks: Path, settings: NativeSettings, doing: str) -> _Run:
    marks.write_bytes(b"")
    try:
        stdin = settings.stdin() if settings.stdin is not None else None
    except OSError as error:
        raise NotTimed(f"its standard input cannot be read again: {error.strerror}") from error
    try:
        start_ns = time.monotonic_ns()
        try:
            process = subprocess.Popen(
                command,
                env={**settings.environment, VARIABLE: str(marks)},
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                close_fds=False,  # as under the tracer
            )
        except OSError as error:
            raise NotTimed(f"it cannot be run natively: {error.strerror}") from error
    finally:
        if stdin is not None:
            stdin.close()
    with _guarded(process):
        end_ns = _wait(process, settings, start_ns, doing)
        waited_ns = _waited_ns(process.pid)
    _check_status(process.returncode, settings.expected_status)
    found = read_marks(marks, process.pid)
    return _Run(
        [START_PHASE, *(name for _, name in found)],
        [start_ns, *(time_ns for time_ns, _ in found), end_ns],
        _realtime_offset_ns(),
        waited_ns,
    )


@contextmanager
def _guarded(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, also to this process: nothing of the group of `process` remains."""
    reader, writer = os.pipe()
    guardian = None
    try:
        guardian = subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, str(process.pid)],
            env={},
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        yield
    finally:
        # The group's number is taken until its leader is reaped: nobody else is hit.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        if guardian is not None:
            guardian.kill()
            guardian.wait()
        process.wait()
        os.close(reader)
        os.close(writer)


def _wait(
    process: subprocess.Popen[bytes], settings: NativeSettings, start_ns: int, doing: str
) -> int:
    """Wait for the end, without reaping; return its time (CLOCK_MONOTONIC)."""
    ends: list[int] = []

    def wait() -> None:
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # somebody ignores SIGCHLD: then it has no zombie
            pass
        ends.append(time.monotonic_ns())

    thread = threading.Thread(target=wait, name="sgxlens-native-run", daemon=True)
    thread.start()
    while True:
        thread.join(_POLL_SECONDS)
        if ends:
            return ends[0]
        if settings.is_cancelled():
            raise NotTimed("the native runs were interrupted")
        elapsed = (time.monotonic_ns() - start_ns) / 1e9
        if settings.limit_seconds is not None and elapsed > settings.limit_seconds:
            raise NotTimed(f"natively it had not ended after {elapsed:.0f} s, so that it was ended")
        settings.on_progress(doing)


def _waited_ns(pid: int) -> int:
    """How long the first thread of a process was ready to run, and others ran; 0: not known."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _check_status(status: int, expected: int | None) -> None:
    if status == (expected or 0):
        return
    text = f"exited with status {status}" if status >= 0 else f"was ended by {signal_name(-status)}"
    raise NotTimed(
        f"natively the program {text}"
        + ("" if expected is None else ", unlike when it was recorded")
    )
