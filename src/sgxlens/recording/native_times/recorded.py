# SPDX-License-Identifier: Apache-2.0
"""Times a program natively right after it was recorded."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from sgxlens.recording.environment import inherited_environment
from sgxlens.recording.native_times.keep import RecordedOperator, native_table
from sgxlens.recording.native_times.measure import (
    NativeSettings,
    NotTimed,
    TimedTarget,
    measure,
)
from sgxlens.recording.native_times.model import NativeTimes
from sgxlens.recording.native_times.summary import PhaseKey, numbered
from sgxlens.recording.session import Progress
from sgxlens.recording.syscalls import has_children, signal_number

if TYPE_CHECKING:
    from sgxlens._native import Analysis
    from sgxlens.recording.metadata import NativeInfo
    from sgxlens.recording.session import SessionResult, Signals, TracerOptions

# System calls that read from the descriptor that is their first argument.
_READS = (0, 17, 19, 45, 47, 275, 295, 326, 327)
# Natively a program is faster; this is for one that hangs because it is alone.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class NativeRequest:
    """Which native times a recording gets: measured ones, or those `given` by the user.

    Attributes:
        runs: how often the program is run.
        given: the times, where they are not measured.
        source: where the given ones are from.
    """

    runs: int
    given: NativeTimes | None = None
    source: str | None = None


class _Writer(Protocol):
    def write_table(self, name: str, columns: Mapping[str, Any]) -> None: ...

    def read_back(self, name: str) -> pa.Table | None: ...


class StandardInput:
    """This process's standard input as it is before the program runs, to be given again."""

    def __init__(self) -> None:
        self.offset: int | None = None
        self.is_stream = False
        try:
            mode = os.fstat(0).st_mode
            if stat.S_ISREG(mode):
                self.offset = os.lseek(0, 0, os.SEEK_CUR)
            self.is_stream = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        except OSError:  # it is closed
            pass

    def opener(self) -> Callable[[], IO[bytes]] | None:
        """What opens it anew at the place where it was; None: it cannot be."""
        offset = self.offset
        if offset is None:
            return None

        def open_again() -> IO[bytes]:
            file = open("/proc/self/fd/0", "rb", buffering=0)  # noqa: SIM115 - the caller does
            file.seek(offset)
            return file

        return open_again

    def obstacle(self, analyses: Sequence[Analysis], *, is_whole: bool) -> str:
        """Why the program cannot be run again with the same input; empty: it can.

        `is_whole`: the recording has all system calls of all processes.
        """
        if self.offset is not None:
            return ""
        calls = [analysis.system_calls() for analysis in analyses]
        if any(_reads_input(table) for table in calls):
            return "it read its standard input, which cannot be read again"
        if self.is_stream and not is_whole and (not calls or any(map(has_children, calls))):
            return "its standard input, a pipe, may have been read, and cannot be read again"
        return ""


def _reads_input(calls: Mapping[str, Any]) -> bool:
    reads = np.isin(calls["number"], _READS) & (calls["arg0"] == 0)
    return bool(np.any(reads & (calls["returned"] != 0) & (calls["result"] > 0)))


