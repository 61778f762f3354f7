# SPDX-License-Identifier: Apache-2.0
"""A program that is a list of accesses, and its recording, made by counting one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa

from sgxlens.recording._attribution_reference import is_followed
from sgxlens.recording.format import ACCESS_CLASSES
from sgxlens.recording.metadata import RecordingMetadata
from sgxlens.recording.reader import Recording
from sgxlens.recording.schemas import TABLES
from sgxlens.reuse._page_visits_reference import PageAccess, page_visits

WRITES = ("store", "kernel_write")


@dataclass(frozen=True)
class Span:
    """What happens between two boundaries: (thread, line, class of access) in turn."""

    phase: int
    operator: int | None
    accesses: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Extent:
    """Lines of a region from the start of a span on."""

    region: int
    line: int
    count: int
    from_span: int = 0


@dataclass(frozen=True)
class Access:
    """One access, with all that is to be known of it."""

    phase: int
    span: int
    operator: int | None
    thread: int
    line: int
    name: str
    region: int
    page_region: int
    position: int
    line_source: int | None
    line_distance: int | None
    page_source: int | None
    page_distance: int | None

    @property
    def page(self) -> int:
        return self.line // 64

    @property
    def is_write(self) -> bool:
        return self.name in WRITES

    @property
    def bytes(self) -> int:
        """Which bytes of its line are accessed, a bit each: four to fifteen of them."""
        return (1 << 4 + self.position % 12) - 1 << self.position * 7 % 49

    def source(self, granularity: str) -> int | None:
        return self.line_source if granularity == "line" else self.page_source

    def distance(self, granularity: str) -> int | None:
        return self.line_distance if granularity == "line" else self.page_distance

    def block(self, granularity: str) -> int:
        return self.line if granularity == "line" else self.page


@dataclass
class Program:
    """Phases, operators (their names by number) and regions (kind, role) with their extents.

    Reuse distances are counted in bins of `bin_width` distances; visits are of a filter of
    `filter_page_count` pages; of one line in `line_use_interval` the bytes used are known.
    """

    phases: Sequence[str]
    spans: Sequence[Span]
    operators: Sequence[str] = ()
    regions: Sequence[tuple[str, str]] = (("anonymous", "unclassified"),)
    extents: Sequence[Extent] = ()
    bin_width: int = 1
    filter_page_count: int = 2
    line_use_interval: int = 1
    operator_fields: dict[int, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> list[Access]:
        """All accesses; the source of one is the index of the access before to its block."""
        done: list[Access] = []
        position = 0
        first_region: dict[tuple[int, int, int], int] = {}
        for number, span in enumerate(self.spans):
            for thread, line, name in span.accesses:
                region = self._region(line, number)
                page_region = first_region.setdefault((number, thread, line // 64), region)
                line_source, line_distance = _reuse([a.line for a in done], line)
                page_source, page_distance = _reuse([a.page for a in done], line // 64)
                done.append(
                    Access(
                        span.phase, number, span.operator, thread, line, name, region, page_region,
                        position, line_source, line_distance, page_source, page_distance,
                    )
                )  # fmt: skip
                position += 1
        return done

    def _region(self, line: int, span: int) -> int:
        found = [
            (e.from_span, i, e.region)
            for i, e in enumerate(self.extents)
            if e.line <= line < e.line + e.count and e.from_span <= span
        ]
        return max(found)[2]

    def record(self) -> Recording:
        """The recording that should come of the program; it is never on disk."""
        accesses = self.run()
        contexts: dict[tuple[int, int], int] = {}
        for access in accesses:
            contexts.setdefault((access.span, access.thread), len(contexts))
        of = [contexts[a.span, a.thread] for a in accesses]
        rows = {
            "phases": self._phases(accesses),
            "footprints": [],
            "reuse": [],
            "contexts": self._contexts(accesses, contexts),
            "operators": self._operators(accesses),
            "regions": [
                {
                    "process": 0,
                    "region": i,
                    "kind": kind,
                    "name": "",
                    "first_context": None,
                    "role": role,
                    "reason": "",
                }
                for i, (kind, role) in enumerate(self.regions)
            ],
            "extents": self._extents(accesses),
            "reuse_sources": self._reuse_sources(accesses, of),
            "page_use": _page_use(accesses, of),
            "line_use": self._line_use(accesses, of),
            "page_visits": self._page_visits(accesses, of),
        }
        rows["reuse"] = _reuse_rows(rows["reuse_sources"], rows["contexts"])
        settings = SimpleNamespace(
            visit_page_count=self.filter_page_count, line_use_interval=self.line_use_interval
        )
        metadata = SimpleNamespace(tables=dict.fromkeys(rows), processes=[None], settings=settings)
        recording = Recording(Path("simulated"), cast("RecordingMetadata", metadata))
        for name, table in rows.items():
            recording._tables[name] = pa.Table.from_pylist(table, schema=TABLES[name].schema)
        return recording

    def tables(self) -> dict[str, Any]:
        """The tables of that recording as rows, with footprints by phase and class of access."""
        recording = self.record()
        found: dict[str, Any] = {
            name: recording.table(name).to_pylist() for name in recording.metadata.tables
        }
        accesses = self.run()
        for phase in range(len(self.phases)):
            mine = [access for access in accesses if access.phase == phase]
            for name in ("line", "page"):
                for kind in ("load", "store", "any"):
                    chosen = [a for a in mine if kind in ("any", a.name)]
                    cold_count = sum(a.source(name) is None for a in chosen)
                    row = {
                        "process": 0, "phase": phase, "granularity": name, "access": kind,
                        "access_count": len(chosen),
                        "block_count": len({a.block(name) for a in chosen}),
                        "first_touch_count": cold_count if kind == "any" else None,
                    }  # fmt: skip
                    found["footprints"].append(row)
        return found

    def _phases(self, accesses: list[Access]) -> list[dict[str, Any]]:
        ends = [sum(a.phase <= i for a in accesses) for i in range(len(self.phases))]
        return [
            {
                "process": 0, "phase": i, "name": name, "start_position": ends[i - 1] if i else 0,
                "end_position": ends[i], "start_ns": i, "end_ns": i + 1, "instruction_count": 1,
            }
            for i, name in enumerate(self.phases)
        ]  # fmt: skip

    def _span_start(self, span: int, accesses: list[Access]) -> int:
        return sum(a.span < span for a in accesses)

    def _contexts(
        self, accesses: list[Access], contexts: dict[tuple[int, int], int]
    ) -> list[dict[str, Any]]:
        rows = []
        for (span, thread), number in contexts.items():
            mine = [a for a in accesses if (a.span, a.thread) == (span, thread)]
            rows.append(
                {
                    "process": 0, "context": number, "phase": mine[0].phase, "span": span,
                    "thread": thread, "operator": mine[0].operator,
                    "start_position": mine[0].position, "end_position": mine[-1].position + 1,
                    "line_access_count": len(mine), "page_access_count": len(mine),
                }
            )  # fmt: skip
        return rows

    def _operators(self, accesses: list[Access]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for number, name in enumerate(self.operators):
            spans = [i for i, s in enumerate(self.spans) if s.operator == number]
            phase = self.spans[spans[0]].phase
            row = {
                "process": 0, "operator": number, "phase": phase,
                "index": sum(r["phase"] == phase for r in rows), "parent": None, "thread": 1,
                "name": name, "type": "Op",
                "start_position": self._span_start(spans[0], accesses),
                "end_position": self._span_start(spans[-1] + 1, accesses),
                "input_shapes": "", "output_shapes": "", "parameter_bytes": None,
                "activation_bytes": None, "output_bytes": None, "source": "annotation",
            }  # fmt: skip
            rows.append(row | self.operator_fields.get(number, {}))
        return rows

    def _extents(self, accesses: list[Access]) -> list[dict[str, Any]]:
        return [
            {
                "process": 0, "region": e.region, "address": e.line * 64,
                "size_bytes": e.count * 64,
                "start_position": self._span_start(e.from_span, accesses),
            }
            for e in self.extents
        ]  # fmt: skip

    def _reuse_sources(self, accesses: list[Access], of: list[int]) -> list[dict[str, Any]]:
        counts: Counter[tuple[Any, ...]] = Counter()
        for context, access in zip(of, accesses, strict=True):
            for granularity in ("line", "page"):
                source, distance = access.source(granularity), access.distance(granularity)
                region = access.region if granularity == "line" else access.page_region
                index = None if distance is None else distance // self.bin_width
                where = None if source is None else of[source]
                counts[context, where, granularity, region, access.name, index] += 1
        return [
            {
                "process": 0, "context": context, "source": source, "granularity": granularity,
                "region": region, "access": name, "count": count,
                "distance_min": None if index is None else index * self.bin_width,
                "distance_max": None if index is None else (index + 1) * self.bin_width - 1,
            }
            for (context, source, granularity, region, name, index), count in counts.items()
        ]  # fmt: skip

    def _line_use(self, accesses: list[Access], of: list[int]) -> list[dict[str, Any]]:
        sets: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
        for context, access in zip(of, accesses, strict=True):
            if is_followed(access.line, self.line_use_interval):
                found = sets[context, access.line]
                found[0] |= access.bytes
                found[1] |= access.bytes * access.is_write
        return [
            {
                "process": 0, "context": context, "line": line,
                "bytes": used, "written_bytes": written,
            }
            for (context, line), (used, written) in sorted(sets.items())
        ]  # fmt: skip

    def _page_visits(self, accesses: list[Access], of: list[int]) -> list[dict[str, Any]]:
        visits = page_visits(
            (
                PageAccess(a.page, ACCESS_CLASSES.index(a.name), context, a.position)
                for context, a in zip(of, accesses, strict=True)
            ),
            self.filter_page_count,
        )
        return [
            {
                "process": 0, "context": v.context, "position": v.position, "page": v.page,
                "access": ACCESS_CLASSES[v.access_class], "written": v.written,
                "ended": v.ended or None, "idle": v.idle or None,
            }
            for v in visits
        ]  # fmt: skip


def _reuse(blocks: list[int], block: int) -> tuple[int | None, int | None]:
    before = [i for i, other in enumerate(blocks) if other == block]
    return (before[-1], len(set(blocks[before[-1] + 1 :]))) if before else (None, None)


def _page_use(accesses: list[Access], of: list[int]) -> list[dict[str, Any]]:
    maps: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for context, access in zip(of, accesses, strict=True):
        bit = 1 << (access.line % 64)
        found = maps[context, access.page]
        found[0] |= bit
        found[1] |= bit * access.is_write
        found[2] |= bit * (access.name == "fetch")
    return [
        {
            "process": 0, "context": context, "page": page,
            "lines": lines, "written_lines": written, "fetched_lines": fetched,
        }
        for (context, page), (lines, written, fetched) in sorted(maps.items())
    ]  # fmt: skip


def _reuse_rows(
    sources: list[dict[str, Any]], contexts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    keys = ("granularity", "access", "distance_min", "distance_max")
    counts: Counter[tuple[Any, ...]] = Counter()
    for row in sources:
        phase = contexts[row["context"]]["phase"]
        counts[(phase, *(row[key] for key in keys))] += row["count"]
    return [
        {
            "process": 0,
            "phase": values[0],
            "count": count,
            **dict(zip(keys, values[1:], strict=True)),
        }
        for values, count in counts.items()
    ]
