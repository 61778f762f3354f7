# SPDX-License-Identifier: Apache-2.0
"""The tables of reports as CSV and Parquet, for spreadsheets, pandas, Polars and DuckDB.

A row says what it is about (platform, phase, granularity), so that tables of several recordings can
be put together; names of columns carry units. What is not known is null.
"""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sgxlens.enclave.charges import CAUSES
from sgxlens.report.json import json_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sgxlens.enclave.quantities import Range
    from sgxlens.prediction.model import PhaseTime, Swing
    from sgxlens.prediction.result import Prediction
    from sgxlens.report.attribution_section import MemoryUse
    from sgxlens.report.document import Document
    from sgxlens.report.json import ShowReport

Row = dict[str, Any]


def tables(document: Document, predictions: Sequence[Prediction]) -> dict[str, pa.Table]:
    """All tables that have a row, by name.

    Args:
        document: what `sgxlens show` says of the recording.
        predictions: what it would cost, one for each platform; may be none.
    """
    show = json_report(document)
    about: Row = {}
    if len(show.selection.phases) == 1:
        one = show.selection.phases[0]
        about = {"process": one.process, "phase": one.phase}
    found = {
        "phases": _phases(show),
        "reuse_histogram": _about(_histogram(show), about),
        "miss_curve": _about(_miss_curve(show), about),
        "regions": _about(_regions(show), about),
        "reuse_sources": _about(_sources(show), about),
        "working_sets": _about(_working_sets(show), about),
        "system_calls": _about(_system_calls(show), about),
        "operators": _about(_operators(show), about),
        "predictions": _each(predictions, _prediction),
        "causes": _each(predictions, _causes),
        "items": _each(predictions, _items),
        "operator_times": _each(predictions, _operator_times),
        "sensitivity": _each(predictions, _sensitivity),
        "paging_curve": _each(predictions, _curve),
        "exits": _each(predictions, _exits),
    }
    made = {name: list(rows) for name, rows in found.items()}
    return {name: _table(rows) for name, rows in made.items() if rows}


def csv_bytes(table: pa.Table) -> bytes:
    """A table as CSV (RFC 4180): a line of names, text quoted, null empty."""
    sink = io.BytesIO()
    pa.csv.write_csv(table, sink)
    return sink.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _table(rows: Sequence[Row]) -> pa.Table:
    # Columns that are null in the first rows have their type from later ones.
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def _about(rows: Iterable[Row], about: Row) -> Iterator[Row]:
    return (about | row for row in rows)


def _range(name: str, unit: str, value: Range | None) -> Row:
    return {
        f"{name}_{end}_{unit}": None if value is None else getattr(value, end)
        for end in ("low", "likely", "high")
    }


def _phases(show: ShowReport) -> Iterator[Row]:
    for phase in show.phases:
        native = phase.native_time
        yield {
            "process": phase.process,
            "phase": phase.phase,
            "name": phase.name,
            "is_selected": phase.is_selected,
            "line_access_count": phase.line_access_count,
            "instruction_count": phase.instruction_count,
            "line_footprint_bytes": phase.footprints["line"].size_bytes,
            "page_footprint_bytes": phase.footprints["page"].size_bytes,
            "native_median_seconds": None if native is None else native.median_seconds,
        }


def _histogram(show: ShowReport) -> Iterator[Row]:
    """Bins of reuse distances; the last of each granularity, without a distance, is cold."""
    for name, part in show.reuse.items():
        for one in part.bins:
            yield {
                "granularity": name,
                "distance_min_blocks": one.distance_min_blocks,
                "distance_max_blocks": one.distance_max_blocks,
                "access_count": one.count,
            }
        yield {
            "granularity": name,
            "distance_min_blocks": None,
            "distance_max_blocks": None,
            "access_count": part.cold_count,
        }


def _miss_curve(show: ShowReport) -> Iterator[Row]:
    for name, part in show.reuse.items():
        for point in part.miss_curve:
            ratio = point.miss_ratio
            yield {
                "granularity": name,
                "capacity_bytes": point.capacity_bytes,
                "miss_low_count": point.miss_count.low,
                "miss_high_count": point.miss_count.high,
                "miss_low_ratio": None if ratio is None else ratio.low,
                "miss_high_ratio": None if ratio is None else ratio.high,
            }


def _use(use: Mapping[Any, MemoryUse]) -> Row:
    found: Row = {}
    for name in ("line", "page"):
        one = use[name]
        found |= {
            f"{name}_access_count": one.access_count,
            f"{name}_footprint_bytes": one.footprint_bytes,
            f"{name}_written_block_count": one.written_block_count,
        }
        if one.miss_count is not None:
            found |= {
                f"{name}_miss_low_count": one.miss_count.low,
                f"{name}_miss_high_count": one.miss_count.high,
            }
        found |= {
            f"{name}_access_from_{source}_count": count
            for source, count in one.access_counts_by_source.items()
        }
    return found


def _regions(show: ShowReport) -> Iterator[Row]:
    for row in show.regions.rows if show.regions is not None else ():
        yield {
            "region": row.region,
            "kind": row.kind,
            "name": row.name,
            "role": row.role,
            **_use(row.use),
        }


