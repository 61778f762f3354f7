# SPDX-License-Identifier: Apache-2.0
"""The slow twin of `sgxlens.enclave.mappings.history`: one dictionary entry per mapped page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sgxlens.enclave.mappings.history import Event, State
from sgxlens.recording.format import PAGE_BYTES


@dataclass
class Moment:
    """What is true after an event, until the next one.

    Attributes:
        position: position of the event.
        pages: state of each mapped page, by its number.
        copied_bytes: size of the block that is kept beside its copy.
        resident: pages that hold something, at the end of that time.
        lazy_resident: those of them that were mapped with ``MAP_NORESERVE``.
        touched: pages that came to hold something in that time, each as often as it did.
        lazy_touched: those of them that were mapped with ``MAP_NORESERVE``.
    """

    position: int
    pages: dict[int, State]
    copied_bytes: int
    resident: set[int] = field(default_factory=set)
    lazy_resident: set[int] = field(default_factory=set)
    touched: list[int] = field(default_factory=list)
    lazy_touched: list[int] = field(default_factory=list)


class _Memory:
    """What is mapped, resident and allocated at one moment."""

    def __init__(self) -> None:
        self.pages: dict[int, State] = {}
        self.owner: dict[int, int] = {}
        self.resident: set[int] = set()
        self.touched: list[int] = []

    def touch(self, page: int) -> bool:
        """Whether the page held nothing before."""
        if page in self.resident:
            return False
        self.resident.add(page)
        if page in self.owner:
            self.touched[self.owner[page]] += 1
        return True

    def apply(self, event: Event) -> None:
        first = event.address // PAGE_BYTES
        chosen = range(first, first + event.size_bytes // PAGE_BYTES)
        if event.action in ("map", "discard"):
            self.touched.append(0)
        if event.action == "unmap":
            self.touched.append(len(self.resident.intersection(chosen)))
        if event.action == "move":
            self._move(chosen, first - event.from_address // PAGE_BYTES)
        for page in chosen:
            self._change(page, event)

    def _change(self, page: int, event: Event) -> None:
        if event.action in ("map", "unmap", "discard"):
            self.resident.discard(page)
        if event.action in ("map", "discard"):
            self.owner[page] = len(self.touched) - 1
        if event.action == "map":
            self.pages[page] = event.state
        elif event.action == "unmap":
            self.pages.pop(page, None)
            self.owner.pop(page, None)
        elif event.action == "protect" and page in self.pages:
            is_accessible = event.state.is_accessible
            self.pages[page] = self.pages[page]._replace(is_accessible=is_accessible)

    def _move(self, chosen: range, shift: int) -> None:
        for page in chosen:
            for known in (self.pages, self.owner):
                known.pop(page, None)
            self.resident.discard(page)
            if page - shift in self.pages:
                self.pages[page] = self.pages.pop(page - shift)
            if page - shift in self.owner:
                self.owner[page] = self.owner.pop(page - shift)
            if page - shift in self.resident:
                self.resident.remove(page - shift)
                self.resident.add(page)


def replay(
    events: Sequence[Event], touches: Sequence[tuple[int, int, bool]]
) -> tuple[list[Moment], list[int]]:
    """What is mapped and resident after each event, and the pages touched of each change.

    Args:
        events: changes of the address space, by position; ranges of a move do not overlap.
        touches: page number and position of accesses, and whether it is in the background; by
            position.
    """
    memory = _Memory()
    waiting = list(touches)
    moments = [Moment(0, {}, 0)]

    def advance(position: int | None) -> None:
        while waiting and (position is None or waiting[0][1] < position):
            page, _, is_background = waiting.pop(0)
            if memory.touch(page) and not is_background:
                moments[-1].touched.append(page)
        pages, resident = memory.pages, memory.resident
        moments[-1].resident = set(resident)
        lazy = {page for page, state in pages.items() if state.is_lazy}
        moments[-1].lazy_resident = resident & lazy
        moments[-1].lazy_touched = [page for page in moments[-1].touched if page in lazy]

    for event in events:
        advance(event.position)
        memory.apply(event)
        copied_bytes = event.size_bytes if event.action == "copy" else 0
        moments.append(Moment(event.position, dict(memory.pages), copied_bytes))
    advance(None)
    return moments, memory.touched
