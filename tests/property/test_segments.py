# SPDX-License-Identifier: Apache-2.0
"""Runs that recur are taken by segments: nothing that is found may depend on it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from sgxlens._native import SegmentUse
from sgxlens.recording._reference import Kind, Op, decode
from streams import Record, analyse, assert_same, define, exit_word, operation, record, words_of

# Apart; side by side; the same; in the same pages as the code and as the absolute loads.
_PLACES = (0x10_0000, 0x20_0000, 0x20_1000, 0x10_0000, 0x40_1000, 0x7FFF_FFFF_0000)


@st.composite
def _loops(draw: st.DrawFn) -> list[Record]:
    """Loops that run again and again, with pointers that start elsewhere each time."""
    choose = draw(st.randoms(use_true_random=False))
    records: list[Record] = []
    value_counts: list[int] = []
    for number in range(choose.randint(2, 5)):
        value_count = choose.randint(1, 4)
        operations = [
            operation(Op.FETCH, streams.BASE_NONE, 16, 0x401000 + 64 * (4 * number + i))
            for i in range(choose.randint(1, 3))
        ]
        operations += [
            operation(
                choose.choice([Op.LOAD, Op.LOAD, Op.STORE]),
                choose.randrange(value_count),
                choose.choice([4, 8, 32, 64]),
                choose.choice([0, 0, 8, 60, 64, -8, 4096]),
            )
            for _ in range(choose.randint(4, 20))
        ]
        exits = [exit_word(len(operations), value_count, 7)]
        records.append(define(number, exits, operations))
        value_counts.append(value_count)
    loops = [
        [
            (number, [(choose.randrange(3), choose.choice([0, 0, 8, 64])) for _ in range(count)])
            for number in choose.choices(range(len(value_counts)), k=choose.randint(1, 4))
            for count in [value_counts[number]]
        ]
        for _ in range(2)
    ]
    for _ in range(draw(st.integers(2, 12))):
        if choose.random() < 0.3:
            records.append(choose.choice([streams.mark(b"next"), record(Kind.TICK, 0, [1])]))
        starts = [choose.choice(_PLACES) + 64 * choose.randrange(64) for _ in range(3)]
        for turn in range(choose.choice([4, 20, 60])):
            for number, pointers in choose.choice(loops[:1] if turn % 8 else loops):
                values = [starts[i] + stride * turn for i, stride in pointers]
                records.append(record(Kind.RUN, number, values))
    return records


@given(_loops(), st.data())
@settings(max_examples=40)
def test_segments_change_nothing(records: list[Record], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(records)))
    chunks = [words_of(records[:cut]), words_of(records[cut:])]
    decoder = decode([words_of(records)])
    for use in (SegmentUse.NEVER, SegmentUse.WHERE_IT_PAYS, SegmentUse.ALWAYS):
        assert_same(analyse(chunks, segments=use), decoder)


def test_loops_are_taken_by_segments() -> None:
    # Else the tests above would test nothing.
    operations = [operation(Op.LOAD, 0, 8, 64 * i) for i in range(16)]
    records = [define(0, [exit_word(16, 1, 1)], operations)]
    records += [record(Kind.RUN, 0, [0x10_0000 + 64 * i]) for i in range(2000)]
    words = words_of(records)
    analysis = analyse([words])
    assert analysis.segment_access_count > 0.9 * analysis.line_access_count
    assert_same(analysis, decode([words]))
    assert analyse([words], segments=SegmentUse.NEVER).segment_access_count == 0
    assert analyse([words], sampling_rate=0.5).segment_access_count == 0
