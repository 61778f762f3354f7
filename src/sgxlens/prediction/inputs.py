# SPDX-License-Identifier: Apache-2.0
"""What a prediction is asked for, checked before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.reader import Phase, Recording, default_phase, open_recording

if TYPE_CHECKING:
    from sgxlens.prediction.model import NativeBasis
    from sgxlens.prediction.native import NativeTimes

#: Suffixes of files that hold models or programs: what users give in place of a recording.
MODEL_SUFFIXES = (
    ".onnx",
    ".pt",
    ".pth",
    ".pb",
    ".tflite",
    ".gguf",
    ".safetensors",
    ".h5",
    ".keras",
)
_RECORDABLE = (".onnx", ".py")
#: A thread that makes less than this share of the accesses of the busiest one is not busy.
_BUSY_SHARE = 0.1


def opened(recording: Recording | str | os.PathLike[str]) -> Recording:
    """The recording, opened where it is a path.

    Raises:
        UsageError: it is a model or a script, which must be recorded first.
        RecordingError: there is no recording, it is damaged, or it has no page visits.
    """
    if not isinstance(recording, Recording):
        path = Path(recording)
        if path.suffix.lower() in (*MODEL_SUFFIXES, ".py") and not path.is_dir():
            raise UsageError(_record_first(path))
        recording = open_recording(path)
    if not recording.has_table("page_visits"):
        rate = recording.metadata.settings.sampling_rate
        why = "it is sampled" if rate < 1 else "it was made by an older sgxlens, or without them"
        raise RecordingError(
            f"{recording.path} has no page visits, from which paging is predicted: {why};"
            " record it again" + (" without --sampling-rate" if rate < 1 else "")
        )
    return recording


def _record_first(path: Path) -> str:
    name = path.name
    if path.suffix.lower() in _RECORDABLE:
        how = f"`sgxlens record {name} -o recording`, then `sgxlens predict recording`"
    else:
        how = "a program that runs it (`sgxlens record -o recording -- COMMAND`), then predict that"
    return (
        f"{path} is no recording: first record {how} (a model is not predicted from its file, nor"
        " from a smaller model's recording)"
    )


def chosen_phase(recording: Recording, phase: Phase | int | str | None) -> Phase:
    """The phase that is predicted as the steady inference; by default the last inference.

    Raises:
        UsageError: there is no such phase, it is not one phase, or nothing happens in it.
    """
    if isinstance(phase, Phase):
        found: tuple[Phase, ...] = (phase,)
    elif phase is not None:
        found = recording.select_phases(phase)
        # Of the processes that have it, the first one is what the others are children of.
        found = tuple(p for p in found if p.process == found[0].process)
    else:
        timed = [p for p in recording.phases if p.process in _timed_processes(recording)]
        found = (default_phase(timed),) if timed else ()
    if not found:
        raise RecordingError(f"{recording.path} has no phase: the program made no access")
    if len(found) > 1:
        indices = ", ".join(str(p.index) for p in found)
        raise UsageError(
            f"{len(found)} phases are called {phase!r}: give the index of one: {indices}"
        )
    if not found[0].line_access_count:
        raise UsageError(f"nothing to predict: phase {found[0].name!r} has no access")
    return found[0]


def _timed_processes(recording: Recording) -> list[int]:
    """The first process, and what it became by ``exec``: these have native times."""
    processes = recording.metadata.processes
    return [info.process for info in processes if info.pid == processes[0].pid]


def native_basis(recording: Recording, natives: NativeTimes, phase: Phase) -> NativeBasis:
    """The native time of `phase`.

    Raises:
        RecordingError: it has none; the message says what to do.
    """
    basis = natives.of_phase(phase)
    if basis is not None:
        return basis
    if recording.native is None:
        reasons = [n for n in recording.metadata.notes if n.startswith("no native times")]
        why = f" ({reasons[0].partition(': ')[2]})" if reasons else ""
        raise RecordingError(
            f"{recording.path} has no native times{why}: give one with --native-time 42ms, or"
            " record again without --no-native, or with --native TIMES.json"
        )
    raise RecordingError(
        f"{recording.path} has no native time of phase {phase.name!r}: give it with"
        " --native-time 42ms, or predict another phase (--phase)"
    )


def thread_count(
    recording: Recording, phase: Phase, asked: int | None, *, native_is_given: bool
) -> int:
    """How many threads work at once: as asked for, else as recorded.

    Raises:
        UsageError: fewer than one; or not as many as the native times are of.
    """
    native = recording.metadata.native
    recorded = getattr(recording.metadata.target, "threads", None)
    timed = native.threads if native is not None else None
    known = timed if isinstance(timed, int) and timed > 0 else recorded
    if not isinstance(known, int) or known < 1:
        known = None
    if asked is None:
        return known or _busy_threads(recording, phase)
    if asked < 1:
        raise UsageError(f"{asked} threads: give at least 1")
    if known is not None and asked != known and not native_is_given:
        raise UsageError(
            f"the native times are of {known} thread{'s' if known > 1 else ''}, not of {asked}:"
            f" record with --threads {asked}, or give the time of {asked} with --native-time"
        )
    return asked


def _busy_threads(recording: Recording, phase: Phase) -> int:
    if not recording.has_table("contexts"):
        return 1
    table = recording.table("contexts")
    is_of_phase = pc.and_(
        pc.equal(table["process"], phase.process), pc.equal(table["phase"], phase.index)
    )
    rows = table.select(["thread", "line_access_count"]).filter(is_of_phase)
    counts = rows.group_by("thread").aggregate([("line_access_count", "sum")])
    found = np.asarray(counts["line_access_count_sum"].to_numpy(), dtype=np.float64)
    return max(int(np.count_nonzero(found >= _BUSY_SHARE * found.max(initial=1.0))), 1)
