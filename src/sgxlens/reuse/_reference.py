# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious twin of the native ReuseStack: it defines what that one computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

ACCESS_CLASSES = ("fetch", "load", "store", "kernel_read", "kernel_write")

SAMPLING_BITS = 24
_WORD = (1 << 64) - 1


def make_entry(line: int, access: int, *, continuation: bool = False) -> int:
    """An access as the stacks take it; access is an index into ACCESS_CLASSES."""
    return line << 4 | int(continuation) << 3 | access


def bin_bounds(distance: int) -> tuple[int, int]:
    """Least and greatest distance counted together with this one."""
    if distance < 64:
        return distance, distance
    octave = 1 << (distance.bit_length() - 1)
    width = octave // 16
    low = octave + (distance - octave) // width * width
    return low, low + width - 1


def sampling_hash(block: int) -> int:
    """A number below 2**SAMPLING_BITS, spread evenly over any regular pattern of blocks."""
    h = (block + 0x9E3779B97F4A7C15) & _WORD
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB & _WORD
    return (h ^ (h >> 31)) >> (64 - SAMPLING_BITS)


@dataclass
class PhaseCounts:
    """What happened in one phase, by index into ACCESS_CLASSES.

    Attributes:
        access_count: all accesses of a class.
        sampled_count: those to sampled blocks.
        cold_count: those to blocks never accessed before.
        distance_count: the others, by class and bounds of the bin their distance is in.
        blocks: distinct sampled blocks accessed.
        blocks_by_class: the same for each class.
        first_touch_count: blocks accessed for the first time ever.
    """

    access_count: list[int] = field(default_factory=lambda: [0] * len(ACCESS_CLASSES))
    sampled_count: list[int] = field(default_factory=lambda: [0] * len(ACCESS_CLASSES))
    cold_count: list[int] = field(default_factory=lambda: [0] * len(ACCESS_CLASSES))
    distance_count: dict[tuple[int, tuple[int, int]], int] = field(default_factory=dict)
    blocks: set[int] = field(default_factory=set)
    blocks_by_class: list[set[int]] = field(default_factory=lambda: [set() for _ in ACCESS_CLASSES])
    first_touch_count: int = 0


@dataclass
class ContextCounts:
    """What happened in one context since it began, or began again.

    Attributes:
        counts: accesses by the context of the block's previous access (None: cold), region, index
            into ACCESS_CLASSES and bounds of the bin their distance is in (None: cold).
        regions_asked: blocks in the order of their first accesses.
        told: in the order of the accesses, ("visit", block, access class), and ("note", block,
            access class) for the first access of a class to the block in this context, and in the
            visit if visits are wanted.
        recent: for each visit, the blocks from the least to the most recently used.
    """

    counts: dict[tuple[int | None, int, int, tuple[int, int] | None], int] = field(
        default_factory=dict
    )
    regions_asked: list[int] = field(default_factory=list)
    told: list[tuple[str, int, int]] = field(default_factory=list)
    recent: list[list[int]] = field(default_factory=list)


def _only_region(_block: int) -> int:
    return 0


class ReuseStack:
    """An LRU stack: a list of blocks, the most recently used last.

    Accesses at a distance (not scaled) of at least visit_distance, and cold ones, are visits.
    """

    def __init__(
        self,
        granularity: Literal["line", "page"],
        sampling_rate: float = 1.0,
        visit_distance: int | None = None,
    ) -> None:
        self.granularity = granularity
        self.visit_distance = visit_distance
        self.context = 0
        self.context_counts = ContextCounts()
        self.region_of: Callable[[int], int] = _only_region
        self.regions: dict[int, int] = {}  # of the blocks accessed since the context began
        self.told: set[tuple[int, int]] = set()
        self.last_context: dict[int, int] = {}
        self.threshold = max(1, int(sampling_rate * 2**SAMPLING_BITS + 0.5))
        self.stack: list[int] = []
        self.phase = PhaseCounts()
        self.whole_by_class: list[set[int]] = [set() for _ in ACCESS_CLASSES]

    def access(self, entries: Iterable[int]) -> None:
        """Takes accesses in program order."""
        for entry in entries:
            continuation, access = bool(entry & 8), entry & 7
            block = entry >> 4
            if self.granularity == "page":
                if continuation:
                    continue
                block >>= 6
            self.phase.access_count[access] += 1
            if sampling_hash(block) < self.threshold:
                self._access_block(block, access)

    def begin_context(self, context: int, region_of: Callable[[int], int]) -> None:
        """From here on accesses belong to this context, and blocks to these regions."""
        self.context = context
        self.region_of = region_of
        self.regions = {}
        self.told = set()

    def end_context(self) -> ContextCounts:
        """What was counted since the context began, or was last ended."""
        ended, self.context_counts = self.context_counts, ContextCounts()
        return ended

    def _attribute(self, block: int, access: int, distance: int | None, scaled: int | None) -> None:
        """Takes an access to the block, which is on top of the stack now."""
        context = self.context_counts
        if block not in self.regions:
            self.regions[block] = self.region_of(block)
            context.regions_asked.append(block)
        source = self.last_context.get(block)
        key = source, self.regions[block], access, None if scaled is None else bin_bounds(scaled)
        context.counts[key] = context.counts.get(key, 0) + 1
        self.last_context[block] = self.context
        if self.visit_distance is not None and (
            distance is None or distance >= self.visit_distance
        ):
            context.told.append(("visit", block, access))
            context.recent.append(list(self.stack))
            self.told -= {(block, c) for c in range(len(ACCESS_CLASSES))}
        if (block, access) not in self.told:
            self.told.add((block, access))
            context.told.append(("note", block, access))

    def _access_block(self, block: int, access: int) -> None:
        phase = self.phase
        distance = scaled = None
        phase.sampled_count[access] += 1
        phase.blocks.add(block)
        phase.blocks_by_class[access].add(block)
        self.whole_by_class[access].add(block)
        if block in self.stack:
            position = self.stack.index(block)
            distance = len(self.stack) - 1 - position
            # Rounded to the nearest, upwards in the middle.
            scaled = (distance * 2**SAMPLING_BITS + self.threshold // 2) // self.threshold
            key = access, bin_bounds(scaled)
            phase.distance_count[key] = phase.distance_count.get(key, 0) + 1
            del self.stack[position]
        else:
            phase.cold_count[access] += 1
            phase.first_touch_count += 1
        self.stack.append(block)
        self._attribute(block, access, distance, scaled)

    def end_phase(self) -> PhaseCounts:
        """The counts of the phase that ends here; the next one starts."""
        ended, self.phase = self.phase, PhaseCounts()
        return ended

    def whole(self) -> tuple[int, list[int]]:
        """Distinct blocks since the start: by any access, and by each class."""
        return len(self.stack), [len(blocks) for blocks in self.whole_by_class]
