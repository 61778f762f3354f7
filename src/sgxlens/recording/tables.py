# SPDX-License-Identifier: Apache-2.0
"""Turns the analyses of a session into the tables of a recording."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sgxlens._native import COLD_BIN, Analysis, distance_bins
from sgxlens.recording.format import (
    ACCESS_CLASSES,
    ANNOTATION_KINDS,
    ANY_ACCESS,
    BLOCK_BYTES,
    MAPPING_EVENTS,
    REGION_KINDS,
)
from sgxlens.recording.operators import BACKGROUND_CALLS, operator_at
from sgxlens.recording.roles import assign_roles
from sgxlens.recording.syscalls import signal_name, syscall_name

Columns = dict[str, Any]

# Bits of a mapping's flags, as in tracer/include/sgxlens/stream.h.
_PROTECTION = ((1, "r"), (2, "w"), (4, "x"))
_KINDS = ((16, "file"), (32, "shared_memory"), (64, "heap"), (128, "stack"))


class _Writer(Protocol):
    def write_table(self, name: str, columns: Mapping[str, Any]) -> None:
        """Called in several threads at once."""


def write_tables(
    writer: _Writer, analyses: Sequence[Analysis], operators: Sequence[Columns]
) -> None:
    """Write every table. Times count from the first record of the first process.

    `operators` has the columns of the table of this name for each process.
    """
    start_ns = min((analysis.start_ns for analysis in analyses), default=0)
    attributed = [analysis.is_attributed for analysis in analyses]
    with_line_use = [bool(analysis.line_use_interval) for analysis in analyses]
    # The longest take about a second: mostly encoding and compression, outside the interpreter.
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        tasks = [
            pool.submit(_write_each, writer, name, make, analyses, chosen)
            for name, make, chosen in (
                ("reuse_sources", _reuse_sources, attributed),
                ("page_visits", _page_visits, attributed),
                ("line_use", _line_use, with_line_use),
            )
        ]
        parts: dict[str, list[Columns]] = {}
        for process, analysis in enumerate(analyses):
            tables = {**_tables_of(analysis, start_ns), "operators": operators[process]}
            if analysis.is_attributed:
                tables |= _attribution_of(analysis, operators[process])
            for name, columns in tables.items():
                parts.setdefault(name, []).append(_of_process(process, columns))
        tasks += [pool.submit(writer.write_table, n, _joined(parts[n])) for n in parts]
        for task in tasks:
            task.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _write_each(
    writer: _Writer,
    name: str,
    make: Callable[[Analysis], Columns],
    analyses: Sequence[Analysis],
    chosen: Sequence[bool],
) -> None:
    """Write one table of the processes that are chosen, if any."""
    parts = [
        _of_process(process, make(analysis))
        for process, analysis in enumerate(analyses)
        if chosen[process]
    ]
    if parts:
        writer.write_table(name, _joined(parts))


def _of_process(process: int, columns: Columns) -> Columns:
    count = len(next(iter(columns.values())))
    return {"process": np.full(count, process, dtype=np.uint32), **columns}


def _joined(processes: list[Columns]) -> Columns:
    if len(processes) == 1:
        return processes[0]
    return {
        name: pa.chunked_array([_array(part[name]) for part in processes]).combine_chunks()
        for name in processes[0]
    }


def _array(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def _tables_of(analysis: Analysis, start_ns: int) -> dict[str, Columns]:
    names = pa.array([_text(name) for name in analysis.names()], type=pa.string())
    return {
        "phases": _phases(analysis, start_ns),
        "reuse": _reuse(analysis),
        "footprints": _footprints(analysis),
        "syscalls": _syscalls(analysis, names),
        "traps": _traps(analysis),
        "clocks": dict(analysis.clock_reads()),
        "mappings": _mappings(analysis, names),
        "threads": _threads(analysis),
        "signals": _signals(analysis),
        "annotations": annotations_of(analysis),
    }


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _where(values: npt.NDArray[Any], given: npt.NDArray[Any]) -> pa.Array:
    """Return `values`, null where they are not given."""
    return pa.array(values, mask=~given.astype(bool))


def _phases(analysis: Analysis, start_ns: int) -> Columns:
    table = dict(analysis.phases())
    names = pa.array([_text(name) for name in table["name"]], type=pa.string())
    count = len(names)
    # A process that was killed at once has no time yet.
    times = {
        column: np.maximum(table[column], start_ns) - np.uint64(start_ns)
        for column in ("start_ns", "end_ns")
    }
    return {**table, "phase": np.arange(count, dtype=np.uint32), "name": names, **times}


def _reuse(analysis: Analysis) -> Columns:
    table = analysis.reuse()
    cold = table["cold"]
    return {
        "phase": table["phase"],
        "granularity": _named(tuple(BLOCK_BYTES), table["granularity"]),
        "access": _named(ACCESS_CLASSES, table["access"]),
        "distance_min": _where(table["distance_min"], cold == 0),
        "distance_max": _where(table["distance_max"], cold == 0),
        "count": table["count"],
    }


def _attribution_of(analysis: Analysis, operators: Columns) -> dict[str, Columns]:
    contexts = _contexts(analysis, operators)
    regions, extents = _regions(analysis), dict(analysis.extents())
    page_use = dict(analysis.page_use())
    roles = assign_roles(regions, extents, contexts, page_use, operators)
    regions["role"] = pa.array([role.role for role in roles], type=pa.string())
    regions["reason"] = pa.array([role.reason for role in roles], type=pa.string())
    return {
        "contexts": contexts,
        "regions": regions,
        "extents": extents,
        "page_use": page_use,
    }


def _contexts(analysis: Analysis, operators: Columns) -> Columns:
    table = dict(analysis.contexts())
    background = _background_threads(analysis, operators)
    innermost = operator_at(operators, table["thread"], table["start_position"], background)
    return {
        **table,
        "context": np.arange(len(innermost), dtype=np.uint32),
        "operator": pa.array(np.maximum(innermost, 0).astype(np.uint32), mask=innermost < 0),
    }


def _background_threads(analysis: Analysis, operators: Columns) -> list[int]:
    if not len(operators["operator"]):
        return []
    calls = analysis.system_calls()
    # The number of a thread that ended before may be a worker's now.
    start = np.asarray(operators["start_position"]).min()
    end = np.asarray(operators["end_position"]).max()
    meanwhile = (calls["position"] >= start) & (calls["position"] < end)
    numbers = np.unique(calls["number"])
    background = [n for n in numbers.tolist() if syscall_name(n) in BACKGROUND_CALLS]
    found = meanwhile & np.isin(calls["number"], background)
    return np.unique(calls["thread"][found]).tolist()  # type: ignore[no-any-return]


def _regions(analysis: Analysis) -> Columns:
    table = dict(analysis.regions())
    return {
        "region": np.arange(len(table["kind"]), dtype=np.uint32),
        "kind": _named(REGION_KINDS, table["kind"]),
        "name": pa.array([_text(name) for name in table["name"]], type=pa.string()),
        "first_context": _where(table["owner"], table["has_owner"]),
    }


def _reuse_sources(analysis: Analysis) -> Columns:
    table = analysis.reuse_sources()
    is_warm = table["distance_bin"] != COLD_BIN
    bins = _where(table["distance_bin"], is_warm)
    least, greatest = (pa.array(distances) for distances in distance_bins())
    return {
        "context": table["context"],
        "source": _where(table["source"], is_warm),
        "granularity": _named(tuple(BLOCK_BYTES), table["granularity"]),
        "region": table["region"],
        "access": _named(ACCESS_CLASSES, table["access"]),
        "distance_min": pa.DictionaryArray.from_arrays(bins, least),
        "distance_max": pa.DictionaryArray.from_arrays(bins, greatest),
        "count": table["count"],
    }


def _line_use(analysis: Analysis) -> Columns:
    return dict(analysis.line_use())


def _page_visits(analysis: Analysis) -> Columns:
    table = dict(analysis.page_visits())
    return {
        **table,
        "access": _named(ACCESS_CLASSES, table["access"]),
        "written": table["written"].astype(bool),
        "ended": _where(table["ended"], table["ended"] != 0),
        "idle": _where(table["idle"], table["ended"] != 0),
    }


def _footprints(analysis: Analysis) -> Columns:
    table = analysis.footprints()
    return {
        "phase": _where(table["phase"], table["is_phase"]),
        "granularity": _named(tuple(BLOCK_BYTES), table["granularity"]),
        "access": _named((*ACCESS_CLASSES, ANY_ACCESS), table["access"]),
        "access_count": table["access_count"],
        "block_count": table["block_count"],
        "first_touch_count": _where(
            table["first_touch_count"], table["access"] == len(ACCESS_CLASSES)
        ),
    }


def _named(names: Sequence[str], numbers: npt.NDArray[Any]) -> pa.DictionaryArray:
    """Return the names of these numbers, coded: millions of them are neither made nor hashed."""
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(names, type=pa.string()))


def _syscalls(analysis: Analysis, names: pa.Array) -> Columns:
    table = dict(analysis.system_calls())
    numbers, inverse = np.unique(table["number"], return_inverse=True)
    call_names = pa.array([syscall_name(int(number)) for number in numbers], type=pa.string())
    paths = names.take(pa.array(table["path"], mask=table.pop("has_path") == 0))
    returned = table.pop("returned")
    return {
        **table,
        "name": call_names.take(pa.array(inverse)),
        "caller": names.take(pa.array(table["caller"])),
        "result": _where(table["result"], returned),
        "path": paths,
    }


def _traps(analysis: Analysis) -> Columns:
    table = dict(analysis.traps())
    kinds = table["kind"]
    is_cpuid = np.array([kind == "cpuid" for kind in kinds], dtype=bool)
    return {
        **table,
        "kind": pa.array(kinds, type=pa.string()),
        "leaf": _where(table["leaf"], is_cpuid),
        "subleaf": _where(table["subleaf"], is_cpuid),
    }


def _mappings(analysis: Analysis, names: pa.Array) -> Columns:
    table = dict(analysis.mapping_changes())
    flags = table.pop("flags")
    events = table["event"]
    has_protection = np.isin(events, [MAPPING_EVENTS.index(e) for e in ("map", "protect")])
    is_map = events == MAPPING_EVENTS.index("map")
    values, inverse = np.unique(flags, return_inverse=True)
    protections = pa.array([_protection(int(value)) for value in values], type=pa.string())
    kinds = pa.array([_kind(int(value)) for value in values], type=pa.string())
    blank = pa.scalar("")
    return {
        **table,
        "event": _named(MAPPING_EVENTS, events),
        "protection": pa.compute.if_else(
            pa.array(has_protection), protections.take(pa.array(inverse)), blank
        ),
        "kind": pa.compute.if_else(pa.array(is_map), kinds.take(pa.array(inverse)), blank),
        "name": names.take(pa.array(table["name"])),
        "from_address": _where(table["from_address"], events == MAPPING_EVENTS.index("remap")),
    }


def _protection(flags: int) -> str:
    return "".join(letter if flags & bit else "-" for bit, letter in _PROTECTION)


def _kind(flags: int) -> str:
    return next((kind for bit, kind in _KINDS if flags & bit), "anonymous")


def _threads(analysis: Analysis) -> Columns:
    table = dict(analysis.threads())
    ended = table.pop("ended")
    return {
        **table,
        "creator": _where(table["creator"], table["creator"] != 0),
        "end_position": _where(table["end_position"], ended),
    }


def _signals(analysis: Analysis) -> Columns:
    table = dict(analysis.signals())
    return {**table, "name": pa.array([signal_name(int(n)) for n in table["signal"]], pa.string())}


def annotations_of(analysis: Analysis) -> Columns:
    """The columns of the table `annotations`, without ``process``."""
    table = dict(analysis.annotations())
    names = analysis.names() if len(table["text"]) else []
    texts = pa.array([_text(names[text]) for text in table["text"]], pa.string())
    return {
        **table,
        "kind": _named(ANNOTATION_KINDS, table["kind"] - np.uint32(1)),
        "text": texts,
    }
