# SPDX-License-Identifier: Apache-2.0
"""Programs that time nested operators, as ONNX Runtime does: what is placed is placed right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.recording.operators.matching import Outcome, Placement, match
from sgxlens.recording.operators.profile import Event, Profile

CLOCKS = (0, 1)
EPOCHS_NS = {0: 1_795_000_000_123_456_789, 1: 12_145_308_073_135}


@dataclass
class Program:
    """Threads that take turns; each reads its clock, and times what is between two reads."""

    now_ns: int = 0
    position: int = 0
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    events: list[tuple[Event, tuple[int, int]]] = field(default_factory=list)
    start_ns: int = 0
    opened: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def read(self, thread: int, clock: int = 0) -> int:
        self.rows.append((thread, self.position, clock, EPOCHS_NS[clock] + self.now_ns))
        return EPOCHS_NS[clock] + self.now_ns

    def step(self, action: str, thread: int, later_ns: int, accesses: int) -> None:
        self.now_ns += later_ns
        self.position += accesses
        stack = self.opened.setdefault(thread, [])
        if action == "other clock":
            self.read(thread, 1)
            return
        value = self.read(thread)
        if action == "begin":
            stack.append((value, self.position))
        elif action == "end" and stack:
            start, position = stack.pop()
            event = Event(
                100 + thread, (start - self.start_ns) // 1000, (value - start) // 1000, None
            )
            self.events.append((event, (position, self.position)))

    def columns(self) -> tuple[dict[str, Any], dict[str, Any]]:
        thread, position, clock, value = (
            np.array(column) for column in zip(*self.rows, strict=True)
        )
        clocks = {
            "thread": thread,
            "position": position,
            "clock": clock,
            "seconds": value // 10**9,
            "nanoseconds": value % 10**9,
        }
        numbers = np.arange(1, 4)
        threads = {
            "thread": numbers,
            "kernel_tid": numbers + 100,
            "start_position": np.zeros(3, dtype=np.int64),
            "end_position": np.zeros(3, dtype=np.int64),
            "ended": np.zeros(3, dtype=bool),
        }
        return clocks, threads


def _steps(later_ns: st.SearchStrategy[int], accesses: st.SearchStrategy[int]) -> Any:
    actions = st.sampled_from(["begin", "begin", "end", "end", "end", "noise", "other clock"])
    return st.lists(st.tuples(actions, st.integers(1, 3), later_ns, accesses), max_size=40)


def _run(steps: list[tuple[str, int, int, int]]) -> Program:
    program = Program()
    program.read(1)
    program.now_ns += 137
    program.start_ns = program.read(1)
    for step in steps:
        program.step(*step)
    return program


def _match(program: Program, order: Any, *, is_start_known: bool) -> Placement:
    events = [event for event, _ in program.events]
    shuffled = [events[i] for i in order]
    start_ns = program.start_ns if is_start_known else None
    return match(Profile(Path("p"), 1, tuple(shuffled), start_ns), *program.columns())


def _check(program: Program, order: list[int], placement: Placement) -> None:
    for index, event in enumerate(order):
        if placement.outcomes[index] == Outcome.PLACED:
            found = int(placement.starts[index]), int(placement.ends[index])
            assert found == program.events[event][1]
            assert placement.threads[index] + 100 == program.events[event][0].thread_id


@given(
    steps=_steps(st.integers(0, 1500), st.integers(0, 3)),
    is_start_known=st.booleans(),
    data=st.data(),
)
def test_what_is_placed_is_placed_right(
    steps: list[tuple[str, int, int, int]], is_start_known: bool, data: st.DataObject
) -> None:
    program = _run(steps)
    order = data.draw(st.permutations(range(len(program.events))))
    placement = _match(program, order, is_start_known=is_start_known)
    _check(program, order, placement)
    # The truth fits, so that nothing is without a read; equal events may contradict only if the
    # reads are indistinguishable.
    if is_start_known:
        assert placement.count(Outcome.NO_READ) == placement.count(Outcome.CONTRADICTORY) == 0


@given(
    steps=_steps(st.integers(1000, 9000), st.integers(1, 3)),
    order=st.randoms(use_true_random=False),
)
def test_everything_is_placed_where_reads_are_a_microsecond_apart(
    steps: list[tuple[str, int, int, int]], order: Any
) -> None:
    program = _run(steps)
    numbers = list(range(len(program.events)))
    order.shuffle(numbers)
    placement = _match(program, numbers, is_start_known=True)
    assert placement.count(Outcome.PLACED) == len(numbers)
    _check(program, numbers, placement)
