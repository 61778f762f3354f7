# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.recording.operators.annotations import Operator, annotated_operators

ENDS = np.array([100, 200], dtype=np.int64)


def _operators(*rows: tuple[int, int, str, str]) -> tuple[list[Operator], list[str]]:
    columns = zip(*rows, strict=True)
    names = ("thread", "position", "kind", "text")
    kinds = {"(": "operator_begin", ")": "operator_end"}
    table = dict(zip(names, columns, strict=True))
    table["kind"] = [kinds.get(kind, kind) for kind in table["kind"]]  # type: ignore[assignment]
    found, notes = annotated_operators(table, ENDS)
    return sorted(found, key=lambda o: (o.start_position, -o.end_position)), notes


def _spans(operators: list[Operator]) -> list[tuple[int, str, int, int]]:
    return [(o.thread, o.name, o.start_position, o.end_position) for o in operators]


def test_begins_and_ends_pair_by_thread() -> None:
    found, notes = _operators(
        (1, 0, "(", "a"), (2, 5, "(", "x"), (1, 10, "(", "b"), (1, 20, ")", ""),
        (1, 21, "region", "weights:w"), (2, 25, ")", "x"), (1, 30, ")", "a"),
    )  # fmt: skip
    assert _spans(found) == [(1, "a", 0, 30), (2, "x", 5, 25), (1, "b", 10, 20)]
    assert notes == []


def test_json_tells_more() -> None:
    text = json.dumps(
        {
            "name": "layer.0", "type": "aten::addmm", "inputs": [{"float32": [2, 3]}],
            "outputs": [], "parameter_bytes": 24, "output_bytes": 8, "source": "torch",
        }
    )  # fmt: skip
    (found,), notes = _operators((1, 3, "(", text), (1, 9, ")", ""))
    assert found == Operator(
        1, 3, 9, "layer.0", "aten::addmm", '[{"float32":[2,3]}]', "[]", 24, None, 8, "torch"
    )
    assert notes == []


def test_a_note_adds_to_the_operator_that_ended_last() -> None:
    found, notes = _operators(
        (1, 0, "(", '{"name": "a", "type": "t", "source": "torch"}'), (1, 1, "(", "b"),
        (2, 2, "(", "c"), (1, 3, ")", ""), (2, 4, ")", ""),
        (1, 5, "operator_note", '{"outputs": [[1]]}'), (1, 6, ")", ""),
        (1, 7, "operator_note", '{"output_bytes": 0, "outputs": []}'),
        (3, 8, "operator_note", '{"name": "x"}'),
    )  # fmt: skip
    assert [(o.name, o.type, o.output_shapes, o.output_bytes, o.source) for o in found] == [
        ("a", "t", "[]", 0, "torch"),
        ("b", "", "[[1]]", None, "annotation"),
        ("c", "", "", None, "annotation"),
    ]
    assert len(notes) == 1
    assert "before they ended" in notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}}",
        "{" * 5000,
        '{"a":' * 1500,
        '{"name": NaN}',
        "{\ud800",
        '{"a":' + "9" * 5000 + "}",
    ],
)
def test_damaged_json_is_a_name_and_told(text: str) -> None:
    (found,), notes = _operators((1, 3, "(", text), (1, 9, ")", ""))
    assert found.name == text
    assert notes
    assert "damaged JSON" in notes[0]


@pytest.mark.parametrize("value", [-1, 2**63, True, 1.5, "8", None, [], {}])
def test_wrong_values_count_as_not_given(value: object) -> None:
    keys = ("name", "type", "source", "parameter_bytes")
    text = json.dumps({key: value for key in keys if key != "name" or value != "8"})
    (found,), notes = _operators((1, 3, "(", text), (1, 9, ")", ""))
    assert (found.name, found.source, found.parameter_bytes) == ("", "annotation", None)
    assert notes == []


def test_half_a_character_is_made_printable() -> None:
    (found,), _ = _operators((1, 3, "(", '{"name": "\\ud800x"}'), (1, 9, ")", ""))
    assert found.name == "\\ud800x"


def test_an_end_without_a_begin_is_told() -> None:
    found, notes = _operators((1, 3, ")", ""), (1, 5, "(", "a"), (1, 7, ")", "b"), (1, 9, ")", "a"))
    assert _spans(found) == [(1, "a", 5, 9)]
    assert notes == ["2 annotated operators ended without having begun"]


def test_an_operator_that_never_ends_lasts_until_its_phase_does() -> None:
    found, notes = _operators((1, 3, "(", "a"), (1, 120, "(", "b"), (2, 300, "(", "c"))
    assert _spans(found) == [(1, "a", 3, 200), (1, "b", 120, 200), (2, "c", 300, 300)]
    assert notes == ["3 annotated operators never ended (the first is 'b')"]


def test_an_operator_that_never_ends_lasts_until_the_one_around_it_does() -> None:
    found, notes = _operators((1, 3, "(", "a"), (1, 5, "(", "b"), (1, 7, ")", "a"))
    assert _spans(found) == [(1, "a", 3, 7), (1, "b", 5, 7)]
    assert notes == ["1 annotated operator never ended (the first is 'b')"]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2), st.integers(0, 9), st.sampled_from("()"), st.sampled_from("abc")
        ),
        min_size=1,
        max_size=30,
    )
)
def test_operators_nest_whatever_is_annotated(steps: list[tuple[int, int, str, str]]) -> None:
    position = 0
    rows = []
    for thread, step, kind, text in steps:
        position += step
        rows.append((thread, position, kind, text))
    found, notes = _operators(*rows)
    assert len(found) == sum(kind == "(" for _, _, kind, _ in rows)
    for one in found:
        assert one.start_position <= one.end_position
        for other in found:
            if one.thread == other.thread and one is not other:
                a, b, c, d = (
                    one.start_position,
                    one.end_position,
                    other.start_position,
                    other.end_position,
                )
                assert b <= c or d <= a or (a <= c and d <= b) or (c <= a and b <= d)
    ends = sum(kind == ")" for _, _, kind, _ in rows)
    if not notes:
        assert ends == len(found)
