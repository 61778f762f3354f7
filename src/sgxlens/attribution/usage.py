# SPDX-License-Identifier: Apache-2.0
"""How much a part of a phase - an operator, a region - uses memory, at one granularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import SOURCE_KINDS
from sgxlens.errors import UsageError
from sgxlens.recording.bitmaps import popcount, total_by, union

if TYPE_CHECKING:
    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.attribution.reuse_rows import ReuseRows
    from sgxlens.recording.bitmaps import Bitmaps, Integers


@dataclass(frozen=True)
class Misses:
    """Misses of a fully associative LRU memory, counts.

    Attributes:
        low: accesses that certainly miss.
        high: accesses that may miss; more than `low` where the size of the memory falls inside a
            bin of reuse distances.
    """

    low: int
    high: int


@dataclass(frozen=True)
class Usage:
    """Accesses to the blocks of one size, counts.

    Attributes:
        block_bytes: size of a block in bytes.
        access_count: accesses.
        block_count: distinct blocks accessed.
        written_block_count: those of them that are written.
        misses: misses at the size asked for; None: none was asked for.
        by_source: accesses by where the previous access to the block was, of each of
            `SOURCE_KINDS`; they add up to `access_count`.
    """

    block_bytes: int
    access_count: int
    block_count: int
    written_block_count: int
    misses: Misses | None
    by_source: dict[str, int]

    @property
    def footprint_bytes(self) -> int:
        """Size of the distinct blocks accessed, in bytes."""
        return self.block_count * self.block_bytes

    @property
    def written_share(self) -> float:
        """Share of the distinct blocks that are written, 0 to 1; 0 of none."""
        return self.written_block_count / self.block_count if self.block_count else 0.0


def usages(
    rows: ReuseRows,
    group: Integers,
    blocks: tuple[Integers, Integers],
    memory_bytes: int | None,
) -> list[Usage]:
    """The usage of each group.

    Args:
        rows: accesses.
        group: the group of each row.
        blocks: for each group its distinct blocks, and those written.
        memory_bytes: size of the memory for `Usage.misses`.
    """
    groups = blocks[0].size
    accesses = total_by(group, rows.count, groups)
    kinds = len(SOURCE_KINDS)
    by_source = total_by(group * kinds + rows.kind, rows.count, groups * kinds)
    by_source = by_source.reshape(groups, kinds)
    misses: list[Misses | None] = [None] * groups
    if memory_bytes is not None:
        low, high = (total_by(group, m, groups) for m in rows.misses(memory_bytes))
        misses = [Misses(int(a), int(b)) for a, b in zip(low, high, strict=True)]
    return [
        Usage(
            block_bytes=rows.block_bytes,
            access_count=int(accesses[i]),
            block_count=int(blocks[0][i]),
            written_block_count=int(blocks[1][i]),
            misses=misses[i],
            by_source=dict(zip(SOURCE_KINDS, by_source[i].tolist(), strict=True)),
        )
        for i in range(groups)
    ]


def blocks_by(
    facts: PhaseFacts,
    group: Integers,
    group_count: int,
    *,
    page: Integers,
    lines: Bitmaps,
    written: Bitmaps,
) -> dict[str, tuple[Integers, Integers]]:
    """Distinct blocks, and those written, of each group, by granularity.

    Args:
        facts: the phase that `page` is an index of.
        group: the group of each row.
        group_count: how many groups there are.
        page: the page of each row; several rows may have the same.
        lines: the lines of it that are accessed.
        written: the lines of it that are written.
    """
    pages = max(facts.pages.size, 1)
    key, lines, written = union(group * pages + page, lines, written)
    of = key // pages
    return {
        "line": (
            total_by(of, popcount(lines), group_count),
            total_by(of, popcount(written), group_count),
        ),
        "page": (
            np.bincount(of, minlength=group_count),
            np.bincount(of[written != 0], minlength=group_count),
        ),
    }


def check_memory(memory_bytes: int | None) -> None:
    """Raises UsageError for a size that no memory has."""
    if memory_bytes is not None and memory_bytes < 0:
        raise UsageError(f"a memory of {memory_bytes} bytes is none")
