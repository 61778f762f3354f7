# SPDX-License-Identifier: Apache-2.0
"""Renders a prediction as a trace that Perfetto and Chromium's trace viewer open.

The format is that of "Trace Event Format", the document of Chromium's trace viewer (catapult): a
JSON object whose ``traceEvents`` are complete slices (``ph`` ``X``), counters (``C``), instants
(``i``) and metadata (``M``); times are in microseconds.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from sgxlens.enclave.charges import CAUSE_TITLES, CAUSES
from sgxlens.report.export.timing import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sgxlens.enclave.charges import Charge
    from sgxlens.enclave.transitions import TransitionCounts
    from sgxlens.prediction.evaluation import Evaluation
    from sgxlens.prediction.model import PhaseTime
    from sgxlens.recording.reader import Phase, Recording
    from sgxlens.report.export.timing import Clock

Event = dict[str, Any]

#: Instants of system calls beyond so many are left out, and said so.
CALLS_MAX: Final = 50_000
_PROCESS = 1
# Above the numbers of all threads; importers keep 0 for the idle thread.
_PHASES_THREAD = 1 << 20
_NS_PER_SECOND = 1e9
_COUNTERS = ("page loads", "line misses", "OCALLs")


def trace(recording: Recording, evaluation: Evaluation, counts: TransitionCounts) -> dict[str, Any]:
    """The trace of all phases that have a predicted time, one after the other.

    Operators are slices of the threads that they ran in, as long as they are predicted to take
    inside (likely). Counters hold how often something happens in the operator that runs. System
    calls are instants, with what becomes of them.

    Args:
        recording: the recording.
        evaluation: its prediction on one platform.
        counts: what becomes of its system calls there.
    """
    prediction = evaluation.prediction
    by_index = {
        phase.index: phase
        for phase in recording.phases
        if phase.process == prediction.steady.process
    }
    place = prediction.deployment
    start_ns = round(prediction.startup.build_seconds.likely * _NS_PER_SECOND)
    events: list[Event] = [
        _metadata("process_name", None, f"{place.platform_title}, {place.runtime_title}"),
        _metadata("thread_name", _PHASES_THREAD, "phases"),
        _metadata("thread_sort_index", _PHASES_THREAD, -1),
    ]
    if start_ns:
        events.append(_slice("build of the enclave", "phase", _PHASES_THREAD, (0, start_ns), {}))
    threads: set[int] = set()
    left_out = 0
    for time in prediction.phases:
        part = _PhasePart(recording, by_index[time.phase], time, start_ns)
        threads |= part.threads
        charges = evaluation.charges[time.phase]
        calls = list(part.calls(counts))
        left_out += max(len(calls) - CALLS_MAX, 0)
        events += [*part.slices(charges), *part.counters(charges), *calls[:CALLS_MAX]]
        threads |= {call["tid"] for call in calls[:CALLS_MAX]}
        start_ns = part.end_ns
    events += [_metadata("thread_name", t, f"thread {t}") for t in sorted(threads)]
    return {
        "displayTimeUnit": "ns",
        "otherData": {
            "recording": prediction.recording,
            "platform": place.platform,
            "runtime": place.runtime,
            "times": "predicted inside the enclave, likely values; between starts and ends of"
            " operators, time passes evenly over accesses",
            "system_calls_left_out": left_out,
        },
        "traceEvents": events,
    }


def trace_bytes(content: Mapping[str, Any], *, compressed: bool) -> bytes:
    """A trace as a file: JSON, or compressed by gzip, which Perfetto opens as well."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
    return gzip.compress(text, mtime=0) if compressed else text


def microseconds(time_ns: int) -> float:
    """The number to write for a time.

    Perfetto multiplies it by 1,000 and cuts off the rest
    (google/perfetto:src/trace_processor/importers/json/json_utils.cc, CoerceToTs()): the nearest
    number may lose a nanosecond there, and slices that meet would overlap, which are not shown.
    """
    found = time_ns / 1000
    while int(found * 1000) < time_ns:
        found = math.nextafter(found, math.inf)
    return found


