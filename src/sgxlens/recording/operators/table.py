# SPDX-License-Identifier: Apache-2.0
"""Makes the table `operators` of profiles and annotations; finds the operator of an access."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sgxlens.recording.operators.annotations import Operator, annotated_operators
from sgxlens.recording.operators.matching import Outcome, Placement, match
from sgxlens.recording.operators.profile import Profile
from sgxlens.recording.schemas import TABLES

Columns = dict[str, Any]
_NOTHING: Mapping[str, Sequence[Any]] = {"thread": (), "position": (), "kind": (), "text": ()}


@dataclass(frozen=True)
class ProcessEvents:
    """What the operators of one process are found from.

    `clocks`, `phases` and `threads` are columns as `sgxlens._native.Analysis` gives them,
    `annotations` as the table of this name has them.
    """

    pid: int
    clocks: Mapping[str, Any]
    phases: Mapping[str, Any]
    threads: Mapping[str, Any]
    annotations: Mapping[str, Sequence[Any]] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class Operators:
    """The columns of the table `operators`, without ``process``, for each process; and notes."""

    columns: list[Columns]
    notes: list[str]


def operators_of(processes: Sequence[ProcessEvents], profiles: Sequence[Profile]) -> Operators:
    """The operators that ran in each process.

    An execution that cannot be placed with certainty is left out, and counted in a note.
    """
    notes: list[str] = []
    found: list[list[Operator]] = []
    for process in processes:
        ends = np.asarray(process.phases["end_position"]).astype(np.int64)
        operators, process_notes = annotated_operators(process.annotations, ends)
        found.append(operators)
        notes += process_notes
    for profile in profiles:
        notes += profile.notes
        notes += _place_profile(profile, processes, found)
    columns = [
        _columns(operators, process.phases)
        for operators, process in zip(found, processes, strict=True)
    ]
    return Operators(columns, notes)


def _place_profile(
    profile: Profile, processes: Sequence[ProcessEvents], found: Sequence[list[Operator]]
) -> list[str]:
    """Add the profile's operators to those `found` in its process; return notes."""
    total = sum(event.node is not None for event in profile.events)
    where = [
        (number, match(profile, process.clocks, process.threads))
        for number, process in enumerate(processes)
        # Under one pid there may be several programs, one after the other.
        if process.pid == profile.pid
    ]
    if not where:
        note = (
            f"the profile {profile.path.name} is of the process {profile.pid}, which was not"
            " recorded: it places no operator"
        )
        return [note]
    number, placement = max(where, key=lambda item: item[1].count(Outcome.PLACED))
    reasons = dict.fromkeys(Outcome, 0)
    for index, event in enumerate(profile.events):
        if event.node is None:
            continue
        outcome = Outcome(int(placement.outcomes[index]))
        reasons[outcome] += 1
        if outcome is Outcome.PLACED:
            found[number].append(_operator(profile, placement, index))
    return _placement_notes(profile, total, reasons)


def _placement_notes(profile: Profile, total: int, reasons: Mapping[Outcome, int]) -> list[str]:
    name = profile.path.name
    if not total:
        return [f"the profile {name} has no operators: no inference ran to its end"]
    if reasons[Outcome.NO_READ] == total:
        note = (
            f"the profile {name} does not match this recording: no clock read of the process fits"
            f" any of its {total:,} operators"
        )
        return [note]
    if reasons[Outcome.PLACED] == total:
        return []
    causes = {
        Outcome.NO_READ: "without a clock read that fits",
        Outcome.AMBIGUOUS: "with several that fit",
        Outcome.CONTRADICTORY: "contradicting each other",
    }
    counts = ", ".join(f"{reasons[o]:,} {text}" for o, text in causes.items() if reasons[o])
    left_out = total - reasons[Outcome.PLACED]
    return [f"{left_out:,} of {total:,} operators of the profile {name} are left out: {counts}"]


def _operator(profile: Profile, placement: Placement, index: int) -> Operator:
    node = profile.events[index].node
    assert node is not None  # noqa: S101 - for mypy
    return Operator(
        thread=int(placement.threads[index]),
        start_position=int(placement.starts[index]),
        end_position=int(placement.ends[index]),
        name=node.name,
        type=node.type,
        input_shapes=node.input_shapes,
        output_shapes=node.output_shapes,
        parameter_bytes=node.parameter_bytes,
        activation_bytes=node.activation_bytes,
        output_bytes=node.output_bytes,
        source="onnxruntime_profile",
    )


