# SPDX-License-Identifier: Apache-2.0
"""Renders a report as JSON, for programs: all that the terminal shows, and every row of it.

The models here are the contract: ``schema/show.schema.json`` is generated from them (by
``tools/write_json_schemas.py``) and published with the package. Names carry their units. Within one
``SCHEMA_VERSION`` fields may be added; a field that is renamed, dropped or gets another meaning
raises it.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from sgxlens.recording.metadata import printable
from sgxlens.report.attribution_section import (
    Granularity,
    OperatorSection,
    RegionSection,
    SharingSection,
    SourceSection,
    WorkingSetSection,
)
from sgxlens.report.document import Footprint
from sgxlens.report.events import SignalRow, ThreadSection, TrapRow
from sgxlens.report.memory_section import LineBytesSection, SpatialSection, TimelineSection
from sgxlens.report.native_times import NativeTime
from sgxlens.report.reuse_section import QUANTILES
from sgxlens.report.values import CountRange, RatioRange

if TYPE_CHECKING:
    from sgxlens.recording.reader import Phase
    from sgxlens.report.document import Document, PhaseRow
    from sgxlens.report.events import SyscallRow
    from sgxlens.report.reuse_section import ReuseSection
    from sgxlens.reuse.histogram import ReuseHistogram

SCHEMA_NAME: Final = "sgxlens-show"
SCHEMA_VERSION: Final = 1
_SCHEMA_FILE = "schema/show.schema.json"


class Part(BaseModel):
    """A part of a report that is published as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class RecordingPart(Part):
    """What was recorded. ``metadata`` is its ``recording.json``, which has a schema of its own."""

    path: str
    metadata: dict[str, Any]


class PhaseKey(Part):
    """A phase of a process; both count from 0."""

    process: int
    phase: int
    name: str


class SelectionPart(Part):
    """What all parts are about that are not of the whole recording.

    ``is_all``: all phases there are, of the process asked for if one was. ``at_bytes``: size of the
    memory whose misses were asked for; null: none.
    """

    phases: list[PhaseKey]
    is_all: bool
    at_bytes: int | None


class PhasePart(PhaseKey):
    """One phase.

    Positions and accesses are of lines. ``elapsed_seconds`` passed on the host under the tracer.
    ``access_counts`` is by class of access, ``footprints`` by granularity: distinct blocks, and
    those of them that the process had never accessed before (``first_touch_count``).
    """

    is_selected: bool
    start_position: int
    end_position: int
    line_access_count: int
    instruction_count: int
    elapsed_seconds: float
    access_counts: dict[str, int]
    footprints: dict[Granularity, Footprint]
    native_time: NativeTime | None


class Bin(Part):
    """Accesses whose reuse distance is in a range of blocks, both bounds included."""

    distance_min_blocks: int
    distance_max_blocks: int
    count: int


class Quantile(Part):
    """A quantile of the reuse distances; null: it falls among the cold accesses."""

    fraction: float
    distance_blocks: CountRange | None


class CurvePoint(Part):
    """Misses of an LRU memory of one capacity; the ratio is null where there is no access."""

    capacity_bytes: int
    capacity_blocks: int
    miss_count: CountRange
    miss_ratio: RatioRange | None


class EstimatePoint(Part):
    """A miss ratio that follows from a sampled recording, and its bounds."""

    capacity_bytes: int
    miss_ratio: float
    miss_ratio_bounds: RatioRange


class ReusePart(Part):
    """Reuse distances at one granularity.

    Of a sampled recording all counts are of accesses to the blocks followed; ``estimates`` is what
    follows for the program, and null where the recording is exact or has no access.
    """

    block_bytes: int
    access_count: int
    reuse_count: int
    cold_count: int
    quantiles: list[Quantile]
    bins: list[Bin]
    miss_curve: list[CurvePoint]
    estimates: list[EstimatePoint] | None


class SyscallPart(Part):
    """All calls of one name.

    ``total_count`` is of the whole recording, all else of the selection. ``errors`` counts by
    error, ``callers`` by the object file that made the call (empty: unknown).
    """

    name: str
    count: int
    total_count: int
    error_count: int
    errors: dict[str, int]
    unreturned_count: int
    kernel_read_bytes: int
    kernel_write_bytes: int
    callers: dict[str, int]


class ShowReport(Part):
    """What `sgxlens show` knows of a recording.

    A part is null where it was not recorded, and empty where nothing happened. ``no_attribution``
    says why the parts from ``operators`` to ``timeline`` are null; it is empty where they are not
    (``operators`` is also null where nothing told of any, ``line_bytes`` where it was not
    recorded).
    """

    schema_name: Literal["sgxlens-show"] = Field(alias="schema")
    schema_version: Literal[1]
    recording: RecordingPart
    warnings: list[str]
    selection: SelectionPart
    phases: list[PhasePart]
    no_attribution: str
    operators: OperatorSection | None
    regions: RegionSection | None
    reuse_sources: SourceSection | None
    working_sets: WorkingSetSection | None
    sharing: SharingSection | None
    spatial_use: SpatialSection | None
    line_bytes: LineBytesSection | None
    timeline: TimelineSection | None
    reuse: dict[Granularity, ReusePart]
    syscalls: list[SyscallPart] | None
    traps: list[TrapRow] | None
    signals: list[SignalRow] | None
    threads: ThreadSection | None


def json_text(document: Document) -> str:
    """The report as JSON; see `published_json`."""
    return published_json(json_report(document))


