# SPDX-License-Identifier: Apache-2.0
"""Records a target: runs it in a session and writes what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

import sgxlens
from sgxlens._native import Analysis, NativeStreamError
from sgxlens.errors import RecordingError, StreamError, UsageError
from sgxlens.recording.accesses import STREAM_VERSION, KeptStreams, read_chunks
from sgxlens.recording.environment import host_info, valgrind_version, with_variables
from sgxlens.recording.metadata import ProcessInfo, RecordingInfo
from sgxlens.recording.native_times.measure import TimedTarget
from sgxlens.recording.native_times.recorded import NativeRequest, NativeTimer
from sgxlens.recording.operators import (
    ProcessEvents,
    Profile,
    ProfileError,
    operators_of,
)
from sgxlens.recording.operators.files import ProfileFiles
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.recording.schemas import TABLES
from sgxlens.recording.session import (
    DEFAULT_LINE_USE_INTERVAL,
    LINE_USE_INTERVALS,
    Progress,
    Session,
    SessionResult,
    TracedProcess,
    TracerOptions,
    catching_signals,
)
from sgxlens.recording.tables import annotations_of, write_tables
from sgxlens.recording.writer import RecordingWriter

ISAS = ("sse", "avx", "avx2")


class Target(TimedTarget, Protocol):
    """What is recorded: checked, and ready to run."""

    def command(self) -> list[str]:
        """Return the command line to run."""

    def info(self) -> dict[str, Any]:
        """Return the field ``target`` of ``recording.json``."""

    def close(self) -> None:
        """Remove what was made for the run."""


@runtime_checkable
class ProfilingTarget(Target, Protocol):
    """A target whose run leaves a profile of ONNX Runtime."""

    def operator_profile(self) -> Profile:
        """Return the profile, after the run.

        Raises:
            ProfileError: there is none, or it cannot be used.
        """


def record_target(
    target: Target,
    output: str | os.PathLike[str],
    options: TracerOptions,
    *,
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    keep_accesses: bool = False,
    force: bool = False,
    onnx_profile: str | os.PathLike[str] | None = None,
    native: NativeRequest | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Recording:
    """Run `target` under the tracer and write the recording `output`.

    The recording says how the program ended, however that was. Nothing is left at `output` when
    this raises. `onnx_profile` is the path, or how it starts, of profiles of ONNX Runtime that the
    program writes itself. `variables` are set in its environment, and kept. `native` says which
    native times it gets; None: none.

    Raises:
        TracerError: the tracer cannot run here.
        RecordingError: the recording cannot be written.
        UsageError: an option makes no sense.
    """
    if options.isa not in ISAS:
        raise UsageError(f"no instruction set {options.isa!r}: choose one of {', '.join(ISAS)}")
    _check_sampling_rate(options.sampling_rate)
    _check_line_use_interval(options.line_use_interval)
    if variables:
        environment = with_variables(environment, variables)
    if onnx_profile is not None and isinstance(target, ProfilingTarget):
        raise UsageError("--onnx-profile: a model is profiled anyway; leave it out")
    profile_files = None if onnx_profile is None else ProfileFiles(Path(onnx_profile))
    if onnx_profile is not None or isinstance(target, ProfilingTarget):
        # ONNX Runtime reads the clock where an operator starts and where it ends.
        options = replace(options, split_at_clock_reads=True)
    # A signal that asks this process to end is passed on to the program; what was recorded until
    # then is still written.
    with RecordingWriter(output, force=force) as writer, catching_signals() as signals:
        kept = KeptStreams(writer.accesses_path) if keep_accesses else None
        created = datetime.now(timezone.utc)
        timer = None
        if native is not None:
            timer = NativeTimer(
                native, target, environment=environment, signals=signals, on_progress=on_progress
            )
        session = Session(
            target.command(),
            options,
            environment=environment,
            keep=kept,
            on_progress=on_progress,
            signals=signals,
        )
        try:
            result = session.run()
        finally:
            if kept is not None:
                kept.close()
        analyses = [process.analysis for process in result.processes]
        profiles, notes = _profiles(target, profile_files)
        operators = operators_of(_events(result.processes), profiles)
        write_tables(writer, analyses, operators.columns)
        outcome = result.outcome
        notes += operators.notes
        native_info = None
        if timer is not None:
            native_info, native_notes = timer.add_times(writer, result, options)
            notes += native_notes
        path = writer.finish(
            {
                "sgxlens_version": sgxlens.__version__,
                "created": created,
                "command": target.command(),
                "target": described(target, variables),
                "host": host_info(),
                "tracer": {
                    "isa": options.isa,
                    "stream_version": STREAM_VERSION,
                    "valgrind": valgrind_version(),
                },
                "settings": {
                    "follow_children": options.follow_children,
                    "start_at_mark": options.start_at_mark,
                    "sampling_rate": options.sampling_rate,
                    "keep_accesses": keep_accesses,
                    **_attribution_settings(analyses, options.split_at_clock_reads),
                },
                "outcome": {
                    "status": outcome.status,
                    "exit_code": outcome.exit_code,
                    "signal": outcome.signal,
                    "message": outcome.message,
                },
                "elapsed_seconds": result.elapsed_seconds,
                "processes": _processes(result),
                "kept_streams": {} if kept is None else kept.infos(),
                "notes": [*_notes(analyses, options.start_at_mark), *notes],
                "native": native_info,
            }
        )
    return open_recording(path)


def described(target: TimedTarget, variables: Mapping[str, str] | None) -> dict[str, Any]:
    """The field ``target`` of ``recording.json``, with the variables that were set."""
    return {**target.info(), **({"environment": dict(variables)} if variables else {})}


def _profiles(target: Target, files: ProfileFiles | None) -> tuple[list[Profile], list[str]]:
    """The profiles that the run left, and why there are no more."""
    if files is not None:
        return files.read()
    if not isinstance(target, ProfilingTarget):
        return [], []
    try:
        return [target.operator_profile()], []
    except ProfileError as error:
        return [], [str(error)]


def _events(processes: Sequence[TracedProcess]) -> list[ProcessEvents]:
    return [
        ProcessEvents(
            pid=process.pid,
            clocks=process.analysis.clock_reads(),
            phases=process.analysis.phases(),
            threads=process.analysis.threads(),
            annotations={
                name: values.tolist() for name, values in annotations_of(process.analysis).items()
            },
        )
        for process in processes
    ]


def _check_line_use_interval(interval: int) -> None:
    if interval not in LINE_USE_INTERVALS:
        allowed = ", ".join(map(str, LINE_USE_INTERVALS[1:-1]))
        raise UsageError(
            f"the bytes of one line in {interval} cannot be followed: give {allowed} or"
            f" {LINE_USE_INTERVALS[-1]}, or 0 for none"
        )


def _check_sampling_rate(sampling_rate: float) -> None:
    if not 0 < sampling_rate <= 1:
        raise UsageError(f"the sampling rate must be above 0 and at most 1, not {sampling_rate}")


def _processes(result: SessionResult) -> list[ProcessInfo]:
    return [
        _process_info(number, traced.analysis, traced.end, traced.pid)
        for number, traced in enumerate(result.processes)
    ]


def _process_info(number: int, analysis: Analysis, end: str, pid: int) -> ProcessInfo:
    return ProcessInfo.model_validate(
        {
            "process": number,
            "pid": pid,
            "parent_pid": analysis.parent_pid,
            "program": analysis.program.decode("utf-8", "backslashreplace"),
            "started": "fork" if analysis.was_forked else "exec",
            "end": end,
            "exit_code": analysis.exit_status if analysis.ended else None,
            "instruction_count": analysis.instruction_count,
            "line_access_count": analysis.line_access_count,
            "page_access_count": analysis.page_access_count,
        }
    )


def _attribution_settings(analyses: Sequence[Analysis], split: bool) -> dict[str, Any]:
    counts = {analysis.visit_page_count for analysis in analyses if analysis.is_attributed}
    intervals = {analysis.line_use_interval for analysis in analyses}
    return {
        "attribute": bool(counts),
        "split_at_clock_reads": split,
        "visit_page_count": next(iter(counts), None),
        "line_use_interval": max(intervals, default=0),
    }


def _notes(analyses: Sequence[Analysis], start_mark: str | None) -> list[str]:
    """What a reader must know beyond the numbers."""
    notes = []
    if start_mark is not None and not any(
        start_mark.encode() in analysis.phases()["name"] for analysis in analyses
    ):
        notes.append(f"the mark {start_mark!r} never came, so that no access was recorded")
    calls = sum(analysis.dropped_system_calls for analysis in analyses)
    if calls:
        notes.append(f"{calls:,} further system calls are not in the table of system calls")
    spans = sum(analysis.dropped_span_count for analysis in analyses)
    if spans:
        notes.append(f"{spans:,} further boundaries of operators started no span of their own")
    marks = sum(analysis.dropped_marks for analysis in analyses)
    if marks:
        notes.append(f"{marks:,} further marks started no phase of their own")
    annotations = sum(analysis.dropped_annotations for analysis in analyses)
    if annotations:
        notes.append(f"{annotations:,} further annotations of the program are not kept")
    return notes


def replay(
    source: Recording,
    output: str | os.PathLike[str],
    *,
    sampling_rate: float = 1.0,
    attribute: bool = True,
    line_use_interval: int | None = None,
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Analyse the kept accesses of `source` again and write the result as a new recording.

    With the settings of `source` the result is the same, bit for bit. `attribute`: whether accesses
    are attributed to contexts and regions (see `record`); `line_use_interval`: as there, None for
    that of `source`. `on_progress` is called with the process
    and its accesses so far.

    Raises:
        UsageError: `sampling_rate` or `line_use_interval` is not possible.
        RecordingError: `source` kept no accesses, or `output` cannot be written.
        StreamError: the kept accesses are damaged.
    """
    if not source.metadata.settings.keep_accesses:
        raise RecordingError(f"{source.path} kept no accesses: record it with --keep-accesses")
    _check_sampling_rate(sampling_rate)
    metadata = source.metadata
    if line_use_interval is None:
        line_use_interval = metadata.settings.line_use_interval
    if line_use_interval is None:
        line_use_interval = DEFAULT_LINE_USE_INTERVAL
    _check_line_use_interval(line_use_interval)
    with RecordingWriter(output, force=force) as writer:
        analyses = []
        for info in metadata.processes:
            analysis = Analysis(
                sampling_rate,
                attribute=attribute,
                split_at_clock_reads=metadata.settings.split_at_clock_reads,
                line_use_interval=line_use_interval,
            )
            path = source.accesses_path(info.process)
            try:
                for chunk in read_chunks(path):
                    analysis.feed(chunk)
                    if on_progress is not None:
                        on_progress(info.process, analysis.line_access_count)
            except NativeStreamError as error:
                raise StreamError(f"{path} is damaged: {error}") from error
            analysis.finish()
            analyses.append(analysis)
        write_tables(writer, analyses, _operators_of(source))
        if source.has_table("native_times"):
            table = source.table("native_times")
            writer.write_table("native_times", {n: table[n] for n in table.column_names})
        settings = metadata.settings.model_copy(
            update={
                "keep_accesses": False,
                "sampling_rate": sampling_rate,
                **_attribution_settings(analyses, metadata.settings.split_at_clock_reads),
            }
        )
        notes = _notes(analyses, settings.start_at_mark)
        replayed = RecordingInfo.model_validate(
            {
                **{name: getattr(metadata, name) for name in RecordingInfo.model_fields},
                "sgxlens_version": sgxlens.__version__,
                "settings": settings,
                "kept_streams": {},
                "notes": [*notes, *(note for note in metadata.notes if note not in notes)],
                "processes": [
                    _process_info(old.process, analysis, old.end, old.pid)
                    for old, analysis in zip(metadata.processes, analyses, strict=True)
                ],
            }
        )
        written = writer.finish(replayed)
    return open_recording(written)


def _operators_of(source: Recording) -> list[dict[str, Any]]:
    """The columns of the table `operators` of each process; what was found of it stays true."""
    table = source.table("operators") if source.has_table("operators") else None
    if table is None:
        table = TABLES["operators"].schema.empty_table()
    numbers = table["process"].to_numpy()
    return [
        {
            name: table[name].combine_chunks().filter(pa.array(numbers == info.process))
            for name in table.column_names
            if name != "process"
        }
        for info in source.metadata.processes
    ]
