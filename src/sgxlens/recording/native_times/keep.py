# SPDX-License-Identifier: Apache-2.0
"""Turns native times into the table of a recording, by the phases and operators recorded."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sgxlens.recording.metadata import printable
from sgxlens.recording.native_times.measure import START_PHASE
from sgxlens.recording.native_times.model import NativeTimes, OperatorTime, PhaseTime
from sgxlens.recording.native_times.summary import PhaseKey, numbered
from sgxlens.recording.phase_names import is_inference

RecordedOperator = tuple[int, str, str]
"""Its index in the phase, its name and type."""

_Row = tuple[int, str, int, "int | None", "str | None", float]


def native_table(
    times: NativeTimes,
    phases: Sequence[str],
    operators: Mapping[PhaseKey, Sequence[RecordedOperator]],
    *,
    has_start: bool = True,
) -> tuple[dict[str, Any], list[str]]:
    """The columns of table ``native_times``, and notes on what is not in it.

    Only phases that were recorded are kept, and further inferences. An operator gets the index of
    the recorded one of its name, or failing that of its type; libraries may choose others for
    another processor.

    Args:
        times: the native times.
        phases: names of the phases that were recorded, in their order.
        operators: those that were recorded, by phase.
        has_start: whether the phase before the first mark is one. It is not where the program
            replaced itself by another, of which nothing tells natively.
    """
    kept = _Kept(numbered(phases), operators, has_start=has_start)
    for number, run in enumerate(times.runs):
        for key, phase in zip(numbered(p.name for p in run.phases), run.phases, strict=True):
            kept.add(number, key, phase)
    marks_recorded = any(name != START_PHASE for name in phases)
    is_silent = all(phase.name == START_PHASE for run in times.runs for phase in run.phases)
    if (marks_recorded and is_silent) or not kept.rows:
        note = (
            "natively only the whole program is timed: none of its marks was heard (those of"
            " sgxlens.mark are, and of this version's sgxlens/mark.h)"
        )
        return _columns([]), [note]
    notes = []
    if kept.unknown_count:
        notes.append(
            f"{kept.unknown_count:,} of {kept.operator_count:,} native times of operators are of"
            " none that was recorded: another processor gets other kernels"
        )
    return _columns(kept.rows), notes


class _Kept:
    """The rows of the table, as they come."""

    def __init__(
        self,
        phases: Sequence[PhaseKey],
        operators: Mapping[PhaseKey, Sequence[RecordedOperator]],
        *,
        has_start: bool,
    ) -> None:
        self._phases = {key for key in phases if has_start or key[0] != START_PHASE}
        self._has_inference = any(is_inference(name) for name, _ in phases)
        self._operators = operators
        inferences = [key for key in phases if is_inference(key[0]) and key in operators]
        self._of_an_inference = operators[inferences[-1]] if inferences else ()
        self.rows: list[_Row] = []
        self.operator_count = 0
        self.unknown_count = 0

    def add(self, run: int, key: PhaseKey, phase: PhaseTime) -> None:
        """Add the times of a phase of a run."""
        is_further = self._has_inference and is_inference(key[0])
        if key not in self._phases and not is_further:
            return
        name, occurrence = printable(key[0]), key[1]
        self.rows.append((run, name, occurrence, None, None, phase.seconds))
        recorded = self._operators.get(key, self._of_an_inference if is_further else ())
        indices = _indices(phase.operators, recorded)
        self.operator_count += len(indices)
        self.unknown_count += indices.count(None)
        self.rows += [
            (run, name, occurrence, index, printable(operator.name), operator.seconds)
            for index, operator in zip(indices, phase.operators, strict=True)
            if index is not None
        ]


def _indices(
    native: Sequence[OperatorTime], recorded: Sequence[RecordedOperator]
) -> list[int | None]:
    """The recorded index of each native operator; None: there is none.

    It is the next of its name. Of one type, those without a partner are taken in their order if
    there are as many on both sides: a change of layout renames an operator.
    """
    by_name = _Partners((name, index) for index, name, _ in recorded)
    found = [by_name.take(operator.name) for operator in native]
    rest = set(by_name.left())
    by_type = _Partners((kind, index) for index, _, kind in recorded if kind and index in rest)
    wanted = Counter(o.type for o, index in zip(native, found, strict=True) if index is None)
    return [
        by_type.take(operator.type)
        if index is None and wanted[operator.type] == by_type.counts[operator.type]
        else index
        for operator, index in zip(native, found, strict=True)
    ]


class _Partners:
    """Indices of recorded operators by a name, each given once, in order."""

    def __init__(self, named: Iterable[tuple[str, int]]) -> None:
        self._indices: defaultdict[str, deque[int]] = defaultdict(deque)
        for name, index in named:
            self._indices[name].append(index)
        self.counts = Counter({name: len(indices) for name, indices in self._indices.items()})

    def take(self, name: str) -> int | None:
        indices = self._indices.get(name)
        return indices.popleft() if indices else None

    def left(self) -> Iterable[int]:
        return itertools.chain.from_iterable(self._indices.values())


def _columns(rows: Sequence[_Row]) -> dict[str, Any]:
    names = ("run", "phase", "occurrence", "operator_index", "operator_name", "seconds")
    types = (pa.uint32(), pa.string(), pa.uint32(), pa.uint32(), pa.string(), pa.float64())
    return {
        name: pa.array([row[i] for row in rows], kind)
        for i, (name, kind) in enumerate(zip(names, types, strict=True))
    }