def _operators(show: ShowReport) -> Iterator[Row]:
    for row in show.operators.rows if show.operators is not None else ():
        native = row.native_time
        yield {
            "operator": row.operator,
            "index": row.index,
            "parent": row.parent,
            "thread": row.thread,
            "name": row.name,
            "type": row.type,
            "parameter_bytes": row.parameter_bytes,
            "activation_bytes": row.activation_bytes,
            "output_bytes": row.output_bytes,
            "profiled_native_median_seconds": None if native is None else native.median_seconds,
            **_use(row.use),
        }


def _sources(show: ShowReport) -> Iterator[Row]:
    for row in show.reuse_sources.rows if show.reuse_sources is not None else ():
        for name, counts in row.counts.items():
            yield {
                "source": row.source,
                "granularity": name,
                "access_count": counts.access_count,
                "other_thread_count": counts.other_thread_count,
            }


def _working_sets(show: ShowReport) -> Iterable[Row]:
    section = show.working_sets
    return [asdict(window) for window in section.windows] if section is not None else ()


def _system_calls(show: ShowReport) -> Iterator[Row]:
    for row in show.syscalls or ():
        yield {
            "name": row.name,
            "count": row.count,
            "recording_count": row.total_count,
            "error_count": row.error_count,
            "kernel_read_bytes": row.kernel_read_bytes,
            "kernel_write_bytes": row.kernel_write_bytes,
        }


def _each(predictions: Sequence[Prediction], rows_of: Any) -> Iterator[Row]:
    for prediction in predictions:
        place = prediction.deployment
        about = {"platform": place.platform, "runtime": place.runtime}
        for row in rows_of(prediction):
            yield about | row


def _prediction(prediction: Prediction) -> Iterator[Row]:
    place = prediction.deployment
    yield {
        **_phase(prediction.steady),
        "threads": place.threads,
        **_range("epc", "bytes", place.epc_bytes),
        **_range("llc", "bytes", place.llc_bytes),
        "native_median_seconds": prediction.steady.native.median_seconds,
        **_range("inside", "seconds", prediction.steady.sgx_seconds),
        **_range("added", "seconds", prediction.steady.added_seconds),
        **_range("slowdown", "ratio", prediction.steady.slowdown),
        **_range("startup", "seconds", prediction.startup.total_seconds),
        "resident_bytes": prediction.sizing.resident_bytes,
        "committed_bytes": prediction.sizing.committed_bytes,
        **_range("total", "bytes", prediction.sizing.total_bytes),
        "enclave_bytes": prediction.sizing.enclave_bytes,
        "epc_fitting_bytes": prediction.epc.fitting_bytes,
        "epc_cliff_bytes": prediction.epc.cliff_bytes,
    }


def _phase(time: PhaseTime) -> Row:
    return {"process": time.process, "phase": time.phase, "phase_name": time.name}


def _causes(prediction: Prediction) -> Iterator[Row]:
    for time in prediction.phases:
        for row in time.causes:
            yield {
                **_phase(time),
                "cause": row.cause,
                **_range("added", "seconds", row.added_seconds),
            }


def _items(prediction: Prediction) -> Iterator[Row]:
    for time in prediction.phases:
        for item in time.items:
            yield {
                **_phase(time),
                "cause": item.cause,
                "what": item.what,
                "constant": item.constant,
                **_range("constant", "ns", item.constant_ns),
                **_range("what", "count", item.count),
                **_range("added", "seconds", item.added_seconds),
            }


def _operator_times(prediction: Prediction) -> Iterator[Row]:
    for time in prediction.phases:
        for row in time.operators:
            yield {
                **_phase(time),
                "operator": row.operator,
                "index": row.index,
                "name": row.name,
                "type": row.type,
                "native_seconds": row.native_seconds,
                **_range("added", "seconds", row.added_seconds),
                **{
                    f"{cause}_likely_seconds": row.added_seconds_by_cause.get(cause, 0.0)
                    for cause in CAUSES
                },
            }


def _sensitivity(prediction: Prediction) -> Iterator[Row]:
    found: dict[str, Sequence[Swing]] = {
        "steady": prediction.steady.sensitivity,
        "startup": prediction.startup.sensitivity,
    }
    for of, swings in found.items():
        for swing in swings:
            yield {
                "of": of,
                "kind": swing.kind,
                "name": swing.name,
                "cause": swing.cause,
                "value_low": swing.value.low,
                "value_likely": swing.value.likely,
                "value_high": swing.value.high,
                "at_low_seconds": swing.low_seconds,
                "at_high_seconds": swing.high_seconds,
                "source": swing.source,
            }


def _curve(prediction: Prediction) -> Iterator[Row]:
    for point in prediction.epc.curve:
        yield {
            "epc_bytes": point.epc_bytes,
            "load_count": point.load_count,
            **_range("added", "seconds", point.added_seconds),
        }


def _exits(prediction: Prediction) -> Iterator[Row]:
    for row in prediction.exits.rows:
        yield {
            "name": row.name,
            "is_background": row.is_background,
            "outcome": row.outcome,
            "why": row.why,
            "count": row.count,
            **_range("ocall", "count", row.ocalls),
            **_range("exception", "count", row.exceptions),
            **_range("aex", "count", row.aex),
        }
