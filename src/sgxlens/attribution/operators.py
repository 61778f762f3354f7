# SPDX-License-Identifier: Apache-2.0
"""What each operator of a phase does with memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.attribution.facts import FACT_TABLES, facts_of
from sgxlens.attribution.usage import Usage, blocks_by, check_memory, usages
from sgxlens.recording.bitmaps import popcount, total_by, union

if TYPE_CHECKING:
    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Operator, Phase, Recording


@dataclass(frozen=True)
class OperatorRow:
    """One execution of an operator, without the operators nested in it.

    Attributes:
        operator: what the table ``operators`` says of it; None: between operators.
        line, page: its accesses; the footprint is its working set.
        lines_by_role: distinct lines accessed by the role of their region, only roles that occur.
            A line that changes its region during the operator counts in both.
    """

    operator: Operator | None
    line: Usage
    page: Usage
    lines_by_role: dict[str, int]


@dataclass(frozen=True)
class OperatorTable:
    """The operators of a phase.

    Accesses, misses and sources of `rows` and `between` add up to those of the phase; footprints
    do not, because operators share blocks.

    Attributes:
        phase: the phase.
        memory_bytes: size of the memory that the misses are of; None: none was asked for.
        rows: the operators in the order of their starts.
        between: what the phase does outside operators; all of it where there are none.
        total: the whole phase.
    """

    phase: Phase
    memory_bytes: int | None
    rows: tuple[OperatorRow, ...]
    between: OperatorRow
    total: OperatorRow


def operator_table(
    recording: Recording,
    phase: Phase | int | str,
    memory_bytes: int | None = None,
    process: int | None = None,
) -> OperatorTable:
    """Accesses, footprints, misses and reuse of each operator of a phase.

    Args:
        recording: the recording.
        phase: the phase, its index in its process or its name.
        memory_bytes: size of an LRU memory, of lines and of pages, to count misses of.
        process: the process, where several have a phase of that index or name.

    Raises:
        UsageError: there is no such phase, or more than one; the size is negative.
        RecordingError: the recording has no attribution, or is damaged.
    """
    check_memory(memory_bytes)
    facts = facts_of(recording, phase, process)
    return recording.derived(
        (operator_table, facts.phase, memory_bytes),
        lambda: _operator_table(facts, memory_bytes),
        FACT_TABLES,
    )


def _operator_table(facts: PhaseFacts, memory_bytes: int | None) -> OperatorTable:
    count = len(facts.operators)
    # The last group is what is between operators.
    of_context = facts.contexts.operator % (count + 1)
    rows = _rows(facts, of_context, count + 1, memory_bytes)
    (total,) = _rows(facts, of_context * 0, 1, memory_bytes)
    return OperatorTable(
        phase=facts.phase,
        memory_bytes=memory_bytes,
        rows=tuple(
            OperatorRow(operator, *row)
            for operator, row in zip(facts.operators, rows[:-1], strict=True)
        ),
        between=OperatorRow(None, *rows[-1]),
        total=OperatorRow(None, *total),
    )


def _rows(
    facts: PhaseFacts, of_context: Integers, count: int, memory_bytes: int | None
) -> list[tuple[Usage, Usage, dict[str, int]]]:
    uses = facts.uses
    blocks = blocks_by(
        facts,
        of_context[uses.context],
        count,
        page=uses.page,
        lines=uses.lines,
        written=uses.written,
    )
    line, page = (
        usages(rows, of_context[rows.context], blocks[name], memory_bytes)
        for name, rows in ((name, facts.reuse[name]) for name in ("line", "page"))
    )
    return list(zip(line, page, _lines_by_role(facts, of_context, count), strict=True))


def _lines_by_role(facts: PhaseFacts, of_context: Integers, count: int) -> list[dict[str, int]]:
    pieces, uses = facts.use_pieces, facts.uses
    roles, role_of = facts.roles
    pages = max(facts.pages.size, 1)
    group = of_context[uses.context[pieces.use]] * len(roles) + role_of[pieces.region]
    key, lines = union(group * pages + uses.page[pieces.use], pieces.lines)
    counts = total_by(key // pages, popcount(lines), count * len(roles)).reshape(count, -1)
    return [{role: n for role, n in zip(roles, row.tolist(), strict=True) if n} for row in counts]
