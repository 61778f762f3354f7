# SPDX-License-Identifier: Apache-2.0
"""What leaves the enclave in the steady inference, and why, as plain data."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.enclave.quantities import Range
from sgxlens.prediction.ranges import total

if TYPE_CHECKING:
    from sgxlens.enclave.transitions import TransitionCounts, TransitionRow
    from sgxlens.recording.reader import Phase


@dataclass(frozen=True)
class ExitRow:
    """All system calls or events of one kind that meet the same end.

    Attributes:
        name: system call, or event.
        is_background: made by threads that work beside the inference: no part of its time.
        outcome: what becomes of them.
        why: in words.
        count: how many there are natively.
        ocalls: OCALLs that they make.
        exceptions: traps delivered to the runtime inside.
        aex: further asynchronous exits.
    """

    name: str
    is_background: bool
    outcome: str
    why: str
    count: int
    ocalls: Range
    exceptions: Range
    aex: Range


@dataclass(frozen=True)
class Exits:
    """What becomes of every system call and trap of a phase.

    Attributes:
        rows: those that leave most often come first.
        left_out: of the whole recording, what was not counted, in words, and how often it occurs.
        unknown: of the whole recording, system calls that the runtime's rules do not know; each is
            taken for an OCALL.
    """

    rows: tuple[ExitRow, ...]
    left_out: dict[str, int]
    unknown: dict[str, int]


def exits(counts: TransitionCounts, phase: Phase) -> Exits:
    """What leaves the enclave in a phase, summed over operators and callers."""
    groups: defaultdict[tuple[str, bool, str, str], list[TransitionRow]] = defaultdict(list)
    for row in counts.of_phase(phase):
        groups[row.name, row.is_background, row.outcome, row.why].append(row)
    rows = [
        ExitRow(
            name=name,
            is_background=is_background,
            outcome=outcome,
            why=why,
            count=sum(row.count for row in group),
            ocalls=total(row.ocalls for row in group),
            exceptions=total(row.exceptions for row in group),
            aex=total(row.aex for row in group),
        )
        for (name, is_background, outcome, why), group in groups.items()
    ]
    rows.sort(key=lambda row: (-_leaves(row), -row.count, row.name, row.why))
    return Exits(tuple(rows), dict(counts.left_out), dict(counts.unknown))


def _leaves(row: ExitRow) -> float:
    return row.ocalls.likely + row.exceptions.likely + row.aex.likely