class NativeTimer:
    """Gives a recording its native times. Made before the program runs.

    Args:
        request: which times.
        target: what is recorded.
        environment: of the program; None: as it would get it from this process.
        signals: that this process got; a further one ends the native runs.
        on_progress: called a few times a second.
    """

    def __init__(
        self,
        request: NativeRequest,
        target: TimedTarget,
        *,
        environment: Mapping[str, str] | None,
        signals: Signals,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._request = request
        self._target = target
        self._environment = environment
        self._signals = signals
        self._on_progress = on_progress
        self._stdin = StandardInput()

    def add_times(
        self, writer: _Writer, result: SessionResult, options: TracerOptions
    ) -> tuple[NativeInfo | None, list[str]]:
        """Write the table of native times; return the field ``native`` and notes.

        Whatever fails while the program is timed is a note: the recording is good without. The
        other tables must have been written to `writer`.
        """
        try:
            times = self._request.given or self._measured(result, options)
        except NotTimed as error:
            return None, [f"no native times: {error}"]
        notes = list(times.notes)
        threads = self._target.info().get("threads")
        if None not in (threads, times.threads) and threads != times.threads:
            notes.append(f"native times are of {times.threads} threads, not of {threads} as here")
        remarks = write_native(writer, times, [process.pid for process in result.processes])
        return times.info(self._request.source), notes + remarks

    def _measured(self, result: SessionResult, options: TracerOptions) -> NativeTimes:
        outcome = result.outcome
        if outcome.status not in ("exited", "signalled"):
            raise NotTimed("the recorded program did not end by itself")
        obstacle = self._stdin.obstacle(
            [process.analysis for process in result.processes],
            is_whole=options.follow_children and options.start_at_mark is None,
        )
        if obstacle:
            raise NotTimed(obstacle)
        signal_count = len(self._signals.received)
        status = outcome.exit_code
        if outcome.signal is not None:
            status = -signal_number(outcome.signal)
        settings = NativeSettings(
            environment=inherited_environment() if self._environment is None else self._environment,
            runs=self._request.runs,
            stdin=self._stdin.opener(),
            limit_seconds=result.elapsed_seconds + _PATIENCE_SECONDS,
            expected_status=status,
            is_cancelled=lambda: len(self._signals.received) > signal_count,
            on_progress=progress_shower(self._on_progress, result.elapsed_seconds),
        )
        return measure(self._target, settings)


def write_native(writer: _Writer, times: NativeTimes, pids: Sequence[int]) -> list[str]:
    """Write the table of native times; return notes on what is not in it.

    Args:
        writer: has the other tables.
        times: the times.
        pids: of the recorded processes.
    """
    # A program that replaces itself by another (exec) is another process in a recording.
    images = [number for number, pid in enumerate(pids) if pid == pids[0]]
    phases, operators = _recorded(writer, images)
    columns, remarks = native_table(times, phases, operators, has_start=len(images) == 1)
    writer.write_table("native_times", columns)
    return remarks


def progress_shower(
    on_progress: Callable[[Progress], None] | None, elapsed_seconds: float = 0.0
) -> Callable[[str], None]:
    """What tells `on_progress` what is being done; `elapsed_seconds` passed before."""
    start_ns = time.monotonic_ns()

    def show(doing: str) -> None:
        if on_progress is not None:
            on_progress(
                Progress(
                    elapsed_seconds=elapsed_seconds + (time.monotonic_ns() - start_ns) / 1e9,
                    line_access_count=0,
                    phase="",
                    process_count=1,
                    waiting_for_children=False,
                    doing=doing,
                )
            )

    return show


def _recorded(
    writer: _Writer, processes: Sequence[int]
) -> tuple[list[str], dict[PhaseKey, list[RecordedOperator]]]:
    """Names of the phases of `processes`, and their operators, as they were written."""
    table = writer.read_back("phases")
    rows = [] if table is None else table.select(["process", "phase", "name"]).to_pylist()
    rows = [row for row in rows if row["process"] in processes]
    rows.sort(key=lambda row: (row["process"], row["phase"]))
    names = [row["name"] for row in rows]
    keys = {
        (row["process"], row["phase"]): key for row, key in zip(rows, numbered(names), strict=True)
    }
    operators: dict[PhaseKey, list[RecordedOperator]] = {}
    table = writer.read_back("operators")
    columns = ["process", "phase", "index", "name", "type"]
    for row in [] if table is None else table.select(columns).to_pylist():
        key = keys.get((row["process"], row["phase"]))
        if key is not None:
            operators.setdefault(key, []).append((row["index"], row["name"], row["type"]))
    for found in operators.values():
        found.sort()
    return names, operators
