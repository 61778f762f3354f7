# SPDX-License-Identifier: Apache-2.0
"""What encrypted memory costs: lines that miss the last-level cache.

**Which lines.** From the reuse distances of lines, by `sgxlens.enclave.cache.miss_probability`. One
LRU order of all accesses stands for the last-level cache, as if the levels above it did not keep
accesses from it. Reads, writes and fetches miss alike. That a written line goes back to memory
later is not counted apart: it is in the constants as far as the networks that they were measured
on write.

**Sequential or random.** SGX1's encryption engine keeps counters and MACs of 8 lines in a row in
one line each (Gueron, "A memory encryption engine suitable for general purpose processors", eprint
2016/204), so that lines used with their neighbours share them. A line is sequential if at least
half of its aligned group of 8 lines is used in the same context, else random. What misses in a
context is taken to be of both kinds as what is used in it is.

**Threads.** The engine of SGX1 is one for all: SGX4ML (doi:10.18420/BTW2023-44) measured 10.5 GB/s
from 4 threads on, 6.1 ns a line, as little more than one thread's. So charges are time of all
threads together, not divided by their number; of scalable SGX that is too much, of a small cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sgxlens.attribution.facts import FACT_TABLES, NO_OPERATOR, facts_of, has_attribution
from sgxlens.enclave.cache import miss_probability
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Range
from sgxlens.recording.bitmaps import popcount, popcount_of_bytes
from sgxlens.recording.distinct import Places, distinct_values

if TYPE_CHECKING:
    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.enclave.platform import Cache, Platform
    from sgxlens.recording.bitmaps import Bitmaps, Integers
    from sgxlens.recording.reader import Phase, Recording

Floats = npt.NDArray[np.float64]

#: What part of the lines that miss are random, where a recording has no attribution: in inferences
#: of SqueezeNet, ResNet-50 and AlexNet with ONNX Runtime it is 0.2 to 10 %.
UNKNOWN_RANDOM_SHARE = Range(0, 0.02, 0.2)
#: Makes a byte that counts 4 or more have its highest bit set.
_FROM_FOUR = np.uint64(0x7C7C7C7C7C7C7C7C)
_FIRST_OF_BYTES = np.uint64(0x0101010101010101)


@dataclass(frozen=True)
class LineMisses:
    """Lines of one operator and role that miss the last-level cache.

    Attributes:
        operator: number of the operator; None: between operators, or not known.
        role: role of the memory; None: not known.
        sequential_count, random_count: how many, used with their neighbours and alone.
    """

    operator: int | None
    role: str | None
    sequential_count: Range
    random_count: Range


def encryption_charges(
    recording: Recording, phase: Phase, platform: Platform, *, threads: int = 1
) -> list[Charge]:
    """What the lines of a phase that miss the last-level cache cost when `threads` work at once.

    Raises:
        UsageError: the platform does not tell for so many threads.
        RecordingError: the recording is damaged.
    """
    sequential = platform.encryption.sequential_ns.at(threads)
    prices = (("sequential lines", sequential), ("random lines", platform.encryption.random_ns))

    def find() -> list[Charge]:
        return [
            Charge("encryption", what, constant, count, row.operator, row.role)
            for row in line_misses(recording, phase, platform.cache)
            for (what, constant), count in zip(
                prices, (row.sequential_count, row.random_count), strict=True
            )
            if count.high > 0
        ]

    if not has_attribution(recording):
        return find()
    # The same objects where nothing of it changes, so that differences need not count them.
    key = (encryption_charges, phase, platform.cache, prices)
    return list(recording.derived(key, find, FACT_TABLES))


def line_misses(recording: Recording, phase: Phase, cache: Cache) -> tuple[LineMisses, ...]:
    """Lines of a phase that miss a last-level cache, by operator and role.

    Low is of the largest size of the cache and the nearest distance of each bin of the histogram,
    high of the smallest and the farthest; likely is of the likely size and between both distances.
    Without attribution it is one row, of which `UNKNOWN_RANDOM_SHARE` is taken to be random.

    Raises:
        RecordingError: the recording is damaged.
    """
    if not has_attribution(recording):
        reuse = recording.reuse("line", phase.index, phase.process)
        bounds = _probabilities(reuse.distance_min_blocks, reuse.distance_max_blocks, cache)
        low, likely, high = (float((reuse.count * p).sum()) + reuse.cold_count for p in bounds)
        share = UNKNOWN_RANDOM_SHARE
        sequential = Range(low * (1 - share.high), likely * (1 - share.likely), high)
        random_lines = Range(low * share.low, likely * share.likely, high * share.high)
        return (LineMisses(None, None, sequential, random_lines),) if high else ()
    size = cache.llc_bytes.range
    return recording.derived(
        (line_misses, phase, size, cache.llc_ways),
        lambda: _line_misses(recording, phase, cache),
        FACT_TABLES,
    )


def _line_misses(recording: Recording, phase: Phase, cache: Cache) -> tuple[LineMisses, ...]:
    facts = facts_of(recording, phase)
    lines = recording.derived((_lines_by_bin, phase), lambda: _lines_by_bin(facts), FACT_TABLES)
    bounds = _probabilities(lines.distance_min, lines.distance_max, cache)
    roles, _ = facts.roles
    sequential_counts, random_counts = [], []
    for probability in bounds:
        missed = np.append(probability, 1.0)[lines.bin]
        sequential_counts.append(np.bincount(lines.group, lines.sequential_count * missed))
        random_counts.append(np.bincount(lines.group, lines.random_count * missed))
    found = []
    for index in np.flatnonzero(sequential_counts[2] + random_counts[2]).tolist():
        operator, role = divmod(index, len(roles))
        found.append(
            LineMisses(
                operator=facts.operators[operator - 1].number if operator else None,
                role=roles[role],
                sequential_count=Range(*(float(counts[index]) for counts in sequential_counts)),
                random_count=Range(*(float(counts[index]) for counts in random_counts)),
            )
        )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _LinesByBin:
    """Accesses to lines, summed: arrays of one length.

    Attributes:
        group: operator (its index, from 1 on; 0: between operators) times roles, plus role.
        bin: index of the bin of reuse distances; that of cold accesses comes last.
        sequential_count, random_count: accesses.
        distance_min, distance_max: of each bin, lines.
    """

    group: Integers
    bin: Integers
    sequential_count: Floats
    random_count: Floats
    distance_min: npt.NDArray[np.uint64]
    distance_max: npt.NDArray[np.uint64]


def _lines_by_bin(facts: PhaseFacts) -> _LinesByBin:
    """All that does not depend on the cache, so that many caches take one pass over the rows."""
    bins, parts = facts.reuse_in_parts("line")
    width = bins.distance_min.size + 1
    regions = len(facts.regions) + 1
    roles, role_of = facts.roles
    random_shares = _RandomShares(facts)
    # Of all groups few are used: by group its row in `sums`, in the order in which they come.
    label = np.full((len(facts.operators) + 1) * len(roles), -1, dtype=np.int64)
    label_count = 0
    sums = np.zeros((2, 0))
    for rows in parts:
        pairs = distinct_values(rows.context * regions + rows.region)
        context, region = np.divmod(pairs.values.astype(np.int64), regions)
        # Between operators comes first.
        group = (facts.contexts.operator[context] - NO_OPERATOR) * len(roles) + role_of[region]
        new = np.unique(group[label[group] < 0])
        label[new] = np.arange(label_count, label_count + new.size)
        label_count += new.size
        if (short := label_count * width - sums.shape[1]) > 0:
            # As much again, so that it is seldom copied.
            sums = np.append(sums, np.zeros((2, max(short, sums.shape[1]))), axis=1)
        cells = distinct_values((label[group] * width)[pairs.index] + rows.bin)
        random = random_shares.of(context, region)
        for total, share in zip(sums, (1 - random, random), strict=True):
            # Added to what is there, one after the other: sums do not depend on the parts.
            terms = np.append(total[cells.values], rows.count * share[pairs.index])
            place = np.append(np.arange(cells.values.size), cells.index)
            total[cells.values] = np.bincount(place, terms)
    used = np.flatnonzero(label >= 0)
    sums = sums[:, : label_count * width].reshape(2, label_count, width)[:, label[used]]
    sums = sums.reshape(2, -1)
    found = np.flatnonzero(sums[0] + sums[1])
    return _LinesByBin(
        group=used[found // width],
        bin=found % width,
        sequential_count=sums[0][found],
        random_count=sums[1][found],
        distance_min=bins.distance_min,
        distance_max=bins.distance_max,
    )


def sequential_lines(lines: Bitmaps) -> Bitmaps:
    """The lines of aligned groups of 8 of which at least half are in `lines`, a bit map each."""
    is_used = ((popcount_of_bytes(lines) + _FROM_FOUR) >> np.uint64(7)) & _FIRST_OF_BYTES
    return is_used * np.uint64(0xFF)


class _RandomShares:
    """Of what contexts use of regions, the share of lines that are random."""

    def __init__(self, facts: PhaseFacts) -> None:
        uses, pieces = facts.uses, facts.use_pieces
        in_row = sequential_lines(uses.lines)[pieces.use]
        used = popcount(pieces.lines)
        random = popcount(pieces.lines & ~in_row)
        context_of = uses.context[pieces.use]
        contexts, self._regions = facts.contexts.number.size, len(facts.regions) + 1
        total = np.bincount(context_of, used, contexts)
        self._of_context = np.bincount(context_of, random, contexts) / np.maximum(total, 1)
        # What stands for no region is no index.
        found = distinct_values(context_of * self._regions + pieces.region % self._regions)
        of_piece, count = found.index, found.values.size
        self._places = Places(found.values)
        self._share = np.bincount(of_piece, random, count) / np.bincount(of_piece, used, count)

    def of(self, context: Integers, region: Integers) -> Floats:
        """By context and region.

        Where the lines of a region are not known, since it changed in the context: of all that the
        context uses.
        """
        index = self._places.of(context * self._regions + region)
        is_known = index >= 0
        result: Floats = self._of_context[context]
        result[is_known] = self._share[index[is_known]]
        return result


def _probabilities(
    distance_min: npt.NDArray[np.uint64], distance_max: npt.NDArray[np.uint64], cache: Cache
) -> tuple[Floats, Floats, Floats]:
    """How probably an access of each bin misses: low, likely and high."""
    size, ways = cache.llc_bytes, cache.llc_ways
    near, far = (miss_probability(d, size.likely, ways) for d in (distance_min, distance_max))
    likely = (near + far) / 2
    # In this order but for rounding.
    return (
        np.minimum(miss_probability(distance_min, size.high, ways), likely),
        likely,
        np.maximum(miss_probability(distance_max, size.low, ways), likely),
    )