def schema_text() -> str:
    """The schema of `json_text`, as published in the package."""
    return (files("sgxlens.report") / _SCHEMA_FILE).read_text(encoding="utf-8")


def generated_schema_text() -> str:
    """The schema of `json_text`, as it follows from the models."""
    return published_schema(ShowReport, SCHEMA_NAME, SCHEMA_VERSION)


def published_json(report: Part) -> str:
    r"""A report as JSON, ASCII only and of finite numbers.

    ``</`` is written ``<\/``, so that the text may stand in a page's script.
    """
    content = report.model_dump(mode="json", by_alias=True)
    text = json.dumps(content, indent=1, allow_nan=False)
    return text.replace("</", "<\\/") + "\n"


def published_schema(report: type[Part], name: str, version: int) -> str:
    """The JSON Schema of a report."""
    schema = report.model_json_schema(mode="serialization", by_alias=True)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{name}:{version}",
    }
    return json.dumps(head | schema, indent=1) + "\n"


def json_report(document: Document) -> ShowReport:
    """The report as the models of this module."""
    who = document.attribution
    return ShowReport(
        schema=SCHEMA_NAME,
        schema_version=SCHEMA_VERSION,
        recording=RecordingPart(
            path=printable(document.path),
            metadata=document.metadata.model_dump(mode="json", by_alias=True),
        ),
        warnings=list(document.warnings),
        selection=SelectionPart(
            phases=[PhaseKey(**_phase_key(p)) for p in document.selection],
            is_all=document.selects_all,
            at_bytes=document.reuse.at_bytes,
        ),
        phases=[_phase(row) for row in document.phases],
        no_attribution=document.no_attribution,
        operators=who.operators if who is not None else None,
        regions=who.regions if who is not None else None,
        reuse_sources=who.sources if who is not None else None,
        working_sets=who.working_sets if who is not None else None,
        sharing=who.sharing if who is not None else None,
        spatial_use=who.spatial if who is not None else None,
        line_bytes=who.line_bytes if who is not None else None,
        timeline=who.timeline if who is not None else None,
        reuse={
            "line": _reuse(document.reuse, "line"),
            "page": _reuse(document.reuse, "page"),
        },
        syscalls=None if document.syscalls is None else [_syscall(r) for r in document.syscalls],
        traps=None if document.traps is None else list(document.traps),
        signals=None if document.signals is None else list(document.signals),
        threads=document.threads,
    )


def _phase_key(phase: Phase) -> dict[str, Any]:
    return {"process": phase.process, "phase": phase.index, "name": phase.name}


def _phase(row: PhaseRow) -> PhasePart:
    phase = row.phase
    return PhasePart(
        **_phase_key(phase),
        is_selected=row.is_selected,
        start_position=phase.start_position,
        end_position=phase.end_position,
        line_access_count=phase.line_access_count,
        instruction_count=phase.instruction_count,
        elapsed_seconds=phase.elapsed_seconds,
        access_counts=row.access_counts,
        footprints={"line": row.footprints["line"], "page": row.footprints["page"]},
        native_time=row.native_time,
    )


def _reuse(section: ReuseSection, granularity: str) -> ReusePart:
    histogram = section.histograms[granularity]
    curve = section.curves[granularity]
    bins = zip(
        histogram.distance_min_blocks.tolist(),
        histogram.distance_max_blocks.tolist(),
        histogram.count.tolist(),
        strict=True,
    )
    points = zip(
        section.capacity_bytes,
        curve.capacity_blocks.tolist(),
        curve.miss_count_low.tolist(),
        curve.miss_count_high.tolist(),
        strict=True,
    )
    total = histogram.total
    return ReusePart(
        block_bytes=histogram.block_bytes,
        access_count=total,
        reuse_count=histogram.reuse_count,
        cold_count=histogram.cold_count,
        quantiles=_quantiles(histogram),
        bins=[
            Bin(distance_min_blocks=low, distance_max_blocks=high, count=count)
            for low, high, count in bins
        ],
        miss_curve=[
            CurvePoint(
                capacity_bytes=size,
                capacity_blocks=blocks,
                miss_count=CountRange(low, high),
                miss_ratio=RatioRange(low / total, high / total) if total else None,
            )
            for size, blocks, low, high in points
        ],
        estimates=_estimates(section, granularity),
    )


def _quantiles(histogram: ReuseHistogram) -> list[Quantile]:
    if not histogram.total:
        return []
    found = {fraction: histogram.quantile_blocks(fraction) for fraction in QUANTILES}
    return [
        Quantile(fraction=fraction, distance_blocks=None if span is None else CountRange(*span))
        for fraction, span in found.items()
    ]


def _estimates(section: ReuseSection, granularity: str) -> list[EstimatePoint] | None:
    if section.estimates is None:
        return None
    estimate = section.estimates[granularity]
    points = zip(
        section.capacity_bytes,
        estimate.miss_ratio.tolist(),
        estimate.miss_ratio_low.tolist(),
        estimate.miss_ratio_high.tolist(),
        strict=True,
    )
    return [
        EstimatePoint(
            capacity_bytes=size, miss_ratio=ratio, miss_ratio_bounds=RatioRange(low, high)
        )
        for size, ratio, low, high in points
    ]


def _syscall(row: SyscallRow) -> SyscallPart:
    return SyscallPart(
        name=row.name,
        count=row.count,
        total_count=row.total_count,
        error_count=row.error_count,
        errors=row.errors,
        unreturned_count=row.unreturned_count,
        kernel_read_bytes=row.kernel_read_bytes,
        kernel_write_bytes=row.kernel_write_bytes,
        callers=row.callers,
    )
