# SPDX-License-Identifier: Apache-2.0
"""What the threads of a phase share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import facts_of
from sgxlens.recording.bitmaps import popcount, union

if TYPE_CHECKING:
    from sgxlens.recording.bitmaps import Bitmaps
    from sgxlens.recording.reader import Phase, Recording


@dataclass(frozen=True)
class Shared:
    """Blocks of one size, counts.

    Attributes:
        block_count: distinct blocks accessed in the phase.
        shared_count: those accessed by more than one thread.
        shared_written_count: those of the shared that some thread writes.
        reuse_count: accesses to blocks that were accessed before, in this phase or an earlier one.
        other_thread_reuse_count: those of them whose previous access was another thread's.
    """

    block_count: int
    shared_count: int
    shared_written_count: int
    reuse_count: int
    other_thread_reuse_count: int


@dataclass(frozen=True)
class Sharing:
    """What threads share in a phase; they are interleaved as the tracer ran them.

    Attributes:
        phase: the phase.
        threads: numbers of the threads that access memory in it.
        line, page: the blocks. A page whose threads use different lines is shared, its lines are
            not.
    """

    phase: Phase
    threads: tuple[int, ...]
    line: Shared
    page: Shared


def sharing(recording: Recording, phase: Phase | int | str, process: int | None = None) -> Sharing:
    """The blocks that more than one thread accesses in a phase, and the reuse between threads.

    Raises:
        UsageError: there is no such phase, or more than one.
        RecordingError: the recording has no attribution, or is damaged.
    """
    facts = facts_of(recording, phase, process)
    contexts, uses = facts.contexts, facts.uses
    threads, thread = np.unique(contexts.thread, return_inverse=True)
    pages = facts.pages.size
    key, lines, written = union(
        thread[uses.context] * max(pages, 1) + uses.page, uses.lines, uses.written
    )
    once, twice, dirty = (np.zeros(pages, dtype=np.uint64) for _ in range(3))
    users = np.zeros(pages, dtype=np.int64)
    for index in range(threads.size):
        mine = key // max(pages, 1) == index
        page = key[mine] % max(pages, 1)
        twice[page] |= once[page] & lines[mine]
        once[page] |= lines[mine]
        dirty[page] |= written[mine]
        users[page] += 1
    is_shared = users > 1
    reuse = {}
    for name, rows in facts.reuse.items():
        warm = rows.bin < rows.distance_min.size
        reuse[name] = (int(rows.count[warm].sum()), int(rows.count[rows.is_other_thread].sum()))
    return Sharing(
        phase=facts.phase,
        # Contexts may be empty, as the first one is.
        threads=tuple(np.unique(contexts.thread[contexts.line_access_count > 0]).tolist()),
        line=Shared(_count(once), _count(twice), _count(twice & dirty), *reuse["line"]),
        page=Shared(
            pages, int(is_shared.sum()), int((is_shared & (dirty != 0)).sum()), *reuse["page"]
        ),
    )


def _count(bitmaps: Bitmaps) -> int:
    return int(popcount(bitmaps).sum())
