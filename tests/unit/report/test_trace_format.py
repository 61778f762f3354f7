# SPDX-License-Identifier: Apache-2.0
"""What checks traces refuses what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sgxlens.report.export.trace import microseconds
from trace_format import TraceError, check_trace, nanoseconds

NAMES: list[dict[str, Any]] = [
    {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "p"}},
    {"name": "thread_name", "ph": "M", "pid": 1, "tid": 2, "args": {"name": "t"}},
]
PLACE = {"pid": 1, "tid": 2}
SLICE: dict[str, Any] = {"name": "a", "cat": "c", "ph": "X", "ts": 1, "dur": 5, **PLACE}
COUNTER: dict[str, Any] = {"name": "n", "ph": "C", "ts": 5, "pid": 1, "args": {"s": 1}}
BEGIN: dict[str, Any] = {"name": "a", "cat": "c", "ph": "B", "ts": 1, **PLACE}
END: dict[str, Any] = {"ph": "E", "ts": 3, **PLACE}


def trace(*events: dict[str, Any]) -> bytes:
    return json.dumps({"traceEvents": [*NAMES, *events]}).encode()


def test_good_traces_pass() -> None:
    instant = {"name": "i", "cat": "c", "ph": "i", "ts": 2.5, "s": "t", **PLACE}
    inner = {**SLICE, "ts": 2.001, "dur": 3.999}
    events = [SLICE, {**SLICE, "ts": 6}, inner, COUNTER, instant]
    pairs = [{**BEGIN, "ts": 7}, {**BEGIN, "ts": 8}, {**END, "ts": 9}, {**END, "ts": 11}]
    assert len(check_trace(trace(*events, *pairs))) == len(NAMES) + len(events) + len(pairs)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([{**SLICE, "ph": "Z"}], "unknown phase"),
        ([{name: value for name, value in SLICE.items() if name != "dur"}], "lacks {'dur'}"),
        ([{**SLICE, "duration": 1}], "has {'duration'}"),
        ([{**SLICE, "dur": -1}], "dur is no time"),
        ([{**SLICE, "ts": "1"}], "ts is no time"),
        ([{**SLICE, "ts": 1.0005}], "ts is no nanosecond"),
        ([{**SLICE, "tid": 0}], "tid"),
        ([{**SLICE, "tid": 3}], "without a name"),
        ([{**SLICE, "ts": 1}, {**SLICE, "ts": 2}], "overlap"),
        ([SLICE, {**SLICE, "ts": 5.999}], "overlap"),
        ([COUNTER, {**COUNTER, "ts": 4}], "goes back in time"),
        ([COUNTER, {**COUNTER, "args": {"other": 1}}], "other series"),
        ([{**COUNTER, "args": {"s": "1"}}], "no number"),
        ([BEGIN], "never ends"),
        ([END], "did not begin"),
        ([BEGIN, {**END, "ts": 0.5}], "goes back in time"),
        ([BEGIN, {**END, "name": "b"}], "ends another slice"),
        ([NAMES[0]], "named twice"),
        ([{**NAMES[1], "args": {"sort_index": 1}}], "metadata wants name"),
    ],
)
def test_bad_traces_are_refused(events: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(TraceError, match=why):
        check_trace(trace(*events))


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TraceError, match="NaN"):
        check_trace(trace({**SLICE, "dur": float("nan")}))


def test_times_keep_their_nanoseconds() -> None:
    times = [*range(20_000), *(10**12 + 7 * k for k in range(2000)), 2**52 + 1]
    assert [nanoseconds(json.loads(json.dumps(microseconds(t)))) for t in times] == times
    assert microseconds(1_500) == 1.5
