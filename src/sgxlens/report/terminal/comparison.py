# SPDX-License-Identifier: Apache-2.0
"""Renders comparisons for a terminal: 80 columns, with or without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sgxlens.enclave.charges import CAUSE_TITLES
from sgxlens.report.comparison import change_verdict
from sgxlens.report.terminal.layout import (
    INDENT,
    fitted_table,
    left_out_lines,
    named_texts,
    report_console,
    ruled,
    share,
    titled,
    warning_line,
    with_rest,
)
from sgxlens.report.terminal.values import number, signed_count, signed_range, value_range
from sgxlens.report.titles import (
    DIRECTION_TITLES,
    NEEDED_SIZES,
    SIZE_TITLES,
    SOURCE_TITLES,
)
from sgxlens.text import one_line
from sgxlens.units import (
    format_bytes,
    format_count,
    format_needed_bytes,
    format_ratio,
    format_seconds,
    format_signed_ratio,
    format_signed_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import Console, RenderableType

    from sgxlens.comparison.model import (
        Change,
        Changes,
        Comparison,
        FactChanges,
        OperatorSide,
        PerSample,
        SizeChange,
        TimeChanges,
    )
    from sgxlens.report.comparison import ComparisonDocument

_ITEMS_MAX = 10
_SWINGS_MAX = 5
#: Beside the largest difference, smaller ones than this share of it are not worth a line.
_SHARE_MIN = 0.01


def print_comparisons(
    document: ComparisonDocument, file: TextIO | None = None, *, top: int = 10
) -> None:
    """Prints comparisons, with colour only where that is wanted.

    Args:
        document: the comparisons.
        file: where to print; None: standard output.
        top: how many operators.
    """
    console = report_console(file)
    for part in _parts(document, console, top):
        console.print(part)


def _parts(document: ComparisonDocument, console: Console, top: int) -> Iterable[RenderableType]:
    ascii_only = console.options.ascii_only
    width = console.width - INDENT
    first = document.comparisons[0]
    yield _header(first)
    for warning in first.warnings:
        yield warning_line(warning)
    if first.deployment is not None:
        runtime = one_line(first.deployment.runtime_title, 30)
        yield titled(
            f"Inside an enclave, by platform, in {runtime}",
            _platforms(document.comparisons, width),
        )
    yield from left_out_lines(document.left_out)
    for index in document.detailed:
        comparison = document.comparisons[index]
        for changes in comparison.changes:
            yield from _details(comparison, changes, width, top, ascii_only=ascii_only)
    for index, changes in enumerate(first.changes):
        title = f"{changes.label} against {first.sides[0].label}: on any platform"
        yield ruled(title, ascii_only=ascii_only)
        yield from _facts(first, index, width)


def _header(comparison: Comparison) -> RenderableType:
    rows = []
    for side in comparison.sides:
        words = [
            one_line(side.recording),
            side.target,
            f"phase {side.phase} ({one_line(side.phase_name, 30)})",
        ]
        if side.batch_size is not None:
            words.append(f"batch of {side.batch_size:,}")
        if side.prediction is not None:
            native = side.prediction.steady.native
            threads = side.prediction.deployment.threads
            words.append(
                f"natively {format_seconds(native.median_seconds)}, {threads}"
                f" thread{'s' if threads > 1 else ''}"
            )
        rows.append((side.label, "; ".join(words)))
    return named_texts(rows)


def _platforms(comparisons: Sequence[Comparison], width: int) -> RenderableType:
    rows = [
        [
            comparison.deployment.platform if comparison.deployment is not None else "",
            changes.label,
            *_cells(changes.times.sgx_seconds),
        ]
        for comparison in comparisons
        for changes in comparison.changes
        if changes.times is not None
    ]
    headings = ["platform", "", comparisons[0].sides[0].label, "other", "difference", "range", ""]
    return fitted_table(headings, rows, width, (0,), (1, 6))


def _cells(change: Change) -> list[str]:
    difference = change.difference
    return [
        format_seconds(change.before.likely),
        format_seconds(change.after.likely),
        format_signed_seconds(difference.likely),
        signed_range(difference) if change.direction != "same" else "",
        DIRECTION_TITLES[change.direction],
    ]


def _details(
    comparison: Comparison, changes: Changes, width: int, top: int, *, ascii_only: bool
) -> Iterable[RenderableType]:
    times, place = changes.times, comparison.deployment
    if times is None or place is None:
        yield Text(f"\n{comparison.no_times}")
        return
    labels = (comparison.sides[0].label, changes.label)
    yield ruled(
        one_line(
            f"{labels[1]} against {labels[0]}: {place.platform_title}, {place.runtime_title}", 76
        ),
        ascii_only=ascii_only,
    )
    yield Text(change_verdict(comparison, changes))
    yield titled("Times", _times(times, labels, width))
    if times.per_sample is not None:
        yield titled("For each sample", _per_sample(times.per_sample, labels, width))
    yield titled("By cause", _causes(times, labels, width))
    yield titled("What happens, and what it costs", _items(times, labels, width))
    yield titled("How often", _counts(times, labels, width))
    yield from _operators(times, labels, width, top)
    if times.sensitivity:
        yield titled(
            "What makes the range of what is added: its difference with one value changed",
            _sensitivity(times, width),
        )
    yield titled("What leaves the enclave", _exits(times, labels, width, top))
    yield titled("Sizes", _sizes(times.sizes, labels, width))


def _times(times: TimeChanges, labels: tuple[str, str], width: int) -> RenderableType:
    slowdown = times.slowdown
    difference = slowdown.difference
    rows = [
        ["natively", *_cells(times.native_seconds)],
        ["added by the enclave", *_cells(times.added_seconds)],
        ["inside", *_cells(times.sgx_seconds)],
        [
            "slower by",
            f"{format_ratio(slowdown.before.likely)} x",
            f"{format_ratio(slowdown.after.likely)} x",
            format_signed_ratio(difference.likely),
            value_range(difference, format_signed_ratio),
            DIRECTION_TITLES[slowdown.direction],
        ],
        ["start-up", *_cells(times.startup_seconds)],
    ]
    return _changes(rows, labels, width)


def _changes(
    rows: Sequence[Sequence[str]], labels: tuple[str, str], width: int, first: str = ""
) -> RenderableType:
    headings = [first, *labels, "difference", "range", ""]
    return fitted_table(headings, rows, width, (0,), (5,))


def _per_sample(one: PerSample, labels: tuple[str, str], width: int) -> RenderableType:
    rows = [
        ["samples", str(one.before_batch_size), str(one.after_batch_size), "", "", ""],
        ["natively", *_cells(one.native_seconds)],
        ["added by the enclave", *_cells(one.added_seconds)],
        ["inside", *_cells(one.sgx_seconds)],
    ]
    return _changes(rows, labels, width)


def _causes(times: TimeChanges, labels: tuple[str, str], width: int) -> RenderableType:
    rows = [
        [CAUSE_TITLES[row.cause].removeprefix("the "), *_cells(row.added_seconds)]
        for row in times.causes
    ]
    return _changes(rows, labels, width)


def _items(times: TimeChanges, labels: tuple[str, str], width: int) -> RenderableType:
    items = times.items[:_ITEMS_MAX]
    least = _SHARE_MIN * max((abs(i.added_seconds.difference.likely) for i in items), default=0)
    shown = [i for i in items if abs(i.added_seconds.difference.likely) >= least]
    if not shown:
        return Text("Nothing.")
    rows = [
        [
            item.what,
            format_count(item.count.before.likely),
            format_count(item.count.after.likely),
            format_signed_seconds(item.added_seconds.difference.likely),
            signed_range(item.added_seconds.difference),
            DIRECTION_TITLES[item.added_seconds.direction],
        ]
        for item in shown
    ]
    headings = ["what", f"count {labels[0]}", f"count {labels[1]}", "difference", "range", ""]
    table = fitted_table(headings, rows, width, (0,), (5,))
    return with_rest(table, len(times.items) - len(shown), "kinds that differ less")


def _counts(times: TimeChanges, labels: tuple[str, str], width: int) -> RenderableType:
    rows = [[row.name, *_count_cells(row.count)] for row in times.counts]
    return _changes(rows, labels, width)


def _count_cells(change: Change) -> list[str]:
    difference = change.difference
    return [
        format_count(change.before.likely),
        format_count(change.after.likely),
        signed_count(difference.likely),
        "" if change.direction == "same" else value_range(difference, signed_count),
        DIRECTION_TITLES[change.direction],
    ]


def _operators(
    times: TimeChanges, labels: tuple[str, str], width: int, top: int
) -> Iterable[RenderableType]:
    if times.graph is None:
        yield titled("Operators", Text("Not known in both recordings."))
        return
    if times.graph.corresponds:
        ranked = times.operators
        rows = [
            [
                row.name if row.type else "(no operator)",
                row.type,
                _inside(row.before),
                _inside(row.after),
                format_signed_seconds(row.likely_seconds),
                signed_range(row.added_seconds.difference),
                DIRECTION_TITLES[row.added_seconds.direction],
            ]
            for row in ranked[:top]
        ]
        headings = ["operator", "type", *labels, "differs", "added: range", ""]
        table = fitted_table(headings, rows, width, (0, 1), (6,))
        parts = [Text(times.graph.sentence), with_rest(table, len(ranked) - top, "operators")]
        yield titled("Operators by changed time", Group(*parts))
    else:
        yield titled("Operators", Text(times.graph.sentence))
    yield titled("Types of operators by changed time", _types(times, labels, width, top))


def _inside(side: OperatorSide | None) -> str:
    if side is None:
        return "-"
    return format_seconds((side.native_seconds or 0) + side.added_seconds.likely)


def _types(times: TimeChanges, labels: tuple[str, str], width: int, top: int) -> RenderableType:
    rows = [
        [
            row.type or "(no operator)",
            f"{row.before_count} / {row.after_count}" if row.type else "",
            format_seconds(row.before_native_seconds + row.added_seconds.before.likely),
            format_seconds(row.after_native_seconds + row.added_seconds.after.likely),
            format_signed_seconds(row.likely_seconds),
            signed_range(row.added_seconds.difference),
            DIRECTION_TITLES[row.added_seconds.direction],
        ]
        for row in times.types[:top]
    ]
    headings = ["type", "count", *labels, "differs", "added: range", ""]
    table = fitted_table(headings, rows, width, (0,), (6,))
    return with_rest(table, len(times.types) - top, "types")


def _sensitivity(times: TimeChanges, width: int) -> RenderableType:
    shown = times.sensitivity[:_SWINGS_MAX]
    rows = [
        [
            swing.name.removeprefix("platform."),
            *(
                number(value) if swing.kind == "constant" else signed_count(value)
                for value in (swing.value.low, swing.value.high)
            ),
            format_signed_seconds(swing.low_seconds),
            format_signed_seconds(swing.high_seconds),
        ]
        for swing in shown
    ]
    headings = ["constant or count", "low", "high", "at low", "at high"]
    table = fitted_table(headings, rows, width, (0,))
    rest = len(times.sensitivity) - len(shown)
    return with_rest(table, rest, "constants and counts that matter less")


def _exits(times: TimeChanges, labels: tuple[str, str], width: int, top: int) -> RenderableType:
    if not times.exits:
        return Text("No system call and no trap.")
    rows = [
        [
            row.name,
            format_count(row.before_count),
            format_count(row.after_count),
            *(_pair(change) for change in (row.ocalls, row.exceptions, row.aex)),
        ]
        for row in times.exits[:top]
    ]
    headings = ["call or event", *(f"count {one}" for one in labels), "OCALLs", "traps", "AEXs"]
    table = fitted_table(headings, rows, width, (0,))
    return with_rest(table, len(times.exits) - top, "kinds")


def _pair(change: Change) -> str:
    """``3``, or ``3 to 7`` where it changes."""
    before, after = format_count(change.before.likely), format_count(change.after.likely)
    return before if before == after else f"{before} -> {after}"


def _facts(comparison: Comparison, index: int, width: int) -> Iterable[RenderableType]:
    changes = comparison.changes[index]
    labels = (comparison.sides[0].label, changes.label)
    facts = changes.facts
    rows = [
        [
            name,
            *(format_count(value) for value in counts),
            _times_as_much(*counts),
        ]
        for name, counts in (
            ("accesses to lines", facts.line_access_counts),
            ("instructions", facts.instruction_counts),
        )
    ]
    rows += [_size(row) for row in facts.sizes]
    parts: list[RenderableType] = [fitted_table(["", *labels, "ratio"], rows, width, (0,))]
    if facts.working_set_line_accesses is not None:
        window = format_count(facts.working_set_line_accesses)
        parts.append(Text(f"Working sets are of windows of {window} accesses."))
    yield titled("Memory", Group(*parts))
    if facts.sources:
        yield titled("Where the block was accessed before", _sources(facts, labels, width))


def _sizes(sizes: Sequence[SizeChange], labels: tuple[str, str], width: int) -> RenderableType:
    return fitted_table(["", *labels, "ratio"], [_size(row) for row in sizes], width, (0,))


def _size(row: SizeChange) -> list[str]:
    values = (row.before_bytes, row.after_bytes)
    form = format_needed_bytes if row.name in NEEDED_SIZES else format_bytes
    return [
        SIZE_TITLES[row.name],
        *("-" if value is None else form(value) for value in values),
        "" if None in values else _times_as_much(row.before_bytes or 0, row.after_bytes or 0),
    ]


def _times_as_much(before: int, after: int) -> str:
    return f"{format_ratio(after / before)} x" if before else ""


def _sources(facts: FactChanges, labels: tuple[str, str], width: int) -> RenderableType:
    shares = {(row.source, row.granularity): row for row in facts.sources}
    rows = []
    for source in dict.fromkeys(row.source for row in facts.sources):
        cells = [SOURCE_TITLES[source]]
        for granularity in ("line", "page"):
            row = shares.get((source, granularity))
            ratios = (row.before_ratio, row.after_ratio) if row is not None else (0.0, 0.0)
            cells += ["-" if ratio is None else share(ratio, 1) for ratio in ratios]
        rows.append(cells)
    headings = ["source", *(f"{what}\n{one}" for what in ("lines", "pages") for one in labels)]
    return fitted_table(headings, rows, width, (0,))
