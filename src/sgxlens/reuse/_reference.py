# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious twin of the native ReuseStack: it defines what that one computes."""

from __future__ import annotations

from collections.abc import Iterable
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


class ReuseStack:
    """An LRU stack: a list of blocks, the most recently used last."""

    def __init__(self, granularity: Literal["line", "page"], sampling_rate: float = 1.0) -> None:
        self.granularity = granularity
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

    def _access_block(self, block: int, access: int) -> None:
        phase = self.phase
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

    def end_phase(self) -> PhaseCounts:
        """The counts of the phase that ends here; the next one starts."""
        ended, self.phase = self.phase, PhaseCounts()
        return ended

    def whole(self) -> tuple[int, list[int]]:
        """Distinct blocks since the start: by any access, and by each class."""
        return len(self.stack), [len(blocks) for blocks in self.whole_by_class]
