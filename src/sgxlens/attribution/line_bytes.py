# SPDX-License-Identifier: Apache-2.0
"""How many bytes are used of each line: what is moved between memory and cache for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import NO_OPERATOR, facts_of
from sgxlens.errors import RecordingError
from sgxlens.recording.bitmaps import popcount, union
from sgxlens.recording.format import LINE_BYTES

if TYPE_CHECKING:
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Operator, Phase, Recording


@dataclass(frozen=True, eq=False)
class ByteCounts:
    """Bytes used of some lines; the lines are distinct, and only those that are followed.

    Attributes:
        lines_by_byte_count: for each number of bytes, 0 to 64, the lines of which so many are
            accessed.
        lines_by_written_byte_count: and of which so many are written.
    """

    lines_by_byte_count: Integers
    lines_by_written_byte_count: Integers

    @property
    def line_count(self) -> int:
        """How many lines these are."""
        return int(self.lines_by_byte_count.sum())

    @property
    def byte_count(self) -> int:
        """How many of their bytes are accessed."""
        return _total(self.lines_by_byte_count)

    @property
    def written_line_count(self) -> int:
        """How many of them are written."""
        return int(self.lines_by_written_byte_count[1:].sum())

    @property
    def written_byte_count(self) -> int:
        """How many of their bytes are written."""
        return _total(self.lines_by_written_byte_count)

    @property
    def used_share(self) -> float:
        """Share of the bytes of these lines that is accessed, 0 to 1; 1 of no lines."""
        return self.byte_count / (LINE_BYTES * self.line_count) if self.line_count else 1.0


@dataclass(frozen=True, eq=False)
class LineBytes:
    """Bytes used of the lines of a phase, of one line in `interval`.

    Counts are of the lines that are followed. There are about `interval` times as many in all.

    Attributes:
        phase: the phase.
        interval: of so many lines beside each other one is followed, at a place drawn by a hash.
        total: over the phase.
        by_role: by the role of the line; a line may count in several roles.
        operators: the operators of the phase.
        by_operator: for each of them what it uses by itself.
        between: what is used in no operator.
    """

    phase: Phase
    interval: int
    total: ByteCounts
    by_role: dict[str, ByteCounts]
    operators: tuple[Operator, ...]
    by_operator: tuple[ByteCounts, ...]
    between: ByteCounts


def has_line_bytes(recording: Recording) -> bool:
    """Whether a recording tells the bytes used of lines."""
    return recording.has_table("line_use")


def line_bytes(
    recording: Recording, phase: Phase | int | str, process: int | None = None
) -> LineBytes:
    """How many bytes of its lines a phase uses, by role and by operator.

    Raises:
        UsageError: there is no such phase, or more than one.
        RecordingError: the recording does not tell, has no attribution, or is damaged.
    """
    facts = facts_of(recording, phase, process)
    interval = recording.metadata.settings.line_use_interval
    if not has_line_bytes(recording) or not interval:
        raise RecordingError(
            f"{recording.path} does not tell which bytes of lines are used: record it again"
        )
    uses = facts.line_uses
    lines, line = np.unique(uses.line, return_inverse=True)
    roles, role_of = facts.roles
    operator = facts.contexts.operator[uses.context]

    def counts(group: Integers, group_count: int) -> list[ByteCounts]:
        width = max(lines.size, 1)
        key, used, written = union(group * width + line, uses.bytes, uses.written)
        of_group = key // width
        return [
            ByteCounts(
                np.bincount(popcount(used[of_group == index]), minlength=LINE_BYTES + 1),
                np.bincount(popcount(written[of_group == index]), minlength=LINE_BYTES + 1),
            )
            for index in range(group_count)
        ]

    by_role = counts(role_of[uses.region], len(roles))
    # What is done in no operator comes first.
    between, *by_operator = counts(operator - NO_OPERATOR, len(facts.operators) + 1)
    return LineBytes(
        phase=facts.phase,
        interval=interval,
        total=counts(np.zeros(line.size, dtype=np.int64), 1)[0],
        by_role={r: c for r, c in zip(roles, by_role, strict=True) if c.line_count},
        operators=facts.operators,
        by_operator=tuple(by_operator),
        between=between,
    )


def _total(counts: Integers) -> int:
    return int((counts * np.arange(counts.size)).sum())