def _columns(operators: list[Operator], phases: Mapping[str, Any]) -> Columns:
    """The table's columns: the operators by their starts, outer before inner."""
    # What ended before the first access did so before the mark that the recording starts at.
    operators = [operator for operator in operators if operator.end_position > 0]
    operators.sort(key=lambda o: (o.start_position, -o.end_position))
    columns: Columns = {
        column.name: [getattr(operator, column.name) for operator in operators]
        for column in fields(Operator)
    }
    starts = np.array(columns["start_position"], dtype=np.int64)
    phase_starts = np.asarray(phases["start_position"]).astype(np.int64)
    numbers = np.maximum(np.searchsorted(phase_starts, starts, side="right") - 1, 0)
    first = np.searchsorted(numbers, numbers, side="left")  # they ascend as the starts do
    columns["operator"] = np.arange(len(operators))
    columns["phase"] = numbers
    columns["index"] = np.arange(len(operators)) - first
    columns["parent"] = _parents(operators)
    schema = TABLES["operators"].schema
    return {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}


def _parents(operators: Sequence[Operator]) -> list[int | None]:
    parents: list[int | None] = []
    open_on: dict[int, list[int]] = {}
    for number, operator in enumerate(operators):
        stack = open_on.setdefault(operator.thread, [])
        while stack and operators[stack[-1]].end_position <= operator.start_position:
            stack.pop()
        around = (n for n in reversed(stack) if operators[n].end_position >= operator.end_position)
        parents.append(next(around, None))
        stack.append(number)
    return parents


#: A thread that makes these calls stores or sends data in the background, as ONNX Runtime's own
#: usage statistics do: it is no worker of an operator.
BACKGROUND_CALLS = frozenset(
    {"pread64", "pwrite64", "fsync", "fdatasync", "unlink", "socket", "connect", "sendto", "poll"}
)


def operator_at(
    operators: Mapping[str, Any],
    threads: npt.ArrayLike,
    positions: npt.ArrayLike,
    background_threads: Collection[int] = (),
) -> npt.NDArray[np.int64]:
    """The innermost operator that each of some accesses belongs to; -1: none.

    A thread that runs operators itself belongs to those only. Any other thread is taken for a
    worker: it belongs to the operator that is open on another thread, if that is so on one only.

    Args:
        operators: columns of the table `operators` of one process.
        threads: the thread that makes each access.
        positions: its position.
        background_threads: threads that are no workers (see `BACKGROUND_CALLS`).
    """
    at = np.asarray(positions).astype(np.int64)
    who = np.asarray(threads).astype(np.int64)
    result = np.full(len(at), -1, dtype=np.int64)
    owners = np.asarray(operators["thread"]).astype(np.int64)
    starts = np.asarray(operators["start_position"]).astype(np.int64)
    ends = np.asarray(operators["end_position"]).astype(np.int64)
    is_worker = ~np.isin(who, [*np.unique(owners), *background_threads])
    open_count = np.zeros(len(at), dtype=np.int64)
    for owner in np.unique(owners):
        mine = np.flatnonzero(owners == owner)
        concerned = np.flatnonzero(is_worker | (who == owner))
        inner = _innermost(mine, starts, ends, at[concerned])
        found = concerned[inner >= 0]
        result[found] = inner[inner >= 0]
        open_count[found] += 1
    result[open_count > 1] = -1
    return result


def _innermost(
    mine: npt.NDArray[np.intp],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """As `operator_at`, for the operators of one thread: the one that started last."""
    # What is open changes at starts and ends only.
    steps = np.unique(np.concatenate([starts[mine], ends[mine]]))
    inner = np.full(len(steps) + 1, -1, dtype=np.int64)  # the last: before the first step
    started: list[int] = []
    waiting = deque(mine.tolist())
    for step, position in enumerate(steps.tolist()):
        while waiting and starts[waiting[0]] <= position:
            heapq.heappush(started, -waiting.popleft())
        while started and ends[-started[0]] <= position:
            heapq.heappop(started)
        if started:
            inner[step] = -started[0]
    result: npt.NDArray[np.int64] = inner[np.searchsorted(steps, positions, side="right") - 1]
    return result
