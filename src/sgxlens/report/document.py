# SPDX-License-Identifier: Apache-2.0
"""What a report says, as plain data: every renderer shows the same.

`build_document` reads a recording and selects; nothing here knows how it will look. Sections that
a recording may lack are None where the fact was not recorded, and empty where nothing happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.attribution.facts import has_attribution
from sgxlens.errors import UsageError
from sgxlens.recording.format import ANY_ACCESS, BLOCK_BYTES
from sgxlens.recording.reader import default_phase
from sgxlens.report.attribution_section import AttributionSection, attribution_section
from sgxlens.report.events import (
    SignalRow,
    SyscallRow,
    ThreadSection,
    TrapRow,
    signal_rows,
    syscall_rows,
    thread_section,
    trap_rows,
)
from sgxlens.report.native_times import NativeTime, native_time
from sgxlens.report.reuse_section import ReuseSection, reuse_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.recording.metadata import RecordingMetadata
    from sgxlens.recording.native_times.summary import NativeSummary
    from sgxlens.recording.reader import Phase, Recording


@dataclass(frozen=True)
class Footprint:
    """Distinct blocks accessed; estimates where the recording is sampled."""

    block_count: int
    size_bytes: int
    first_touch_count: int


@dataclass(frozen=True)
class PhaseRow:
    """One phase: line accesses by class, its footprint at each granularity, and its native time.

    ``native_time`` is None where the phase was not timed natively.
    """

    phase: Phase
    is_selected: bool
    access_counts: dict[str, int]
    footprints: dict[str, Footprint]
    native_time: NativeTime | None


@dataclass(frozen=True)
class Document:
    """A report of one recording.

    Attributes:
        path: the folder of the recording.
        metadata: its ``recording.json``.
        warnings: what the reader must know before he trusts the rest, one sentence each.
        phases: all phases, or those of the process asked for.
        selection: what the sections below are about; without phases: nothing.
        attribution: who accesses what in the selection; None: `no_attribution` says why.
        no_attribution: why there is no `attribution`, in a sentence; empty where there is.
        reuse: distances and miss ratios of the selection.
        syscalls, traps: counted in the selection and in all; None: not recorded.
        signals, threads: of the processes asked for; None: not recorded.
    """

    path: str
    metadata: RecordingMetadata
    warnings: tuple[str, ...]
    phases: tuple[PhaseRow, ...]
    selection: tuple[Phase, ...]
    selects_all: bool
    attribution: AttributionSection | None
    no_attribution: str
    reuse: ReuseSection
    syscalls: tuple[SyscallRow, ...] | None
    traps: tuple[TrapRow, ...] | None
    signals: tuple[SignalRow, ...] | None
    threads: ThreadSection | None


def build_document(
    recording: Recording,
    phase: int | str | None = None,
    process: int | None = None,
    all_phases: bool = False,
    at_bytes: int | None = None,
) -> Document:
    """The report of a recording.

    Args:
        recording: the recording.
        phase: index or name of the phase to look at; None: as `default_phase` chooses.
        process: show one process only; None: all.
        all_phases: look at all phases together.
        at_bytes: size of the memory whose misses are counted, in bytes; None: several sizes, in the
            section about reuse only.

    Raises:
        UsageError: there is no such phase or process, both `phase` and `all_phases` are given, or
            `at_bytes` is less than a page.
        RecordingError: the recording is damaged.
    """
    if phase is not None and all_phases:
        raise UsageError("--phase and --all-phases contradict each other")
    if at_bytes is not None and not BLOCK_BYTES["page"] <= at_bytes < 1 << 63:
        raise UsageError(f"a memory of {at_bytes} bytes: give at least a page, 4K")
    shown = recording.select_phases(None, process)
    reuse_process = process
    if phase is None and not all_phases and shown:
        one = default_phase(shown)
        selection: tuple[Phase, ...] = (one,)
        phase, reuse_process = one.index, one.process
    else:
        selection = recording.select_phases(phase, process)
    chosen = {(p.process, p.index) for p in selection}
    native = recording.native
    no_attribution = _no_attribution(recording, selection)
    return Document(
        path=str(recording.path),
        metadata=recording.metadata,
        warnings=tuple(_warnings(recording)),
        phases=tuple(_phase_rows(recording, shown, chosen, native)),
        selection=selection,
        selects_all=len(selection) == len(shown),
        attribution=(
            None
            if no_attribution
            else attribution_section(recording, selection[0], at_bytes, native)
        ),
        no_attribution=no_attribution,
        reuse=reuse_section(recording, phase, reuse_process, chosen, at_bytes),
        syscalls=syscall_rows(recording, chosen, process),
        traps=trap_rows(recording, chosen, process),
        signals=signal_rows(recording, process),
        threads=thread_section(recording, process),
    )


def _warnings(recording: Recording) -> list[str]:
    metadata = recording.metadata
    outcome = metadata.outcome
    warnings = []
    if outcome.status == "lost":
        warnings.append(
            "The stream from the tracer was lost: whatever the program did after the last phase"
            " shown is missing, and that phase is not whole."
        )
    elif outcome.status == "interrupted":
        warnings.append(
            "The recording was interrupted: the phase that ran then is not whole, later ones are"
            " missing."
        )
    elif outcome.status == "signalled":
        warnings.append(
            f"The program was killed by {outcome.signal or 'a signal'}: the phase that ran then is"
            " not whole, later ones are missing."
        )
    elif outcome.exit_code != 0:
        warnings.append(
            f"The program failed with status {outcome.exit_code}: phases may be missing."
        )
    broken = [p for p in metadata.processes if p.end in ("killed", "running")]
    if broken and outcome.status == "exited":
        names = ", ".join(f"{p.process} ({p.end})" for p in broken[:8])
        more = f" and {len(broken) - 8} more" if len(broken) > 8 else ""
        warnings.append(f"Processes that did not end by themselves are not whole: {names}{more}.")
    if metadata.settings.sampling_rate < 1:
        warnings.append(
            f"Sampled at a rate of {metadata.settings.sampling_rate:g}: reuse distances, miss"
            " ratios and footprints are estimates. The bounds of a miss ratio are three standard"
            " deviations of the program that is worst to sample; small memories have wide ones."
        )
    if metadata.settings.start_at_mark is not None:
        warnings.append(
            f"Recorded from the mark {metadata.settings.start_at_mark!r} on: blocks touched before"
            " it count as cold."
        )
    return warnings + list(metadata.notes)


def _no_attribution(recording: Recording, selection: Sequence[Phase]) -> str:
    metadata = recording.metadata
    if not has_attribution(recording):
        if metadata.settings.sampling_rate < 1:
            return "Not known of a sampled recording."
        if metadata.schema_version < 2:
            return "Not recorded: an older sgxlens made this recording. Record it again."
        return "Not recorded."
    if len(selection) != 1:
        return "Known of one phase at a time: choose it with --phase (and --process)."
    if not selection[0].line_access_count:
        return "No accesses."
    return ""


def _phase_rows(
    recording: Recording,
    phases: Sequence[Phase],
    chosen: set[tuple[int, int]],
    native: NativeSummary | None,
) -> list[PhaseRow]:
    accesses: dict[tuple[int, int], dict[str, int]] = {}
    footprints: dict[tuple[int, int], dict[str, Footprint]] = {}
    rate = recording.metadata.settings.sampling_rate
    for row in recording.table("footprints").to_pylist():
        if row["phase"] is None:
            continue
        key = (row["process"], row["phase"])
        granularity = row["granularity"]
        if row["access"] == ANY_ACCESS:
            blocks = round(row["block_count"] / rate)
            footprints.setdefault(key, {})[granularity] = Footprint(
                block_count=blocks,
                size_bytes=blocks * BLOCK_BYTES[granularity],
                first_touch_count=round((row["first_touch_count"] or 0) / rate),
            )
        elif granularity == "line":
            accesses.setdefault(key, {})[row["access"]] = row["access_count"]
    rows = []
    for phase in phases:
        key = (phase.process, phase.index)
        found = footprints.get(key, {})
        rows.append(
            PhaseRow(
                phase=phase,
                is_selected=key in chosen,
                access_counts=accesses.get(key, {}),
                footprints={name: found.get(name, Footprint(0, 0, 0)) for name in BLOCK_BYTES},
                native_time=native_time(native.of_phase(phase)) if native is not None else None,
            )
        )
    return rows
