# SPDX-License-Identifier: Apache-2.0
"""Streams for tests: records, a strategy for valid ones, native results in the twin's terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

import lru
from sgxlens._native import Analysis, SegmentUse
from sgxlens.recording import _reference as twin
from sgxlens.recording._reference import Kind, Op

Record = list[int]
GRANULARITIES = ("line", "page")
MAPPING_EVENTS = ("map", "unmap", "protect", "remap", "break_grow", "break_shrink")
BASE_NONE = 0xFFFF
_MASK = (1 << 64) - 1


# ---- records ----


def record(kind: int, value: int = 0, payload: Sequence[int] = ()) -> Record:
    return [kind << 56 | len(payload) << 32 | value, *payload]


def text(value: bytes) -> list[int]:
    padded = value + bytes(-len(value) % 8)
    return [int.from_bytes(padded[i : i + 8], "little") for i in range(0, len(padded), 8)]


def exit_word(operations: int, values: int, instructions: int) -> int:
    return operations | values << 16 | instructions << 32


def operation(kind: int, base: int, size_bytes: int, offset: int) -> list[int]:
    return [kind | base << 16 | size_bytes << 32, offset & _MASK]


def define(first_exit: int, exits: Sequence[int], operations: Sequence[Sequence[int]]) -> Record:
    words = [word for pair in operations for word in pair]
    counts = len(exits) | len(operations) << 32
    return record(Kind.DEFINE, first_exit, [0x401000, counts, *exits, *words])


def mark(name: bytes) -> Record:
    return record(Kind.MARK, len(name), text(name))


def words_of(records: Sequence[Record]) -> npt.NDArray[np.uint64]:
    return np.array([word for words in records for word in words], dtype=np.uint64)


# ---- valid streams ----

# Few pages, so that blocks meet again; some at the ends of what an address can be.
_places = st.sampled_from([0x1000, 0x400000, 0x7FFF_FFFF_E000, 0xFFFF_FFFF_FF60_0000, 0])
_addresses = st.builds(lambda place, at: place + at, _places, st.integers(0, 3 * 4096))
_sizes = st.one_of(st.sampled_from([1, 4, 8, 16, 32, 64, 65, 128, 576, 4096]), st.integers(1, 4096))
_offsets = st.one_of(st.integers(-256, 256), st.sampled_from([-4096, 4096, 60, 4092]))
_threads = st.integers(0, 3)
_names = st.sampled_from(
    [b"", b"a", b"/lib/b.so", b"/usr/lib/c.so.6", b"name of 16 bytes", b"\xff"]
)
_words = st.one_of(st.integers(0, 5), st.integers(0, _MASK))


@st.composite
def _superblocks(draw: st.DrawFn, first_exit: int) -> tuple[Record, list[int]]:
    """A definition, and how many values each of its exits has."""
    operations = []
    values = 0
    # Operations done and values written when the superblock is left after so many operations.
    states = [(0, 0)]
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(Op))
        if kind in (Op.LOAD_IF, Op.STORE_IF, Op.CPUID):
            base, values = values, values + 1
            offset = 0
        elif kind in (Op.LOAD, Op.STORE) and draw(st.integers(0, 3)):
            base = draw(st.integers(0, values))
            values = max(values, base + 1)
            offset = draw(_offsets)
        else:
            base, offset = BASE_NONE, draw(_addresses)
        size_bytes = draw(_sizes) if kind <= Op.STORE_IF else 0
        operations.append(operation(kind, base, size_bytes, offset))
        states.append((len(operations), values))
    left_early = draw(st.lists(st.sampled_from(states), max_size=3).map(sorted))
    exits = [*left_early, states[-1]]
    exit_words = [exit_word(done, used, draw(st.integers(0, 50))) for done, used in exits]
    return define(first_exit, exit_words, operations), [used for _, used in exits]


def _range(draw: st.DrawFn) -> list[int]:
    return [draw(_addresses), draw(st.integers(0, 3 * 4096))]


def _event(draw: st.DrawFn, kind: Kind) -> Record:
    name = draw(_names)
    parts: dict[Kind, Callable[[], Record]] = {
        Kind.THREAD: lambda: record(kind, draw(_threads)),
        Kind.THREAD_START: lambda: record(kind, draw(_threads), [draw(_words) for _ in range(3)]),
        Kind.THREAD_EXIT: lambda: record(kind, draw(_threads)),
        Kind.SYSCALL_ENTER: lambda: record(
            kind, draw(st.integers(0, 2)), [draw(_addresses), *(draw(_words) for _ in range(6))]
        ),
        Kind.SYSCALL_EXIT: lambda: record(kind, draw(st.integers(0, 2)), [draw(_words)]),
        Kind.PATH: lambda: record(kind, len(name), text(name)),
        Kind.CLOCK: lambda: record(kind, draw(_threads), [draw(_words), draw(_words)]),
        Kind.MAP: lambda: record(
            kind, draw(st.integers(0, 255)), [*_range(draw), draw(_words), len(name), *text(name)]
        ),
        Kind.REMAP: lambda: record(kind, 0, [draw(_addresses), *_range(draw)]),
        Kind.MARK: lambda: mark(name),
        Kind.SIGNAL: lambda: record(kind, draw(st.integers(1, 64))),
        Kind.PROCESS: lambda: record(
            kind, draw(st.integers(0, 1)), [draw(_words), draw(_words), len(name), *text(name)]
        ),
        Kind.PROCESS_END: lambda: record(kind, draw(st.integers(0, 0xFFFFFFFF))),
        Kind.RECORDING: lambda: record(kind, draw(st.integers(0, 1))),
        Kind.TICK: lambda: record(kind, 0, [draw(_words)]),
        Kind.ANNOTATION: lambda: record(
            kind, draw(st.integers(1, 5)), [*_range(draw), len(name), *text(name)]
        ),
    }
    if kind in parts:
        return parts[kind]()
    return record(kind, draw(st.integers(0, 7)), _range(draw))  # an address and a size


@st.composite
def valid_streams(draw: st.DrawFn) -> list[Record]:
    """The records of a stream that follows the format, if it is no sensible program's."""
    first_exit = draw(st.sampled_from([0, 7, (1 << 32) - 3]))  # a forked child's is not 0
    exits: list[tuple[int, int]] = []
    records: list[Record] = []
    for _ in range(draw(st.integers(0, 40))):
        choice = draw(st.integers(0, 9))
        if choice == 0 or (choice < 6 and not exits):
            number = (first_exit + len(exits)) & 0xFFFFFFFF
            definition, value_counts = draw(_superblocks(number))
            records.append(definition)
            for i, count in enumerate(value_counts):
                exits.append(((number + i) & 0xFFFFFFFF, count))
        elif choice < 6:
            number, count = draw(st.sampled_from(exits))
            values = [draw(st.one_of(st.just(0), _addresses)) for _ in range(count)]
            records.append(record(Kind.RUN, number, values))
        else:
            kind = draw(st.sampled_from([k for k in Kind if k not in (Kind.RUN, Kind.DEFINE)]))
            records.append(_event(draw, kind))
    return records


