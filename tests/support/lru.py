# SPDX-License-Identifier: Apache-2.0
"""LRU by the book, for tests: a list of the blocks in the order of their last use.

Shares no code with the kernel nor with its twin.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

# Bounds of a bin, or None for cold accesses.
Bin = tuple[int, int] | None
Access = tuple[int, int]  # block, access class


def bin_of(distance: int) -> tuple[int, int]:
    """The bounds of the bin that counts a distance, after docs/recording-format.md."""
    if distance < 64:
        return distance, distance
    octave = 64
    while distance >= 2 * octave:
        octave *= 2
    width = octave // 16
    low = distance - distance % width
    return low, low + width - 1


class Stack:
    """The reuse distances of a sequence of accesses to blocks of one size."""

    def __init__(self) -> None:
        self._newest_first: list[int] = []
        self._known: set[int] = set()

    def distance(self, block: int) -> int | None:
        """Access `block`; return how many others were since the last time, None if never."""
        distance = None
        if block in self._known:
            distance = self._newest_first.index(block)
            del self._newest_first[distance]
        self._known.add(block)
        self._newest_first.insert(0, block)
        return distance

    def count(self, accesses: Iterable[Access]) -> Counter[tuple[int, Bin]]:
        """Make the accesses; return how many of each class fell into which bin."""
        counts: Counter[tuple[int, Bin]] = Counter()
        for block, access_class in accesses:
            distance = self.distance(block)
            counts[access_class, None if distance is None else bin_of(distance)] += 1
        return counts


def misses(accesses: Iterable[Access], capacity: int) -> int:
    """Misses of a fully associative LRU memory of `capacity` blocks."""
    held: OrderedDict[int, None] = OrderedDict()
    count = 0
    for block, _ in accesses:
        if block in held:
            held.move_to_end(block)
            continue
        count += 1
        held[block] = None
        if len(held) > capacity:
            held.popitem(last=False)
    return count
