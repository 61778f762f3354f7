# SPDX-License-Identifier: Apache-2.0
"""Made-up programs of a few accesses, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sgxlens.recording.format import ACCESS_CLASSES
from simulated import Extent, Program, Span

PHASES = ("load", "warm-up 1", "inference 1", "inference 2")
REGIONS = (
    ("anonymous", "unclassified"),
    ("constant", "weights"),
    ("produced", "activations"),
    ("constant", "weights"),
)
LINES = 4 * 64


def _accesses(lines: st.SearchStrategy[int], most: int) -> st.SearchStrategy[Any]:
    access = st.tuples(st.integers(1, 3), lines, st.sampled_from(ACCESS_CLASSES))
    return st.lists(access, min_size=1, max_size=most)


_SCATTERED = _accesses(st.integers(0, 40).map(lambda n: n * 37 % LINES), 8)
#: Many neighbours of many lines are used.
_DENSE = _accesses(st.integers(0, 23), 40)


@st.composite
def programs(draw: st.DrawFn, *, is_dense: bool = False) -> Program:
    lines = 24 if is_dense else LINES
    spans: list[Span] = []
    operators: list[str] = []
    for phase in range(len(PHASES)):
        for _ in range(draw(st.integers(0, 4))):
            operator = None
            if draw(st.booleans()):
                operator = len(operators)
                operators.append(f"op{operator}")
            accesses = draw(_DENSE if is_dense else _SCATTERED)
            spans.append(Span(phase, operator, tuple(accesses)))
    extents = [Extent(0, 0, LINES)]
    for _ in range(draw(st.integers(0, 6))):
        line = draw(st.integers(0, lines - 1))
        extents.append(
            Extent(
                region=draw(st.integers(0, len(REGIONS) - 1)),
                line=line,
                count=draw(st.integers(1, lines - line)),
                from_span=draw(st.integers(0, len(spans))),
            )
        )
    return Program(
        PHASES, spans, operators, REGIONS, extents, bin_width=draw(st.sampled_from([1, 3]))
    )
