# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.prediction.compose import compose
from sgxlens.prediction.model import NativeBasis
from sgxlens.recording.reader import Operator, Phase
from sgxlens.report.export.timing import Clock, clock

PHASE = Phase(0, 3, "inference", 1000, 1100, 0, 1, 1)


def operator(number: int, start: int, end: int) -> Operator:
    return Operator(
        0, number, 3, number, None, 1, f"op {number}", "Conv", 1000 + start, 1000 + end,
        "", "", None, None, None, "",
    )  # fmt: skip


def made(operators: list[Operator], seconds: dict[int, float], whole: float) -> Clock:
    native = NativeBasis(whole, whole, whole, 1, "given")
    return clock(PHASE, compose(PHASE, native, [], operators, seconds), operators)


def own_seconds(found: Clock) -> dict[int | None, float]:
    spent: defaultdict[int | None, float] = defaultdict(float)
    edges = found.seconds.tolist()
    for owner, start, end in zip(found.owners, edges, edges[1:], strict=False):
        spent[owner] += end - start
    return spent


def test_nested_operators_take_their_time_within_the_outer_one() -> None:
    operators = [operator(0, 10, 60), operator(1, 20, 30), operator(2, 70, 80)]
    found = made(operators, {0: 4.0, 1: 3.0, 2: 2.0}, 10.0)
    assert own_seconds(found) == pytest.approx({None: 1.0, 0: 4.0, 1: 3.0, 2: 2.0})
    assert found.at(1000) == 0
    assert found.at(1030) - found.at(1020) == pytest.approx(3.0)
    assert found.at(1060) - found.at(1010) == pytest.approx(7.0)
    assert found.at(1100) == found.at(9999) == pytest.approx(10.0)


def test_without_operators_time_passes_evenly() -> None:
    found = made([], {}, 8.0)
    assert found.at(1025) == pytest.approx(2.0)


_SPANS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8)


@given(_SPANS, st.lists(st.floats(0, 1e3), min_size=8, max_size=8), st.floats(1e-6, 1e3))
def test_time_never_goes_back_and_ends_with_the_phase(
    spans: list[tuple[int, int]], seconds: list[float], between: float
) -> None:
    operators = [operator(i, *sorted(span)) for i, span in enumerate(spans)]
    times = dict(zip(range(len(spans)), seconds, strict=False))
    whole = math.fsum(times.values()) + between
    found = made(operators, times, whole)
    edges = found.seconds.tolist()
    assert edges == sorted(edges)
    assert found.seconds[0] == 0
    assert found.seconds[-1] == pytest.approx(whole)
    spent = own_seconds(found)
    if {None, *times} == set(spent):  # each has accesses of its own
        for number, own in times.items():
            assert spent[number] == pytest.approx(own, abs=1e-9 * whole)
