# SPDX-License-Identifier: Apache-2.0
"""Checks traces against the Trace Event Format, the document of Chromium's trace viewer.

Stricter than viewers are, which leave out what they do not understand: unknown phases and fields
are refused, and slices must nest to the nanosecond as Perfetto reads times, which multiplies
microseconds by 1,000 and cuts off the rest
(google/perfetto:src/trace_processor/importers/json/json_utils.cc, CoerceToTs()).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]
Track = tuple[int, int]

#: By phase, the fields that an event must have, and those that it may have.
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "B": ({"name", "cat", "ph", "ts", "pid", "tid"}, {"args"}),
    "E": ({"ph", "ts", "pid", "tid"}, {"name", "cat", "args"}),
    "X": ({"name", "cat", "ph", "ts", "dur", "pid", "tid"}, {"args"}),
    "i": ({"name", "cat", "ph", "ts", "pid", "tid", "s"}, {"args"}),
    "C": ({"name", "ph", "ts", "pid", "args"}, {"cat", "id"}),
    "M": ({"name", "ph", "pid", "args"}, {"tid", "ts", "cat"}),
}
#: What metadata may say, its argument, the argument's type, and whether it is of a thread.
METADATA: dict[str, tuple[str, type, bool]] = {
    "process_name": ("name", str, False),
    "process_labels": ("labels", str, False),
    "process_sort_index": ("sort_index", int, False),
    "thread_name": ("name", str, True),
    "thread_sort_index": ("sort_index", int, True),
}
TOP_LEVEL = {"traceEvents", "displayTimeUnit", "otherData"}


class TraceError(Exception):
    """A trace is not as the format wants it."""


def check_trace(text: bytes) -> list[Event]:
    """The events of a trace.

    Raises:
        TraceError: it is none.
    """
    content = json.loads(
        text.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_duplicates
    )
    _want(set(content) <= TOP_LEVEL, f"unknown fields: {set(content) - TOP_LEVEL}")
    _want(content.get("displayTimeUnit", "ms") in ("ms", "ns"), "displayTimeUnit is ms or ns")
    events: list[Event] = content["traceEvents"]
    for event in events:
        _check_event(event)
    _check_counters(events)
    _check_names(events)
    spans = _spans(events)
    for track, found in spans.items():
        _check_nesting(track, found)
    return events


def nanoseconds(microseconds: float) -> int:
    """A time as Perfetto reads it."""
    return int(microseconds * 1000)


def _want(condition: object, why: str) -> None:
    if not condition:
        raise TraceError(why)


def _no_constant(name: str) -> Any:
    raise TraceError(f"{name} is no JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _want(len(found) == len(pairs), f"a field occurs twice: {[name for name, _ in pairs]}")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_event(event: Event) -> None:
    phase = event.get("ph", "")
    _want(phase in FIELDS, f"unknown phase: {event}")
    needed, possible = FIELDS[phase]
    _want(needed <= set(event), f"lacks {needed - set(event)}: {event}")
    _want(set(event) <= needed | possible, f"has {set(event) - needed - possible}: {event}")
    for field in ("name", "cat"):
        _want(isinstance(event.get(field, ""), str), f"{field} is no text: {event}")
    _want(event.get("name", "-"), f"has no name: {event}")
    _want(_is_integer(event["pid"]) and event["pid"] > 0, f"pid is no number above 0: {event}")
    # Importers keep 0 for the idle thread.
    _want(_is_integer(event.get("tid", 1)) and event.get("tid", 1) > 0, f"tid: {event}")
    for field in ("ts", "dur"):
        value = event.get(field, 0)
        _want(_is_number(value) and value >= 0, f"{field} is no time: {event}")
        exact = value * 1000
        _want(abs(exact - nanoseconds(value)) < 1e-3, f"{field} is no nanosecond: {event}")
    _want(isinstance(event.get("args", {}), dict), f"args is no object: {event}")
    if phase == "i":
        _want(event["s"] in ("t", "p", "g"), f"unknown scope: {event}")
    elif phase == "C":
        _want(event["args"], f"a counter without a series: {event}")
        _want(all(map(_is_number, event["args"].values())), f"a counter is no number: {event}")
    elif phase == "M":
        _want(event["name"] in METADATA, f"unknown metadata: {event}")
        argument, kind, is_of_thread = METADATA[event["name"]]
        _want(list(event["args"]) == [argument], f"metadata wants {argument}: {event}")
        _want(type(event["args"][argument]) is kind, f"metadata of another type: {event}")
        _want(("tid" in event) == is_of_thread, f"metadata of another thing: {event}")


def _check_counters(events: Iterable[Event]) -> None:
    """The series of a counter do not change, and it goes on in time."""
    last: dict[tuple[int, str, object], Event] = {}
    for event in events:
        if event["ph"] != "C":
            continue
        key = (event["pid"], event["name"], event.get("id"))
        before = last.get(key)
        if before is not None:
            _want(before["args"].keys() == event["args"].keys(), f"other series: {event}")
            _want(before["ts"] <= event["ts"], f"goes back in time: {event}")
        last[key] = event


def _check_names(events: Iterable[Event]) -> None:
    """Each process and thread has a name, and one only."""
    named: list[tuple[int, int | None]] = []
    used: set[tuple[int, int | None]] = set()
    for event in events:
        if event["ph"] == "M" and event["name"] in ("process_name", "thread_name"):
            named.append((event["pid"], event.get("tid")))
        else:
            used |= {(event["pid"], None), (event["pid"], event.get("tid"))}
    _want(len(set(named)) == len(named), f"named twice: {sorted(named, key=str)}")
    _want(used <= set(named), f"without a name: {used - set(named)}")


def _spans(events: Iterable[Event]) -> dict[Track, list[tuple[int, int]]]:
    """By thread, from when to when its slices last, in nanoseconds."""
    found: defaultdict[Track, list[tuple[int, int]]] = defaultdict(list)
    running: defaultdict[Track, list[Event]] = defaultdict(list)
    last: dict[Track, float] = {}
    for event in events:
        if event["ph"] not in "BEX":
            continue
        track = (event["pid"], event["tid"])
        start = nanoseconds(event["ts"])
        if event["ph"] == "X":
            found[track].append((start, start + nanoseconds(event["dur"])))
            continue
        # Complete slices may come in any order; starts and ends may not.
        _want(last.get(track, 0) <= event["ts"], f"goes back in time: {event}")
        last[track] = event["ts"]
        if event["ph"] == "B":
            running[track].append(event)
            continue
        _want(running[track], f"ends what did not begin: {event}")
        begun = running[track].pop()
        _want(event.get("name", begun["name"]) == begun["name"], f"ends another slice: {event}")
        found[track].append((nanoseconds(begun["ts"]), start))
    _want(not any(running.values()), f"never ends: {[v for v in running.values() if v]}")
    return found


def _check_nesting(track: Track, spans: list[tuple[int, int]]) -> None:
    """Slices of a thread lie in one another or apart."""
    running: list[int] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        while running and running[-1] <= start:
            running.pop()
        _want(not running or end <= running[-1], f"slices of {track} overlap at {start} ns")
        running.append(end)
