# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.comparison.operators import matched
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.model import OperatorTime


def graph(*names: str) -> list[OperatorTime]:
    """Operators from ``name:type``."""
    return [
        OperatorTime(index, index, name, kind, None, Range.exact(0), {}, {})
        for index, (name, _, kind) in enumerate(one.partition(":") for one in names)
    ]


def test_operators_of_one_name_and_type_are_the_same_wherever_they_are() -> None:
    pairs, match = matched(graph("a:Conv", "b:Relu", "c:Gemm"), graph("c:Gemm", "a:Conv", "b:Relu"))
    assert pairs == [(0, 1), (1, 2), (2, 0)]
    assert match.corresponds
    assert match.sentence == "The graphs correspond: all 3 operators."


def test_operators_of_one_side_are_listed() -> None:
    pairs, match = matched(graph("a:Conv", "b:Relu", "c:Gemm"), graph("a:Conv", "x:Add", "c:Gemm"))
    assert pairs == [(0, 0), (1, None), (2, 2), (None, 1)]
    assert (match.matched_count, match.before_only_count, match.after_only_count) == (2, 1, 1)
    assert match.corresponds


def test_operators_that_are_alike_align_by_their_surroundings() -> None:
    before = graph(":conv", ":relu", ":conv", ":relu", ":linear")
    after = graph(":conv", ":relu", ":pool", ":conv", ":relu", ":conv", ":relu", ":linear")
    pairs, match = matched(before, after)
    assert match.corresponds
    assert [after[j].type for i, j in pairs if i is not None and j is not None] == [
        before[i].type for i, j in pairs if i is not None and j is not None
    ]
    assert sum(i is None for i, _ in pairs) == 3


def test_graphs_that_meet_by_chance_do_not_correspond() -> None:
    before = graph(*(f"node_{i}:{'Conv' if i % 2 else 'Relu'}" for i in range(10)))
    after = graph(*(f"node_{i}:{'Conv' if i % 3 else 'Add'}" for i in range(10)))
    _, match = matched(before, after)
    assert not match.corresponds
    assert "compared by type" in match.sentence


@pytest.mark.parametrize("names", [(), ("a:Conv",)])
def test_an_empty_graph_corresponds_to_none(names: tuple[str, ...]) -> None:
    pairs, match = matched(graph(*names), graph())
    assert pairs == [(i, None) for i in range(len(names))]
    assert not match.corresponds


_NAMES = st.lists(st.sampled_from(["a:Conv", "b:Conv", "a:Relu", ":Add"]), max_size=8)


@given(_NAMES, _NAMES)
def test_each_operator_is_in_one_pair(before: list[str], after: list[str]) -> None:
    pairs, match = matched(graph(*before), graph(*after))
    assert Counter(i for i, _ in pairs if i is not None) == Counter(range(len(before)))
    assert Counter(j for _, j in pairs if j is not None) == Counter(range(len(after)))
    both = [(i, j) for i, j in pairs if i is not None and j is not None]
    assert len(both) == match.matched_count
    assert all(before[i] == after[j] for i, j in both)


@given(_NAMES)
def test_a_graph_corresponds_to_itself(names: list[str]) -> None:
    pairs, match = matched(graph(*names), graph(*names))
    assert pairs == [(i, i) for i in range(len(names))]
    assert match.corresponds == bool(names)
