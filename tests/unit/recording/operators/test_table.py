# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.recording.operators import ProcessEvents, operator_at, operators_of
from sgxlens.recording.operators.profile import Event, Node, Profile
from sgxlens.recording.schemas import TABLES

PHASES = {"start_position": np.array([0, 100, 200]), "end_position": np.array([100, 200, 300])}
MICROSECOND = 1000


def _process(
    reads: list[tuple[int, int, int]] = [],  # noqa: B006 - not changed
    annotations: list[tuple[int, int, str, str]] = [],  # noqa: B006
    pid: int = 50,
) -> ProcessEvents:
    """A process; a read is its thread, its position and its value in microseconds."""
    threads, positions, values = np.array(reads, dtype=np.int64).reshape(-1, 3).T
    clocks = {
        "thread": threads,
        "position": positions,
        "clock": np.zeros(len(threads)),
        "seconds": np.zeros(len(threads)),
        "nanoseconds": values * MICROSECOND,
    }
    described = {
        "thread": np.array([1, 2]),
        "kernel_tid": np.array([50, 60]),
        "start_position": np.array([0, 0]),
        "end_position": np.array([0, 0]),
        "ended": np.array([False, False]),
    }
    names = ("thread", "position", "kind", "text")
    table: dict[str, Any] = {name: [row[i] for row in annotations] for i, name in enumerate(names)}
    return ProcessEvents(pid, clocks, PHASES, described, table)


def _node(name: str) -> Node:
    return Node(name, "Add", "CPUExecutionProvider", "[]", "[]", 1, 2, None)


def _profile(*events: tuple[int, int, int, str], pid: int = 50) -> Profile:
    """A profile that starts at 0; an event is its thread, start, duration and name."""
    kept = tuple(Event(tid, ts, dur, _node(name)) for tid, ts, dur, name in events)
    return Profile(Path("dir/p.json"), pid, kept, 0)


def test_the_columns_are_those_of_the_table() -> None:
    for process in (_process(), _process(annotations=[(1, 0, "operator_begin", "a")])):
        (columns,) = operators_of([process], []).columns
        schema = TABLES["operators"].schema
        assert set(columns) | {"process"} == set(schema.names)
        assert {name: c.type for name, c in columns.items()} == {
            name: schema.field(name).type for name in columns
        }


def test_operators_have_a_phase_an_index_and_a_parent() -> None:
    reads = [(1, 10, 1), (1, 50, 9), (1, 110, 11), (1, 120, 12), (1, 130, 13), (1, 180, 19)]
    profile = _profile((50, 1, 8, "a"), (50, 11, 8, "loop"), (50, 12, 1, "body"))
    process = _process(reads, [(1, 0, "operator_begin", "run"), (1, 190, "operator_end", "")])
    found = operators_of([_process(), process], [Profile(profile.path, 51, profile.events, 0)])
    assert "which was not recorded" in found.notes[0]
    found = operators_of([_process(pid=9), process], [profile])
    assert found.notes == []
    assert len(found.columns[0]["name"]) == 0
    rows = {name: values.to_pylist() for name, values in found.columns[1].items()}
    assert rows["name"] == ["run", "a", "loop", "body"]
    assert rows["operator"] == [0, 1, 2, 3]
    assert rows["phase"] == [0, 0, 1, 1]
    assert rows["index"] == [0, 1, 0, 1]
    assert rows["parent"] == [None, 0, 0, 2]
    assert rows["start_position"] == [0, 10, 110, 120]
    assert rows["end_position"] == [190, 50, 180, 130]
    assert rows["parameter_bytes"] == [None, 1, 1, 1]
    assert rows["source"] == ["annotation"] + ["onnxruntime_profile"] * 3