class _PhasePart:
    """One phase of a trace, which starts `start_ns` after the trace."""

    def __init__(self, recording: Recording, phase: Phase, time: PhaseTime, start_ns: int) -> None:
        self._recording = recording
        self._phase = phase
        self._time = time
        self._start_ns = start_ns
        self._operators = [
            operator
            for operator in recording.operators
            if (operator.process, operator.phase) == (phase.process, phase.index)
        ]
        self._clock: Clock = clock(phase, time, self._operators)
        self.end_ns = self._ns(phase.end_position)
        self.threads = {operator.thread for operator in self._operators}

    def _ns(self, position: float) -> int:
        return self._start_ns + round(self._clock.at(position) * _NS_PER_SECOND)

    def slices(self, charges: Sequence[Charge]) -> Iterator[Event]:
        """The phase and its operators."""
        time = self._time
        arguments: dict[str, Any] = {
            "native_ms": time.native.median_seconds * 1e3,
            "slowdown": time.slowdown.likely,
            "slowdown_low": time.slowdown.low,
            "slowdown_high": time.slowdown.high,
        }
        yield _slice(time.name, "phase", _PHASES_THREAD, (self._start_ns, self.end_ns), arguments)
        rows = {row.operator: row for row in time.operators}
        counted = _counted(charges)
        for operator in self._operators:
            row = rows[operator.number]
            arguments = {
                "type": operator.type,
                "index": operator.index,
                "native_ms": None if row.native_seconds is None else row.native_seconds * 1e3,
                **{
                    f"{CAUSE_TITLES[cause]} (ms)": row.added_seconds_by_cause[cause] * 1e3
                    for cause in CAUSES
                    if cause in row.added_seconds_by_cause
                },
                **{name: counted[operator.number][name] for name in _COUNTERS},
            }
            span = (self._ns(operator.start_position), self._ns(operator.end_position))
            yield _slice(
                operator.name or operator.type, "operator", operator.thread, span, arguments
            )

    def counters(self, charges: Sequence[Charge]) -> Iterator[Event]:
        """How often something happens in each millisecond of the operator that runs."""
        counted = _counted(charges)
        edges = [self._start_ns + round(s * _NS_PER_SECOND) for s in self._clock.seconds.tolist()]
        spent: defaultdict[int | None, int] = defaultdict(int)
        for owner, start, end in zip(self._clock.owners, edges, edges[1:], strict=False):
            spent[owner] += end - start
        for name in _COUNTERS:
            before = 0.0
            for owner, start in zip(self._clock.owners, edges, strict=False):
                rate = counted[owner][name] * 1e6 / spent[owner] if spent[owner] else 0.0
                if rate != before:
                    yield _counter(name, start, rate)
                before = rate
            if before:
                yield _counter(name, self.end_ns, 0)

    def calls(self, counts: TransitionCounts) -> Iterator[Event]:
        """System calls, as instants of their threads, with what becomes of them."""
        if not self._recording.has_table("syscalls"):
            return
        becomes: defaultdict[str, set[str]] = defaultdict(set)
        for row in counts.of_phase(self._phase):
            becomes[row.name].add(f"{row.outcome}: {row.why}" if row.why else row.outcome)
        table = self._recording.table("syscalls")
        is_here = pc.and_(
            pc.equal(table["process"], self._phase.process),
            pc.equal(table["phase"], self._phase.index),
        )
        columns = ["thread", "position", "name"]
        for call in table.select(columns).filter(is_here).to_pylist():
            # Which of them, where calls of one name meet several ends, is known of sums only.
            outcomes = becomes.get(call["name"], {"not counted"})
            yield {
                "name": call["name"],
                "cat": "system call",
                "ph": "i",
                "s": "t",
                "ts": microseconds(self._ns(call["position"])),
                "pid": _PROCESS,
                "tid": call["thread"],
                "args": {"becomes": "; or ".join(sorted(outcomes))},
            }


def _counted(charges: Sequence[Charge]) -> defaultdict[int | None, dict[str, float]]:
    found: defaultdict[int | None, dict[str, float]] = defaultdict(
        lambda: dict.fromkeys(_COUNTERS, 0.0)
    )
    for charge in charges:
        name = None
        if charge.cause == "paging":
            name = "page loads"
        elif charge.cause == "encryption":
            name = "line misses"
        elif "OCALLs" in charge.what:
            name = "OCALLs"
        if name is not None:
            found[charge.operator][name] += charge.count.likely
    return found


def _slice(
    name: str, category: str, thread: int, span_ns: tuple[int, int], arguments: Mapping[str, Any]
) -> Event:
    return {
        "name": name,
        "cat": category,
        "ph": "X",
        "ts": microseconds(span_ns[0]),
        "dur": microseconds(span_ns[1] - span_ns[0]),
        "pid": _PROCESS,
        "tid": thread,
        "args": dict(arguments),
    }


def _counter(name: str, at_ns: int, value: float) -> Event:
    return {
        "name": name,
        "ph": "C",
        "ts": microseconds(at_ns),
        "pid": _PROCESS,
        "args": {"per ms": round(value, 3)},
    }


def _metadata(name: str, thread: int | None, value: str | int) -> Event:
    key = "sort_index" if name.endswith("sort_index") else "name"
    event: Event = {"name": name, "ph": "M", "pid": _PROCESS, "args": {key: value}}
    return event if thread is None else event | {"tid": thread}