# ---- the native results and the twin's, in the same terms ----


def analyse(
    chunks: Sequence[npt.NDArray[np.uint64]],
    sampling_rate: float = 1.0,
    segments: SegmentUse = SegmentUse.WHERE_IT_PAYS,
) -> Analysis:
    analysis = Analysis(sampling_rate, segments)
    for chunk in chunks:
        analysis.feed(chunk)
    analysis.finish()
    return analysis


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    columns = {k: v if isinstance(v, list) else v.tolist() for k, v in table.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _native_system_calls(analysis: Analysis, names: list[bytes]) -> list[twin.SystemCall]:
    return [
        twin.SystemCall(
            phase=row["phase"],
            thread=row["thread"],
            position=row["position"],
            number=row["number"],
            caller=names[row["caller"]],
            arguments=tuple(row[f"arg{i}"] for i in range(6)),
            result=row["result"] if row["returned"] else None,
            kernel_read_bytes=row["kernel_read_bytes"],
            kernel_write_bytes=row["kernel_write_bytes"],
            path=names[row["path"]] if row["has_path"] else None,
        )
        for row in _rows(analysis.system_calls())
    ]


def native_facts(analysis: Analysis) -> dict[str, Any]:
    """What the native analysis found, besides reuse, in the twin's terms."""
    names = analysis.names()
    phases = [twin.Phase(**row) for row in _rows(analysis.phases())]
    ops = {op.name.lower(): op for op in Op}
    for row in _rows(analysis.traps()):
        key = ops[row["kind"]], row["leaf"] | row["subleaf"] << 32
        phases[row["phase"]].traps[key] = row["count"]
    mappings = [
        twin.MappingChange(
            **{**row, "event": MAPPING_EVENTS[row["event"]], "name": names[row["name"]]}
        )
        for row in _rows(analysis.mapping_changes())
    ]
    threads = []
    for row in _rows(analysis.threads()):
        ended = row.pop("ended")
        threads.append(
            twin.ThreadLife(**{**row, "end_position": row["end_position"] if ended else None})
        )
    return {
        "phases": phases,
        "system_calls": _native_system_calls(analysis, names),
        "clock_reads": [twin.ClockRead(**row) for row in _rows(analysis.clock_reads())],
        "mapping_changes": mappings,
        "threads": threads,
        "signals": [twin.SignalDelivery(**row) for row in _rows(analysis.signals())],
        "annotations": [
            twin.Annotation(**{**row, "text": names[row["text"]]})
            for row in _rows(analysis.annotations())
        ],
        "process": (analysis.pid, analysis.parent_pid, analysis.program, analysis.was_forked),
        "exit_status": analysis.exit_status if analysis.ended else None,
        "dropped": (
            analysis.dropped_system_calls,
            analysis.dropped_marks,
            analysis.dropped_annotations,
        ),
        "line_access_count": analysis.line_access_count,
    }


def twin_facts(decoder: twin.Decoder) -> dict[str, Any]:
    """What the twin found, besides reuse."""
    process = (decoder.pid, decoder.parent_pid, decoder.program, decoder.was_forked)
    return {
        "phases": decoder.phases,
        "system_calls": decoder.system_calls,
        "clock_reads": decoder.clock_reads,
        "mapping_changes": decoder.mapping_changes,
        "threads": decoder.threads,
        "signals": decoder.signals,
        "annotations": decoder.annotations,
        "process": process,
        "exit_status": decoder.exit_status,
        "dropped": (
            decoder.dropped_system_calls,
            decoder.dropped_marks,
            decoder.dropped_annotations,
        ),
        "line_access_count": len(decoder.entries),
    }


ReuseKey = tuple[int, str, int, lru.Bin]  # phase, granularity, class, bin
FootprintKey = tuple[int | None, str, int]  # phase or all, granularity, class (5: any)


def native_reuse(analysis: Analysis) -> Counter[ReuseKey]:
    counts: Counter[ReuseKey] = Counter()
    for row in _rows(analysis.reuse()):
        bounds = None if row["cold"] else (row["distance_min"], row["distance_max"])
        key = (row["phase"], GRANULARITIES[row["granularity"]], row["access"], bounds)
        assert key not in counts
        counts[key] = row["count"]
    return counts


def native_footprints(analysis: Analysis) -> dict[FootprintKey, tuple[int, int, int | None]]:
    return {
        (
            row["phase"] if row["is_phase"] else None,
            GRANULARITIES[row["granularity"]],
            row["access"],
        ): (
            row["access_count"],
            row["block_count"],
            row["first_touch_count"] if row["access"] == 5 else None,
        )
        for row in _rows(analysis.footprints())
    }


def accesses_of(decoder: twin.Decoder, phase: int, granularity: str) -> list[lru.Access]:
    found = decoder.phases[phase]
    entries = decoder.entries[found.start_position : found.end_position]
    return twin.line_accesses(entries) if granularity == "line" else twin.page_accesses(entries)


def twin_reuse(decoder: twin.Decoder) -> Counter[ReuseKey]:
    counts: Counter[ReuseKey] = Counter()
    for granularity in GRANULARITIES:
        stack = lru.Stack()
        for phase in range(len(decoder.phases)):
            made = stack.count(accesses_of(decoder, phase, granularity))
            for (access_class, bounds), count in made.items():
                counts[phase, granularity, access_class, bounds] = count
    return counts


def twin_footprints(decoder: twin.Decoder) -> dict[FootprintKey, tuple[int, int, int | None]]:
    footprints: dict[FootprintKey, tuple[int, int, int | None]] = {}
    for granularity in GRANULARITIES:
        everything: list[lru.Access] = []
        known: set[int] = set()
        for phase in range(len(decoder.phases)):
            made = accesses_of(decoder, phase, granularity)
            everything += made
            new = {block for block, _ in made} - known
            known |= new
            _add_footprints(footprints, phase, granularity, made, len(new))
        _add_footprints(footprints, None, granularity, everything, len(known))
    return footprints


def _add_footprints(
    footprints: dict[FootprintKey, tuple[int, int, int | None]],
    phase: int | None,
    granularity: str,
    accesses: list[lru.Access],
    first_touches: int,
) -> None:
    for access_class in range(5):
        blocks = [block for block, c in accesses if c == access_class]
        footprints[phase, granularity, access_class] = (len(blocks), len(set(blocks)), None)
    distinct = len({block for block, _ in accesses})
    footprints[phase, granularity, 5] = (len(accesses), distinct, first_touches)


def assert_same(analysis: Analysis, decoder: twin.Decoder) -> None:
    """Everything that the native analysis found is what the twin and LRU by the book find."""
    native, reference = native_facts(analysis), twin_facts(decoder)
    for what, value in reference.items():
        assert native[what] == value, what
    assert native_reuse(analysis) == twin_reuse(decoder)
    assert native_footprints(analysis) == twin_footprints(decoder)