def test_what_ended_before_the_recording_started_is_left_out() -> None:
    reads = [(1, 0, 1), (1, 0, 2), (1, 0, 3), (1, 20, 9)]
    process = _process(reads, [(1, 0, "operator_begin", "x"), (1, 0, "operator_end", "")])
    found = operators_of([process], [_profile((50, 1, 1, "a"), (50, 3, 6, "b"))])
    assert found.notes == []
    assert found.columns[0]["name"].to_pylist() == ["b"]
    assert found.columns[0]["index"].to_pylist() == [0]


def test_of_programs_under_one_pid_the_one_that_fits_is_taken() -> None:
    found = operators_of(
        [_process([(1, 5, 77)]), _process([(1, 10, 1), (1, 50, 9)])], [_profile((50, 1, 8, "a"))]
    )
    assert [c["name"].to_pylist() for c in found.columns] == [[], ["a"]]


@pytest.mark.parametrize(
    ("events", "note"),
    [
        ([(50, 500, 2, "a")], "no clock read of the process fits any of its 1 operators"),
        (
            [(50, 1, 8, "a"), (50, 99, 2, "b"), (50, 11, 8, "c"), (50, 11, 8, "d")],
            "3 of 4 operators of the profile p.json are left out: 1 without a clock read",
        ),
        (
            [(50, 1, 8, "a"), (50, 30, 5, "b")],
            "1 of 2 operators of the profile p.json are left out",
        ),
    ],
)
def test_what_is_not_placed_is_counted(events: list[tuple[int, int, int, str]], note: str) -> None:
    reads = [(1, 10, 1), (1, 50, 9), (1, 110, 11), (1, 180, 19), (1, 200, 30), (1, 201, 30),
             (1, 220, 35)]  # fmt: skip
    (found,) = operators_of([_process(reads)], [_profile(*events)]).notes
    assert note in found


def test_a_profile_without_nodes_is_told() -> None:
    profile = Profile(Path("p"), 50, (Event(50, 1, 2, None),), 0)
    (note,) = operators_of([_process([(1, 10, 1)])], [profile]).notes
    assert note == "the profile p has no operators: no inference ran to its end"


def test_workers_belong_to_the_operator_that_is_open_elsewhere() -> None:
    operators = {"thread": [1, 1, 2], "start_position": [10, 20, 50], "end_position": [60, 30, 80]}
    threads, positions, expected = zip(
        (1, 9, -1), (1, 10, 0), (1, 20, 1), (1, 29, 1), (1, 30, 0), (1, 60, -1),
        (2, 25, -1), (2, 50, 2), (2, 79, 2), (2, 80, -1),
        (3, 9, -1), (3, 25, 1), (3, 40, 0), (3, 55, -1), (3, 65, 2), (3, 90, -1),
        strict=True,
    )  # fmt: skip
    assert operator_at(operators, threads, positions).tolist() == list(expected)


def test_without_operators_nothing_belongs_to_one() -> None:
    empty: dict[str, list[int]] = {"thread": [], "start_position": [], "end_position": []}
    assert operator_at(empty, [1, 2], [5, 6]).tolist() == [-1, -1]
    assert operator_at(empty, [], []).tolist() == []


@given(
    spans=st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 30), st.integers(0, 30)), max_size=8
    ),
    thread=st.integers(1, 4),
)
def test_the_operator_is_the_open_one_that_started_last(
    spans: list[tuple[int, int, int]], thread: int
) -> None:
    spans = sorted(((t, min(a, b), max(a, b)) for t, a, b in spans), key=lambda s: (s[1], -s[2]))
    threads, starts, ends = (
        np.array(spans, dtype=np.int64).reshape(-1, 3).T if spans else np.zeros((3, 0), np.int64)
    )
    operators = {"thread": threads, "start_position": starts, "end_position": ends}
    found = operator_at(operators, np.full(32, thread), np.arange(32))
    for position in range(32):
        is_open = [i for i, (_, a, b) in enumerate(spans) if a <= position < b]
        if thread in threads:
            is_open = [i for i in is_open if spans[i][0] == thread]
        is_unclear = len({spans[i][0] for i in is_open}) > 1
        assert found[position] == (-1 if is_unclear or not is_open else max(is_open))
