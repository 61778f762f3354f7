# SPDX-License-Identifier: Apache-2.0
"""Replays of address spaces, range by range and page by page."""

from __future__ import annotations

import time
from typing import get_args

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sgxlens.enclave.mappings import _reference as twin
from sgxlens.enclave.mappings.history import Action, Event, State, Touches, replay
from sgxlens.recording.distinct import distinct_values
from sgxlens.recording.format import MAPPING_KINDS, PAGE_BYTES

_PAGES = 24
_ACTIONS: tuple[Action, ...] = get_args(Action)
_states = st.builds(
    State,
    st.integers(0, len(MAPPING_KINDS) - 1),
    is_accessible=st.booleans(),
    is_lazy=st.booleans(),
)


@st.composite
def _events(draw: st.DrawFn) -> list[Event]:
    events = []
    position = 0
    for _ in range(draw(st.integers(0, 12))):
        position += draw(st.integers(0, 3))
        action = draw(st.sampled_from(_ACTIONS))
        first = draw(st.integers(0, _PAGES - 1))
        count = draw(st.integers(1, _PAGES - first))
        source = 0
        if action == "move":
            # To pages that are not those moved, perhaps some that are never touched.
            source = draw(st.sampled_from([first + count, first + _PAGES, first + 2 * _PAGES]))
        events.append(
            Event(
                position,
                action,
                first * PAGE_BYTES,
                count * PAGE_BYTES,
                state=draw(_states),
                from_address=source * PAGE_BYTES,
            )
        )
    return events


@settings(max_examples=100)
@example(
    # What is touched of a change may have come from a page that never is.
    events=[
        Event(0, "map", 0, 2 * PAGE_BYTES),
        Event(0, "move", 0, PAGE_BYTES, from_address=PAGE_BYTES),
    ],
    touched=[(0, 0, False)],
)
@example(
    # What moves stays resident and mapped with MAP_NORESERVE.
    events=[
        Event(0, "map", 2 * PAGE_BYTES, PAGE_BYTES, State(1, is_accessible=True, is_lazy=True)),
        Event(2, "move", 0, PAGE_BYTES, from_address=2 * PAGE_BYTES),
        Event(4, "unmap", 0, PAGE_BYTES),
    ],
    touched=[(2, 1, False)],
)
@given(
    _events(),
    st.lists(
        st.tuples(st.integers(0, 2 * _PAGES), st.integers(0, 40), st.booleans()), max_size=60
    ).map(lambda found: sorted(found, key=lambda touch: touch[1])),
)
def test_replay_is_that_of_the_twin(
    events: list[Event], touched: list[tuple[int, int, bool]]
) -> None:
    touches = Touches(
        distinct_values(np.array([page for page, _, _ in touched], dtype=np.uint64)),
        np.array([position for _, position, _ in touched], dtype=np.uint64),
        np.array([is_background for _, _, is_background in touched], dtype=np.bool_),
    )
    moments, counts = twin.replay(events, touched)
    history = replay(events, touches)
    assert history.position.tolist() == [m.position for m in moments]
    assert history.copied_bytes.tolist() == [m.copied_bytes for m in moments]
    pages = [list(m.pages.values()) for m in moments]
    assert history.mapped_bytes.tolist() == [len(p) * PAGE_BYTES for p in pages]
    assert history.inaccessible_bytes.tolist() == [
        sum(not state.is_accessible for state in p) * PAGE_BYTES for p in pages
    ]
    assert history.lazy_bytes.tolist() == [sum(s.is_lazy for s in p) * PAGE_BYTES for p in pages]
    for number, kind in enumerate(MAPPING_KINDS):
        assert history.kind_bytes(kind).tolist() == [
            sum(state.kind == number for state in p) * PAGE_BYTES for p in pages
        ]
    assert history.resident_page_count is not None
    assert history.lazy_resident_page_count is not None
    assert history.resident_page_count.tolist() == [len(m.resident) for m in moments]
    assert history.lazy_resident_page_count.tolist() == [len(m.lazy_resident) for m in moments]
    assert history.touched_page_count is not None
    assert history.lazy_touched_page_count is not None
    assert history.touched_page_count.tolist() == [len(m.touched) for m in moments]
    assert history.lazy_touched_page_count.tolist() == [len(m.lazy_touched) for m in moments]
    assert [change.touched_page_count for change in history.changes] == counts
    without = replay(events, None)
    assert without.mapped_bytes.tolist() == history.mapped_bytes.tolist()
    assert without.resident_page_count is None


def test_fifty_thousand_events_take_well_under_a_second() -> None:
    random = np.random.default_rng(1)
    state = State(1, is_accessible=True, is_lazy=False)
    events = []
    for position in range(50_000):
        address = int(random.integers(0, 1 << 18)) * PAGE_BYTES
        size_bytes = int(random.integers(1, 64)) * PAGE_BYTES
        action = _ACTIONS[position % 3]  # map, unmap, protect
        events.append(Event(position, action, address, size_bytes, state))
    start = time.process_time()
    history = replay(events, None)
    assert time.process_time() - start < 1
    assert history.mapped_bytes[-1] > 0
