# SPDX-License-Identifier: Apache-2.0
"""The native attribution against its twin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from sgxlens._native import COLD_BIN, Analysis, SegmentUse, distance_bins
from sgxlens.recording._attribution_reference import (
    UNMAPPED,
    AttributingDecoder,
    Context,
    Region,
    Source,
    attribute,
)
from sgxlens.recording._reference import Kind, Op
from sgxlens.recording.format import REGION_KINDS
from streams import Record, define, exit_word, mark, operation, record, text, words_of

PAGE = 4096
FILE, HEAP, STACK = 1 | 2 | 16, 1 | 2 | 64, 1 | 2 | 128
CODE = 1 | 4 | 16

Words = npt.NDArray[np.uint64]


def native(
    chunks: Sequence[Words],
    *,
    split: bool = False,
    segments: SegmentUse = SegmentUse.ALWAYS,
    has_threads: bool = False,
    interval: int = 1,
) -> Analysis:
    analysis = Analysis(
        segments=segments,
        split_at_clock_reads=split,
        has_threads=has_threads,
        line_use_interval=interval,
    )
    for chunk in chunks:
        analysis.feed(chunk)
    analysis.finish()
    return analysis


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    columns = [v if isinstance(v, list) else v.tolist() for v in table.values()]
    return [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]


def native_regions(analysis: Analysis) -> list[Region]:
    return [
        Region(REGION_KINDS[row["kind"]], row["name"], row["owner"] if row["has_owner"] else None)
        for row in rows(analysis.regions())
    ]


def native_sources(analysis: Analysis) -> Counter[Source]:
    regions = native_regions(analysis)
    counts: Counter[Source] = Counter()
    least, greatest = (np.asarray(distances).tolist() for distances in distance_bins())
    for row in rows(analysis.reuse_sources()):
        distance_bin = row["distance_bin"]
        cold = distance_bin == COLD_BIN
        key = Source(
            row["context"],
            None if cold else row["source"],
            ("line", "page")[row["granularity"]],
            regions[row["region"]],
            row["access"],
            None if cold else (least[distance_bin], greatest[distance_bin]),
        )
        counts[key] += row["count"]
    return counts


def assert_same(analysis: Analysis, twin: AttributingDecoder) -> None:
    assert [Context(**row) for row in rows(analysis.contexts())] == twin.contexts
    assert native_sources(analysis) == twin.sources()
    use = {
        (row["context"], row["page"]): (row["lines"], row["written_lines"], row["fetched_lines"])
        for row in rows(analysis.page_use())
    }
    assert use == twin.page_use()
    lines = {
        (row["context"], row["line"]): (row["bytes"], row["written_bytes"])
        for row in rows(analysis.line_use())
    }
    assert lines == twin.line_use(analysis.line_use_interval)
    assert_same_extents(analysis, twin)


def assert_same_extents(analysis: Analysis, twin: AttributingDecoder) -> None:
    """The extents, one over the other, end as what each accessed line is of."""
    regions = native_regions(analysis)
    extents = rows(analysis.extents())
    assert extents == sorted(extents, key=lambda row: row["start_position"])
    for line in {entry >> 4 for entry in twin.entries}:
        found = [
            regions[row["region"]]
            for row in extents
            if row["address"] <= line * 64 < row["address"] + row["size_bytes"]
        ]
        assert (found or [UNMAPPED])[-1] == twin.region_of(line)


def assert_sums(analysis: Analysis) -> None:
    """The sources of a phase's contexts add up to its histograms."""
    phases = analysis.contexts()["phase"]
    sums: Counter[tuple[int, ...]] = Counter()
    least = np.asarray(distance_bins()[0]).tolist()
    for row in rows(analysis.reuse_sources()):
        phase = int(phases[row["context"]])
        cold = row["distance_bin"] == COLD_BIN
        distance = 0 if cold else least[row["distance_bin"]]
        sums[phase, row["granularity"], row["access"], cold, distance] += row["count"]
    expected = {
        (row["phase"], *(row[k] for k in ("granularity", "access", "cold", "distance_min"))): row[
            "count"
        ]
        for row in rows(analysis.reuse())
    }
    assert sums == expected


INTERVALS = st.sampled_from([1, 1, 2, 8, 64])


@given(streams.valid_streams(), st.booleans(), INTERVALS)
@settings(max_examples=60)
def test_native_equals_twin(records: list[Record], split: bool, interval: int) -> None:
    words = words_of(records)
    analysis = native([words], split=split, interval=interval)
    assert_same(analysis, attribute([words], split_at_clock_reads=split))
    assert_sums(analysis)


# ---- streams more like a model's ----

