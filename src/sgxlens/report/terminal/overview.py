# SPDX-License-Identifier: Apache-2.0
"""The parts of a terminal report about the recording as a whole, and its phases."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sgxlens.recording.format import ACCESS_CLASSES, BLOCK_BYTES
from sgxlens.report.terminal.layout import ROWS_MAX, cell, named_texts, new_table, with_rest
from sgxlens.text import one_line
from sgxlens.units import (
    format_bytes,
    format_count,
    format_ratio,
    format_seconds,
    format_seconds_range,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from sgxlens.report.document import Document, PhaseRow

_PHASES_MAX = 24


def header(document: Document) -> RenderableType:
    """What was recorded, where and how."""
    metadata = document.metadata
    host = metadata.host
    outcome = metadata.outcome
    rate = metadata.settings.sampling_rate
    target = metadata.target
    model = getattr(target, "model", None)
    machine = (
        f"{one_line(host.cpu, 60)}, {host.cores} cores, {format_bytes(host.memory_bytes)},"
        f" Linux {one_line(host.kernel, 40)}"
    )
    tracer = (
        f"instruction set shown: {one_line(metadata.tracer.isa, 20)}; Valgrind"
        f" {one_line(metadata.tracer.valgrind, 40)};"
        f" sgxlens {one_line(metadata.sgxlens_version, 20)}"
    )
    elapsed = format_seconds(metadata.elapsed_seconds)
    rows = [
        ("recording", one_line(document.path)),
        ("command", one_line(shlex.join(metadata.command), 300)),
        ("target", f"{target.kind}: {one_line(str(model), 200)}" if model else target.kind),
        ("outcome", one_line(outcome.message or _outcome_text(document), 300)),
        ("host", machine),
        ("tracer", tracer),
        ("recorded", f"{metadata.created:%Y-%m-%d %H:%M} UTC, {elapsed} under the tracer"),
        ("sampling", "none: exact" if rate == 1 else f"one block in {1 / rate:,.4g}: estimates"),
    ]
    style = "" if outcome.is_clean else "bold red"
    return named_texts(
        (name, Text(value, style=style if name == "outcome" else "")) for name, value in rows
    )


def _outcome_text(document: Document) -> str:
    outcome = document.metadata.outcome
    if outcome.status == "exited":
        return f"exited with status {outcome.exit_code}"
    if outcome.status == "signalled":
        return f"killed by {outcome.signal}"
    return {"interrupted": "interrupted", "lost": "the stream was lost"}[outcome.status]


def selection_name(document: Document) -> str:
    """What the parts about phases are about."""
    if document.selects_all:
        return "All phases together"
    names = list(dict.fromkeys(phase.name for phase in document.selection))
    first = document.selection[0]
    if len(document.selection) == 1:
        text = f"Phase {first.index}: {one_line(names[0], 40)}"
        many = len({row.phase.process for row in document.phases}) > 1
        return f"{text} (process {first.process})" if many else text
    return f"{len(document.selection)} phases together: {one_line(', '.join(names), 40)}"


def overview(document: Document) -> RenderableType:
    """What the selection amounts to."""
    rows = [row for row in document.phases if row.is_selected]
    lines = sum(row.phase.line_access_count for row in rows)
    instructions = sum(row.phase.instruction_count for row in rows)
    facts = [f"{format_count(lines)} line accesses, {format_count(instructions)} instructions"]
    elapsed = format_seconds(sum(row.phase.elapsed_seconds for row in rows))
    if len(rows) == 1:
        line, page = (rows[0].footprints[name] for name in BLOCK_BYTES)
        facts.append(
            f"footprint {format_bytes(line.size_bytes)} of lines, {format_bytes(page.size_bytes)}"
            " of pages"
        )
        native = rows[0].native_time
        if native is not None:
            facts.append(
                f"natively {format_seconds(native.median_seconds)} (median of"
                f" {native.sample_count:,}:"
                f" {format_seconds_range(native.min_seconds, native.max_seconds)}), {elapsed}"
                " under the tracer"
            )
        else:
            facts.append(f"{elapsed} under the tracer; not timed natively")
    else:
        facts.append(f"{elapsed} under the tracer")
    return Text("\n".join(facts))


def native_times(document: Document) -> RenderableType:
    """Native times of the phases, with their spread."""
    table = _phase_table(
        document, "median", "least", "most", "times", "under the\ntracer", "slower"
    )
    rows = [row for row in document.phases if row.native_time is not None]
    for row in _shown_phases(rows):
        if row is None or row.native_time is None:
            table.add_row("", Text("..."))
            continue
        time = row.native_time
        elapsed = row.phase.elapsed_seconds
        _add_phase(
            document,
            table,
            row,
            format_seconds(time.median_seconds),
            format_seconds(time.min_seconds),
            format_seconds(time.max_seconds),
            format_count(time.sample_count),
            format_seconds(elapsed),
            f"{format_ratio(elapsed / time.median_seconds)} x" if time.median_seconds > 0 else "-",
        )
    return with_rest(table, len(rows) - _PHASES_MAX, "phases")


def processes(document: Document) -> RenderableType:
    """The processes of the recording."""
    table = new_table("process", "pid", "parent", "started", "program", "ended", "line accesses")
    for column in (0, 1, 2, 6):
        table.columns[column].justify = "right"
    processes = document.metadata.processes
    for info in processes[:ROWS_MAX]:
        ended = info.end if info.exit_code is None else f"{info.end} {info.exit_code}"
        table.add_row(
            str(info.process),
            str(info.pid),
            str(info.parent_pid),
            info.started,
            cell(info.program, 24),
            ended,
            format_count(info.line_access_count),
        )
    return with_rest(table, len(processes) - ROWS_MAX, "processes")


def accesses(document: Document) -> RenderableType:
    """Line accesses of each phase, by class."""
    headings = ["fetch", "load", "store", "kernel\nread", "kernel\nwrite"]
    table = _phase_table(document, "time", "instr.", *headings)
    for row in _shown_phases(document.phases):
        if row is None:
            table.add_row("", Text("..."))
            continue
        _add_phase(
            document,
            table,
            row,
            format_seconds(row.phase.elapsed_seconds),
            format_count(row.phase.instruction_count),
            *(format_count(row.access_counts.get(name, 0)) for name in ACCESS_CLASSES),
        )
    return with_rest(table, len(document.phases) - _PHASES_MAX, "phases")


def footprints(document: Document) -> RenderableType:
    """Distinct blocks of each phase."""
    table = _phase_table(document, "lines", "bytes", "new", "pages", "bytes", "new")
    for row in _shown_phases(document.phases):
        if row is None:
            table.add_row("", Text("..."))
            continue
        cells = []
        for granularity in BLOCK_BYTES:
            footprint = row.footprints[granularity]
            cells += [
                format_count(footprint.block_count),
                format_bytes(footprint.size_bytes),
                format_count(footprint.first_touch_count),
            ]
        _add_phase(document, table, row, *cells)
    return table


def _phase_table(document: Document, *headings: str) -> Table:
    many = len({row.phase.process for row in document.phases}) > 1
    table = new_table(*(["pr."] if many else []), "#", "phase", *headings)
    for index, column in enumerate(table.columns):
        if index != many + 1:
            column.justify = "right"
    return table


def _add_phase(document: Document, table: Table, row: PhaseRow, *cells: str) -> None:
    many = len({r.phase.process for r in document.phases}) > 1
    process = [str(row.phase.process)] if many else []
    style = "bold" if row.is_selected and not document.selects_all else None
    # The mark as well: bold alone is lost in a pipe.
    number = f"{'>' if style else ''}{row.phase.index}"
    table.add_row(*process, number, cell(row.phase.name, 16), *cells, style=style)


def _shown_phases(rows: Sequence[PhaseRow]) -> list[PhaseRow | None]:
    """All rows, or of very many the first, the last and the selected ones; None: some left out."""
    if len(rows) <= _PHASES_MAX:
        return list(rows)
    half = _PHASES_MAX // 2
    selected = [row for row in rows[half:-half] if row.is_selected][:1]
    return [*rows[:half], *([None, *selected] if selected else []), None, *rows[-half:]]
