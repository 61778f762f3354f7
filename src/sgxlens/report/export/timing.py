# SPDX-License-Identifier: Apache-2.0
"""When things happen inside the enclave: from positions in a recording to predicted time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from sgxlens.prediction.model import PhaseTime
    from sgxlens.recording.reader import Operator, Phase


@dataclass(frozen=True, eq=False)
class Clock:
    """Predicted time of a phase by position.

    Between two boundaries (starts and ends of operators) time passes evenly over line accesses: a
    recording tells what happens in which order, and a prediction how long each operator takes.

    Attributes:
        positions: boundaries, line accesses since the start of the process; ascending.
        seconds: the time of each, since the start of the phase.
        owners: number of the operator that runs from each boundary to the next, one fewer than
            boundaries; None: no operator.
    """

    positions: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    owners: tuple[int | None, ...]

    def at(self, position: float) -> float:
        """Seconds since the start of the phase; positions outside it are at its ends."""
        return float(np.interp(position, self.positions, self.seconds))


def clock(phase: Phase, time: PhaseTime, operators: Sequence[Operator]) -> Clock:
    """The time that passes inside the enclave up to each position of a phase.

    What an operator takes beside those nested in it passes where no operator that started later
    runs. It ends after exactly `time.sgx_seconds` (likely).

    Args:
        phase: the phase.
        time: its prediction.
        operators: the operators of the phase.
    """
    own = {
        row.operator: (row.native_seconds or 0.0) + row.added_seconds.likely
        for row in time.operators
    }
    owners, bounds = _segments(phase, operators)
    lengths = np.diff(bounds)
    totals: dict[int | None, float] = {}
    for owner, length in zip(owners, lengths.tolist(), strict=True):
        totals[owner] = totals.get(owner, 0.0) + length
    # What has no access passes nowhere: it goes to what lies between operators.
    lost = sum(seconds for owner, seconds in own.items() if not totals.get(owner))
    kept = {owner: own.get(owner, 0.0) for owner in totals}
    passed = [
        kept[owner] * length / totals[owner] if totals[owner] else 0.0
        for owner, length in zip(owners, lengths.tolist(), strict=True)
    ]
    whole = time.sgx_seconds.likely
    found = np.concatenate([[0.0], np.cumsum(passed)])
    if lost or not operators or not found[-1]:
        even = (bounds - bounds[0]) / max(bounds[-1] - bounds[0], 1.0)
        found = found + even * max(whole - found[-1], 0.0)
    return Clock(bounds, found * (whole / found[-1] if found[-1] else 1.0), tuple(owners))


def _segments(
    phase: Phase, operators: Sequence[Operator]
) -> tuple[list[int | None], npt.NDArray[np.float64]]:
    """The operator that runs between each boundary and the next, and the boundaries."""
    start, end = phase.start_position, max(phase.end_position, phase.start_position + 1)
    edges = {start, end}
    for operator in operators:
        edges |= {operator.start_position, operator.end_position}
    bounds = sorted(edge for edge in edges if start <= edge <= end)
    starts = sorted(operators, key=lambda operator: (operator.start_position, operator.number))
    owners: list[int | None] = []
    running: list[Operator] = []
    following = 0
    for edge in bounds[:-1]:
        while following < len(starts) and starts[following].start_position <= edge:
            running.append(starts[following])
            following += 1
        running = [operator for operator in running if operator.end_position > edge]
        owners.append(running[-1].number if running else None)
    return owners, np.asarray(bounds, dtype=np.float64)