ARENA = 0x7F00_0000_0000
MARKS = [b"load", b"Warmup 1", b"inference 1", b"Inference 2", b"inferences"]


def touch(address: int, line_count: int, *, write: bool) -> Record:
    """A run of superblock 0 (loads) or 1 (stores): 16 lines from `address` on, twice."""
    assert line_count == 16
    return record(Kind.RUN, int(write), [address])


DEFINITIONS = [
    define(0, [exit_word(16, 1, 16)], [operation(Op.LOAD, 0, 8, 64 * i) for i in range(16)]),
    define(1, [exit_word(16, 1, 16)], [operation(Op.STORE, 0, 8, 64 * i) for i in range(16)]),
    define(2, [exit_word(1, 0, 4)], [operation(Op.FETCH, streams.BASE_NONE, 16, 0x401000)]),
]

_blocks = st.builds(
    lambda page, part: ARENA + page * PAGE + part * 1024, st.integers(0, 5), st.integers(0, 3)
)
_touches = st.builds(lambda address, write: touch(address, 16, write=write), _blocks, st.booleans())
_events = st.one_of(
    st.builds(lambda t: record(Kind.THREAD, t), st.integers(1, 2)),
    st.just(record(Kind.CLOCK, 0, [1, 2])),
    st.just(record(Kind.RUN, 2)),
    st.builds(lambda a: record(Kind.KERNEL_WRITE, 0, [a, 1024]), _blocks),
    st.builds(
        lambda a, flags: record(Kind.MAP, flags, [a, PAGE, 0, 1, *text(b"f")]),
        _blocks,
        st.sampled_from([3, HEAP, FILE, CODE, STACK]),
    ),
    st.builds(
        lambda kind, a: record(Kind.ANNOTATION, kind, [a, 2048, 9, *text(b"weights:w")]),
        st.integers(1, 5),
        _blocks,
    ),
    st.builds(lambda a: record(Kind.UNMAP, 0, [a, 2048]), _blocks),
    st.builds(lambda a: record(Kind.PROTECT, 5, [a, PAGE]), _blocks),
    st.builds(lambda a: record(Kind.THREAD_START, 2, [1, a, 7]), _blocks),
)


@st.composite
def model_streams(draw: st.DrawFn) -> list[Record]:
    records = [*DEFINITIONS, record(Kind.MAP, 3, [ARENA, 6 * PAGE, 0, 0])]
    # Few runs, often repeated: what segments are made for.
    loops = draw(st.lists(st.lists(_touches, min_size=1, max_size=6), min_size=1, max_size=4))
    for name in MARKS:
        records.append(mark(name))
        for _ in range(draw(st.integers(0, 4))):
            records += draw(st.sampled_from(loops)) * draw(st.integers(1, 8))
            if draw(st.booleans()):
                records.append(draw(_events))
    return records


@given(
    model_streams(),
    st.booleans(),
    st.sampled_from([SegmentUse.NEVER, SegmentUse.ALWAYS]),
    st.booleans(),
    INTERVALS,
)
@settings(max_examples=30)
def test_native_equals_twin_on_models(
    records: list[Record], split: bool, segments: SegmentUse, has_threads: bool, interval: int
) -> None:
    words = words_of(records)
    analysis = native(
        [words], split=split, segments=segments, has_threads=has_threads, interval=interval
    )
    assert_same(analysis, attribute([words], split_at_clock_reads=split))
    assert_sums(analysis)


def test_what_an_inference_only_reads_is_told_from_what_it_writes() -> None:
    weights, activations = ARENA, ARENA + 4 * PAGE
    inference = [touch(weights, 16, write=False), touch(activations, 16, write=True)]
    records = [
        *DEFINITIONS,
        record(Kind.MAP, 3, [ARENA, 6 * PAGE, 0, 0]),
        touch(weights, 16, write=True),
        *(r for name in MARKS[1:4] for r in (mark(name), *inference)),
    ]
    analysis = native([words_of(records)])
    regions = native_regions(analysis)
    extents = [
        (regions[row["region"]].kind, row["address"], row["size_bytes"])
        for row in rows(analysis.extents())
    ]
    assert ("constant", weights, 1024) in extents
    assert ("scratch", activations, 1024) in extents
    last = len(analysis.contexts()["phase"]) - 1
    kinds = {
        s.region.kind: n
        for s, n in native_sources(analysis).items()
        if s.context == last and s.granularity == "line"
    }
    assert set(kinds) == {"constant", "scratch"}


def test_a_sampled_analysis_attributes_nothing() -> None:
    analysis = Analysis(sampling_rate=0.5)
    analysis.finish()
    assert not analysis.is_attributed
    with pytest.raises(ValueError, match="not attributed"):
        analysis.contexts()
