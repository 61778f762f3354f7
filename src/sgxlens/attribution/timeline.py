# SPDX-License-Identifier: Apache-2.0
"""Pages against operators: the picture of a phase's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import facts_of
from sgxlens.errors import UsageError
from sgxlens.recording.bitmaps import union

if TYPE_CHECKING:
    import numpy.typing as npt

    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Operator, Phase, Recording

#: What happens to the pages of a rectangle, as bits.
READ, WRITTEN, EXECUTED = 1, 2, 4


@dataclass(frozen=True, eq=False)
class Timeline:
    """Which pages are used when, as rectangles one step wide.

    A step is an operator, or what is done between two of them; where the phase has no operators, a
    span. The pages of the phase stand without gaps, in the order of their addresses.

    Attributes:
        phase: the phase.
        operators: its operators.
        pages: numbers of the pages, ascending; rows of the picture before thinning.
        page_region: for each page the region of the most of its lines, an index into the regions
            of the process; -1: none is known.
        roles: the roles there are.
        page_role: for each page the role of that region, an index into `roles`.
        step_operator: for each step its operator, an index into `operators`; -1: none.
        step_start_position, step_end_position: line accesses before the start and the end of it.
        pages_per_cell: a cell stands for this many rows of `pages` (the last one for what is
            left); it has the flags of all of them.
        steps_per_cell: and for this many steps.
        column: of each rectangle, its column: the step divided by `steps_per_cell`.
        first_cell, cell_count: and its rows, in cells.
        flags: and what is done there: `READ`, `WRITTEN`, `EXECUTED`.
    """

    phase: Phase
    operators: tuple[Operator, ...]
    pages: npt.NDArray[np.uint64]
    page_region: Integers
    roles: tuple[str, ...]
    page_role: Integers
    step_operator: Integers
    step_start_position: Integers
    step_end_position: Integers
    pages_per_cell: int
    steps_per_cell: int
    column: Integers
    first_cell: Integers
    cell_count: Integers
    flags: Integers

    @property
    def is_thinned(self) -> bool:
        """Whether a cell stands for more than one page in one step."""
        return self.pages_per_cell > 1 or self.steps_per_cell > 1


def timeline(
    recording: Recording,
    phase: Phase | int | str,
    max_rectangles: int = 20_000,
    process: int | None = None,
    *,
    max_rows: int | None = None,
) -> Timeline:
    """The pages that each operator of a phase reads, writes and executes.

    Where there are more rectangles than `max_rectangles`, cells become coarser until there are
    not: twice as many pages each, and where the picture would be less than 256 cells high, twice
    as many steps each. So they do, in pages, where the picture would be higher than `max_rows`
    cells.

    Raises:
        UsageError: there is no such phase, or more than one; `max_rectangles` or `max_rows` is
            below 1.
        RecordingError: the recording has no attribution, or is damaged.
    """
    if max_rectangles < 1:
        raise UsageError(f"{max_rectangles} rectangles draw nothing")
    if max_rows is not None and max_rows < 1:
        raise UsageError(f"a picture of {max_rows} rows shows nothing")
    facts = facts_of(recording, phase, process)
    uses = facts.uses
    step_of_context, operator, start, end = _steps(facts)
    written = (uses.written != 0).astype(np.uint64) * np.uint64(WRITTEN)
    executed = (uses.fetched != 0).astype(np.uint64) * np.uint64(EXECUTED)
    only_read = (uses.lines & ~uses.written & ~uses.fetched) != 0
    all_flags = only_read.astype(np.uint64) * np.uint64(READ) | written | executed
    step = step_of_context[uses.context]
    pages_per_cell = steps_per_cell = 1
    while max_rows is not None and -(-facts.pages.size // pages_per_cell) > max_rows:
        pages_per_cell *= 2
    while True:
        column, first, count, flags = _rectangles(
            step // steps_per_cell, uses.page // pages_per_cell, all_flags
        )
        if column.size <= max_rectangles:
            break
        if facts.pages.size // pages_per_cell > 256 or steps_per_cell >= operator.size:
            pages_per_cell *= 2
        else:
            steps_per_cell *= 2
    roles, role_of = facts.roles
    return Timeline(
        phase=facts.phase,
        operators=facts.operators,
        pages=facts.pages,
        page_region=facts.page_region,
        roles=roles,
        page_role=role_of[facts.page_region],
        step_operator=operator,
        step_start_position=start,
        step_end_position=end,
        pages_per_cell=pages_per_cell,
        steps_per_cell=steps_per_cell,
        column=column,
        first_cell=first,
        cell_count=count,
        flags=flags,
    )


def _steps(facts: PhaseFacts) -> tuple[Integers, Integers, Integers, Integers]:
    """The step of each context; and of each step its operator, its start and its end."""
    contexts = facts.contexts
    _, first, span_of_context = np.unique(contexts.span, return_index=True, return_inverse=True)
    # An operator may be cut into several spans, by operators nested in it for one.
    operator = contexts.operator[first]
    is_new = np.ones(first.size, dtype=bool)
    if facts.operators:
        is_new[1:] = operator[1:] != operator[:-1]
    step_of_span = np.cumsum(is_new) - 1
    step = step_of_span[span_of_context]
    steps = int(is_new.sum())
    start = np.full(steps, np.iinfo(np.int64).max)
    end = np.zeros(steps, dtype=np.int64)
    np.minimum.at(start, step, contexts.start_position)
    np.maximum.at(end, step, contexts.end_position)
    return step, operator[is_new], start, end


def _rectangles(
    column: Integers, cell: Integers, flags: npt.NDArray[np.uint64]
) -> tuple[Integers, Integers, Integers, Integers]:
    """Runs of cells in a column with the same flags."""
    # One more cell than there are, so that runs do not go on in the next column.
    height = int(cell.max(initial=-1)) + 2
    key, of_key = union(column * height + cell, flags)
    if not key.size:
        return key, key, key, key
    is_new = np.ones(key.size, dtype=bool)
    is_new[1:] = (key[1:] != key[:-1] + 1) | (of_key[1:] != of_key[:-1])
    first = np.flatnonzero(is_new)
    count = np.diff(np.concatenate([first, [key.size]]))
    return key[first] // height, key[first] % height, count, of_key[first].astype(np.int64)
