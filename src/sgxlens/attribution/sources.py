# SPDX-License-Identifier: Apache-2.0
"""Where the previous access to a block was: which change could shorten the reuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import NO_OPERATOR, SOURCE_KINDS, facts_of
from sgxlens.attribution.usage import Misses, check_memory
from sgxlens.errors import UsageError
from sgxlens.recording.bitmaps import total_by
from sgxlens.recording.format import ACCESS_CLASSES, BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.attribution.reuse_rows import ReuseRows
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Operator, Phase, Recording
    from sgxlens.reuse.histogram import ReuseHistogram


@dataclass(frozen=True)
class SourceRow:
    """The accesses of one kind of source.

    Attributes:
        kind: one of `SOURCE_KINDS`.
        access_count: accesses.
        other_thread_count: those of them whose previous access was another thread's.
        misses: misses at the size asked for; None: none was asked for.
    """

    kind: str
    access_count: int
    other_thread_count: int
    misses: Misses | None


@dataclass(frozen=True, eq=False)
class Flows:
    """Reuse from one operator to a later one: arrays of one length, the most accesses first.

    Attributes:
        producer, consumer: indices into `SourceTable.operators`. The producer is the operator that
            accessed the block last, which need not be the one that wrote it.
        access_count: accesses of the consumer to blocks that the producer was the last to access.
        miss_count_low, miss_count_high: those of them that miss, as in `Misses`; 0 where no size
            was asked for.
    """

    producer: Integers
    consumer: Integers
    access_count: Integers
    miss_count_low: Integers
    miss_count_high: Integers


@dataclass(frozen=True)
class SourceTable:
    """Where the accesses of a phase had their blocks accessed before.

    Attributes:
        phase: the phase.
        memory_bytes: size of the memory that the misses are of; None: none was asked for.
        operators: the operators of the phase.
        rows: by granularity, a row for each of `SOURCE_KINDS`; together all accesses.
        flows: by granularity, the accesses with the source ``earlier_operator`` in detail.
    """

    phase: Phase
    memory_bytes: int | None
    operators: tuple[Operator, ...]
    rows: dict[str, tuple[SourceRow, ...]]
    flows: dict[str, Flows]


def sources(
    recording: Recording,
    phase: Phase | int | str,
    memory_bytes: int | None = None,
    process: int | None = None,
) -> SourceTable:
    """The accesses of a phase by where the previous access to the same block was.

    Arguments and errors are those of `operator_table`.
    """
    check_memory(memory_bytes)
    facts = facts_of(recording, phase, process)
    return SourceTable(
        phase=facts.phase,
        memory_bytes=memory_bytes,
        operators=facts.operators,
        rows={name: _source_rows(rows, memory_bytes) for name, rows in facts.reuse.items()},
        flows={name: _flows(facts, rows, memory_bytes) for name, rows in facts.reuse.items()},
    )


def reuse_of(
    recording: Recording,
    phase: Phase | int | str,
    granularity: str = "line",
    *,
    operator: int | None = None,
    region: int | None = None,
    source: str | None = None,
    access: str | Sequence[str] | None = None,
    process: int | None = None,
) -> ReuseHistogram:
    """The reuse distances of some of the accesses of a phase.

    Args:
        recording: the recording.
        phase: the phase, its index in its process or its name.
        granularity: ``"line"`` or ``"page"``.
        operator: number of an operator; -1: between operators; None: all.
        region: number of a region; None: all.
        source: one of `SOURCE_KINDS`; None: all.
        access: a class of access or several; None: all.
        process: the process, where several have a phase of that index or name.

    Raises:
        UsageError: there is no such phase, granularity, operator, region, source or class.
        RecordingError: the recording has no attribution, or is damaged.
    """
    facts = facts_of(recording, phase, process)
    if granularity not in BLOCK_BYTES:
        raise UsageError(f"no granularity {granularity!r}: there is {', '.join(BLOCK_BYTES)}")
    rows = facts.reuse[granularity]
    chosen = np.ones(rows.count.size, dtype=bool)
    if operator is not None:
        numbers = [o.number for o in facts.operators]
        if operator not in (NO_OPERATOR, *numbers):
            raise UsageError(f"phase {facts.phase.name} has no operator {operator}")
        index = NO_OPERATOR if operator == NO_OPERATOR else numbers.index(operator)
        chosen &= rows.operator == index
    if region is not None:
        known = [r.number for r in facts.regions]
        if region not in known:
            raise UsageError(f"there is no region {region}")
        chosen &= rows.region == known.index(region)
    if source is not None:
        if source not in SOURCE_KINDS:
            raise UsageError(f"no source {source!r}: there are {', '.join(SOURCE_KINDS)}")
        chosen &= rows.kind == SOURCE_KINDS.index(source)
    if access is not None:
        wanted = [access] if isinstance(access, str) else list(access)
        unknown = [name for name in wanted if name not in ACCESS_CLASSES]
        if unknown:
            raise UsageError(
                f"no access class {unknown[0]!r}: there are {', '.join(ACCESS_CLASSES)}"
            )
        chosen &= np.isin(rows.access, [ACCESS_CLASSES.index(name) for name in wanted])
    return rows.histogram(chosen)


def _source_rows(rows: ReuseRows, memory_bytes: int | None) -> tuple[SourceRow, ...]:
    kinds = len(SOURCE_KINDS)
    accesses = total_by(rows.kind, rows.count, kinds)
    other = total_by(rows.kind, rows.count * rows.is_other_thread, kinds)
    misses: list[Misses | None] = [None] * kinds
    if memory_bytes is not None:
        low, high = (total_by(rows.kind, m, kinds) for m in rows.misses(memory_bytes))
        misses = [Misses(int(a), int(b)) for a, b in zip(low, high, strict=True)]
    return tuple(
        SourceRow(kind, int(accesses[i]), int(other[i]), misses[i])
        for i, kind in enumerate(SOURCE_KINDS)
    )


def _flows(facts: PhaseFacts, rows: ReuseRows, memory_bytes: int | None) -> Flows:
    chosen = (rows.kind == SOURCE_KINDS.index("earlier_operator")) & (rows.operator != NO_OPERATOR)
    operators = max(len(facts.operators), 1)
    key = rows.source_operator[chosen] * operators + rows.operator[chosen]
    pairs, of_row = np.unique(key, return_inverse=True)
    count = total_by(of_row, rows.count[chosen], pairs.size)
    low = high = np.zeros(pairs.size, dtype=np.int64)
    if memory_bytes is not None:
        low, high = (total_by(of_row, m[chosen], pairs.size) for m in rows.misses(memory_bytes))
    order = np.argsort(-count, kind="stable")
    return Flows(
        producer=pairs[order] // operators,
        consumer=pairs[order] % operators,
        access_count=count[order],
        miss_count_low=low[order],
        miss_count_high=high[order],
    )
