# SPDX-License-Identifier: Apache-2.0
"""Renders a report for a terminal: 80 columns, with or without colour."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sgxlens.recording.format import ACCESS_CLASSES, BLOCK_BYTES
from sgxlens.report.bars import bar
from sgxlens.text import one_line
from sgxlens.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from sgxlens.report.document import Document, PhaseRow, ReuseSection
    from sgxlens.report.events import SyscallRow
    from sgxlens.reuse.curves import MissRatioCurve
    from sgxlens.reuse.histogram import ReuseHistogram
    from sgxlens.reuse.sampling import MissRatioEstimate

_WIDTH = 80
_BAR_CELLS = 17
_PHASES_MAX = 24
_ROWS_MAX = 20
_OTHER_SYSCALLS = 8
_GRANULARITY_TITLES = {"line": "cache lines (64 B)", "page": "pages (4 KiB)"}


def print_document(document: Document, file: TextIO | None = None) -> None:
    """Prints a report to `file` (None: standard output), with colour only where that is wanted."""
    console = Console(file=file, markup=False, emoji=False, highlight=False)
    if console.width > _WIDTH:
        # Wider tables are harder to read, not easier.
        console.width = min(console.width, 100)
    for part in _parts(document, ascii_only=console.options.ascii_only):
        console.print(part)


def _parts(document: Document, ascii_only: bool) -> Iterable[RenderableType]:
    yield _header(document)
    for warning in document.warnings:
        yield Text(f"! {one_line(warning)}", style="bold yellow")
    if len(document.metadata.processes) > 1:
        yield _section("Processes", _processes(document))
    yield _section("Line accesses of each phase", _accesses(document))
    yield _section(
        "Footprint of each phase: distinct blocks, and how many of them are new",
        _footprints(document),
    )
    if not document.selection:
        yield Text("There is no phase: the program made no access while it was recorded.")
        return
    yield Text(
        f"\n── {_selection_name(document)} ──".replace("─", "-" if ascii_only else "─"), "bold"
    )
    yield _reuse(document.reuse, ascii_only=ascii_only)
    yield _section("System calls", _syscalls(document))
    yield _section("Traps: instructions that leave an enclave", _traps(document))
    yield _section("Signals delivered to a handler, whole recording", _signals(document))
    yield _section("Threads, whole recording", _threads(document))


def _header(document: Document) -> RenderableType:
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
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        failed = name == "outcome" and not outcome.is_clean
        grid.add_row(name, Text(value, style="bold red" if failed else ""))
    return grid


def _outcome_text(document: Document) -> str:
    outcome = document.metadata.outcome
    if outcome.status == "exited":
        return f"exited with status {outcome.exit_code}"
    if outcome.status == "signalled":
        return f"killed by {outcome.signal}"
    return {"interrupted": "interrupted", "lost": "the stream was lost"}[outcome.status]


def _processes(document: Document) -> RenderableType:
    table = _table("process", "pid", "parent", "started", "program", "ended", "line accesses")
    for column in (0, 1, 2, 6):
        table.columns[column].justify = "right"
    processes = document.metadata.processes
    for info in processes[:_ROWS_MAX]:
        ended = info.end if info.exit_code is None else f"{info.end} {info.exit_code}"
        table.add_row(
            str(info.process),
            str(info.pid),
            str(info.parent_pid),
            info.started,
            _cell(info.program, 24),
            ended,
            format_count(info.line_access_count),
        )
    return _with_rest(table, len(processes) - _ROWS_MAX, "processes")


def _accesses(document: Document) -> RenderableType:
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
    return _with_rest(table, len(document.phases) - _PHASES_MAX, "phases")


def _footprints(document: Document) -> RenderableType:
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
    table = _table(*(["pr."] if many else []), "#", "phase", *headings)
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
    table.add_row(*process, number, _cell(row.phase.name, 16), *cells, style=style)


def _shown_phases(rows: Sequence[PhaseRow]) -> list[PhaseRow | None]:
    """All rows, or of very many the first, the last and the selected ones; None: some left out."""
    if len(rows) <= _PHASES_MAX:
        return list(rows)
    half = _PHASES_MAX // 2
    selected = [row for row in rows[half:-half] if row.is_selected][:1]
    return [*rows[:half], *([None, *selected] if selected else []), None, *rows[-half:]]


def _selection_name(document: Document) -> str:
    if document.selects_all:
        return "All phases together"
    names = list(dict.fromkeys(phase.name for phase in document.selection))
    first = document.selection[0]
    if len(document.selection) == 1:
        text = f"Phase {first.index}: {one_line(names[0], 40)}"
        many = len({row.phase.process for row in document.phases}) > 1
        return f"{text} (process {first.process})" if many else text
    return f"{len(document.selection)} phases together: {one_line(', '.join(names), 40)}"


def _reuse(section: ReuseSection, ascii_only: bool) -> RenderableType:
    summary = _table("", *_GRANULARITY_TITLES.values())
    for column in summary.columns[1:]:
        column.justify = "right"
    histograms = section.histograms
    followed = "accesses" if section.estimates is None else "accesses to sampled blocks"
    summary.add_row(followed, *(format_count(h.total) for h in histograms.values()))
    summary.add_row(
        "cold misses (first accesses)",
        *(f"{format_count(h.cold_count)} ({_share(h.cold_count, h)})" for h in histograms.values()),
    )
    for name, fraction in (("median", 0.5), ("90 %", 0.9), ("99 %", 0.99)):
        summary.add_row(f"distance, {name}", *(_quantile(h, fraction) for h in histograms.values()))
    return Group(
        _section("Data reuse", summary),
        _section(
            "Accesses by reuse distance (distinct other blocks in between)",
            _histogram(section, ascii_only=ascii_only),
        ),
        _section("Misses of an LRU memory by its capacity", _curve(section)),
    )


def _histogram(section: ReuseSection, ascii_only: bool) -> RenderableType:
    histograms = section.histograms
    if not any(h.total for h in histograms.values()):
        return Text("No accesses.")
    table = _table("blocks", *_share_headings())
    table.columns[0].justify = "right"
    rows = [(_span(r.distance_min_blocks, r.distance_end_blocks), r.counts) for r in section.rows]
    rows.append(("cold", {name: h.cold_count for name, h in histograms.items()}))
    longest = max(
        counts[name] / max(h.total, 1) for _, counts in rows for name, h in histograms.items()
    )
    for label, counts in rows:
        cells = []
        for name, histogram in histograms.items():
            share = counts[name] / max(histogram.total, 1)
            length = share / longest if longest else 0.0
            cells += [
                _share(counts[name], histogram),
                bar(length, _BAR_CELLS, ascii_only=ascii_only),
            ]
        table.add_row(label, *cells)
    _align_shares(table)
    return table


def _curve(section: ReuseSection) -> RenderableType:
    histograms = section.histograms
    if not any(h.total for h in histograms.values()):
        return Text("No accesses.")
    if section.estimates is not None:
        return _estimated_curve(section, section.estimates)
    table = _table("capacity", *_curve_headings("misses"))
    for column in table.columns:
        column.justify = "right"
    last = len(section.capacity_bytes) - 1
    for index, capacity in enumerate(section.capacity_bytes):
        label = format_bytes(capacity)
        is_final = all(
            int(curve.miss_count[index]) == histograms[name].cold_count
            for name, curve in section.curves.items()
        )
        if index == last and is_final:
            label += " or more"
        cells = []
        for curve in section.curves.values():
            cells += [_ratio(curve, index), format_count(int(curve.miss_count[index]))]
        table.add_row(label, *cells)
    return table


def _share_headings() -> list[str]:
    return [text for title in ("lines", "pages") for text in (title, "")]


def _estimated_curve(
    section: ReuseSection, estimates: dict[str, MissRatioEstimate]
) -> RenderableType:
    table = _table("capacity", *_curve_headings("within, %"))
    for column in table.columns:
        column.justify = "right"
    for index, capacity in enumerate(section.capacity_bytes):
        cells = []
        for estimate in estimates.values():
            low, high = estimate.miss_ratio_low[index], estimate.miss_ratio_high[index]
            cells += [
                _percent(float(estimate.miss_ratio[index])),
                " to ".join(_percent(float(r)).removesuffix(" %") for r in (low, high)),
            ]
        table.add_row(format_bytes(capacity), *cells)
    return table


def _curve_headings(second: str) -> list[str]:
    return [text for title in ("line", "page") for text in (f"{title} miss ratio", second)]


def _align_shares(table: Table) -> None:
    for index in (1, 3):
        table.columns[index].justify = "right"
        table.columns[index].min_width = 8


def _ratio(curve: MissRatioCurve, index: int) -> str:
    high = _percent(float(curve.miss_ratio[index]))
    if curve.is_exact[index]:
        return high
    return f"{_percent(float(curve.miss_ratio_low[index]))} to {high}"


def _share(count: int, histogram: ReuseHistogram) -> str:
    return _percent(count / histogram.total) if histogram.total else "-"


def _percent(ratio: float) -> str:
    if ratio != ratio:  # noqa: PLR0124 - NaN: there were no accesses
        return "-"
    percent = 100 * ratio
    if percent == 0:
        return "0 %"
    if percent < 0.001:
        return "<0.001 %"
    if percent == 100:
        return "100 %"
    text = f"{percent:.1f}" if percent >= 10 else f"{percent:.3g}"
    return f"{'>99.9' if text == '100.0' else text} %"


def _quantile(histogram: ReuseHistogram, fraction: float) -> str:
    if histogram.total == 0:
        return "-"
    span = histogram.quantile_blocks(fraction)
    if span is None:
        return "cold"
    low, high = span
    blocks = format_count(low) if low == high else f"{format_count(low)} to {format_count(high)}"
    return f"{blocks} blocks"


def _span(start: int, end: int) -> str:
    if end - start <= 1:
        return str(start)
    if start < 1024:
        return f"{start} to {end - 1}"
    return f"{_binary(start)} to {_binary(end)}"


def _binary(count: int) -> str:
    return format_bytes(count).removesuffix("B").removesuffix("i").replace(" ", "") + "i"


def _syscalls(document: Document) -> RenderableType:
    rows = document.syscalls
    if rows is None:
        return _not_recorded()
    if not rows:
        return Text("None in the whole recording.")
    table = _table(
        "name", "calls", "errors", "kernel\nread", "kernel\nwrote", "not by\nlibc", "all\nphases"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    # Those of the phase, and of the others enough to see what kind of program it is.
    shown = min(max(sum(row.count > 0 for row in rows), _OTHER_SYSCALLS), _ROWS_MAX)
    for row in rows[:shown]:
        table.add_row(
            _cell(row.name, 24),
            format_count(row.count),
            _errors(row),
            format_bytes(row.kernel_read_bytes),
            format_bytes(row.kernel_write_bytes),
            format_count(sum(row.foreign_callers.values())),
            format_count(row.total_count),
        )
    parts: list[RenderableType] = [_with_rest(table, len(rows) - shown, "kinds")]
    if not any(row.count for row in rows):
        parts.insert(0, Text("None in this phase."))
    foreign = _sum_of(row.foreign_callers for row in rows)
    if foreign:
        parts.append(Text(f"Not by libc: {_counted(foreign, 6)}"))
    unknown = sum(row.unknown_caller_count for row in rows)
    if unknown:
        parts.append(Text(f"Of unknown origin: {format_count(unknown)} calls"))
    unreturned = {row.name: row.unreturned_count for row in rows if row.unreturned_count}
    if unreturned:
        parts.append(Text(f"Did not return: {_counted(unreturned, 6)}"))
    return Group(*parts)


def _errors(row: SyscallRow) -> str:
    if not row.errors:
        return "0"
    ranked = sorted(row.errors.items(), key=lambda item: (-item[1], item[0]))
    more = " ..." if len(ranked) > 1 else ""
    return f"{format_count(row.error_count)} {ranked[0][0]}{more}"


def _traps(document: Document) -> RenderableType:
    rows = document.traps
    if rows is None:
        return _not_recorded()
    if not rows:
        return Text("None in the whole recording.")
    table = _table("instruction", "count", "all phases", "CPUID leaves")
    table.columns[1].justify = table.columns[2].justify = "right"
    for row in rows:
        leaves = {f"{leaf:#x}": count for leaf, count in row.leaves.items()}
        table.add_row(
            row.kind, format_count(row.count), format_count(row.total_count), _counted(leaves, 4)
        )
    return table


def _signals(document: Document) -> RenderableType:
    rows = document.signals
    if rows is None:
        return _not_recorded()
    if not rows:
        return Text("None.")
    return Text(_counted({row.name: row.count for row in rows}, 12))


def _threads(document: Document) -> RenderableType:
    section = document.threads
    if section is None:
        return _not_recorded()
    where = f" in {section.process_count} processes" if section.process_count > 1 else ""
    return Text(
        f"{format_count(section.count)}{where}; at most {format_count(section.alive_max)} at the"
        f" same time{' in one process' if where else ''}"
    )


def _sum_of(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def _counted(counts: Mapping[str, int], limit: int) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{one_line(n, 60)} {format_count(c)}" for n, c in ranked[:limit])
    return text + (f", and {len(ranked) - limit} more" if len(ranked) > limit else "")


def _not_recorded() -> Text:
    return Text("Not recorded.")


def _cell(text: str, limit: int) -> Text:
    """A name that came from the program, harmless and short."""
    return Text(one_line(text, limit) or '""')


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def _with_rest(table: Table, rest: int, what: str) -> RenderableType:
    if rest <= 0:
        return table
    return Group(table, Text(f"... and {rest:,} more {what}"))


def _section(title: str, content: RenderableType) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), Padding(content, (0, 0, 0, 2), expand=False))
