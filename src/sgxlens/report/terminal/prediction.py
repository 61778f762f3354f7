# SPDX-License-Identifier: Apache-2.0
"""Renders predictions for a terminal: 80 columns, with or without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sgxlens.enclave.charges import CAUSE_TITLES
from sgxlens.report.terminal.epc import epc_needs
from sgxlens.report.terminal.exits import exits
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
from sgxlens.report.terminal.sizing import sizing
from sgxlens.report.terminal.values import (
    expected_count,
    number,
    of_native,
    seconds_range,
    value_range,
)
from sgxlens.report.verdict import verdict
from sgxlens.text import one_line
from sgxlens.units import (
    format_bytes,
    format_ratio,
    format_seconds,
    format_seconds_range,
    format_signed_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import Console, RenderableType

    from sgxlens.enclave.charges import Cause
    from sgxlens.enclave.quantities import Range
    from sgxlens.prediction.model import (
        Item,
        NativeBasis,
        OperatorTime,
        PhaseTime,
        StartupTime,
        Swing,
    )
    from sgxlens.prediction.result import Prediction
    from sgxlens.report.prediction import PredictionDocument

_ITEMS_MAX = 12
_STARTUP_ITEMS_MAX = 6
_SWINGS_MAX = 8
#: Beside the widest swing, narrower ones than this share of it are not worth a line.
_SWING_SHARE_MIN = 0.02
_CAUSE_HEADINGS: dict[Cause, str] = {
    "compute": "comp.",
    "transitions": "trans.",
    "encryption": "encr.",
    "paging": "paging",
    "runtime": "runt.",
}


def print_predictions(
    document: PredictionDocument, file: TextIO | None = None, *, top: int = 10
) -> None:
    """Prints predictions, with colour only where that is wanted.

    Args:
        document: the predictions.
        file: where to print; None: standard output.
        top: how many operators.
    """
    console = report_console(file)
    for part in _parts(document, console, top):
        console.print(part)


def _parts(document: PredictionDocument, console: Console, top: int) -> Iterable[RenderableType]:
    ascii_only = console.options.ascii_only
    width = console.width - INDENT
    first = document.predictions[0]
    yield _header(document, first)
    yield titled(
        f"{_phase_title(first)} inside an enclave, by platform", _comparison(document, width)
    )
    yield from left_out_lines(document.left_out)
    if len(document.detailed) < len(document.predictions):
        names = ", ".join(
            one_line(document.predictions[index].deployment.platform, 40)
            for index in document.detailed
        )
        yield Text(f"In full below: {names}; another with --platform.")
    for index in document.detailed:
        yield from _details(document.predictions[index], width, top, ascii_only=ascii_only)


def _header(document: PredictionDocument, first: Prediction) -> RenderableType:
    target = document.metadata.target
    model = getattr(target, "model", None)
    native = document.metadata.native
    host = native.host if native is not None else document.metadata.host
    rows = [
        ("recording", one_line(document.path)),
        ("target", f"{target.kind}: {one_line(str(model), 200)}" if model else target.kind),
        ("natively", _native(first.steady.native, first.deployment.threads)),
    ]
    if first.steady.native.source == "recorded":
        rows.append(("measured on", one_line(f"{host.cpu}, {host.cores} cores", 100)))
    return named_texts(rows)


def _native(native: NativeBasis, threads: int) -> str:
    many = f"{threads} thread{'s' if threads > 1 else ''}"
    time = format_seconds(native.median_seconds)
    if native.source == "given":
        return f"{time} as given, {many}"
    return (
        f"{time}, {many} (median of {native.sample_count:,}; half of them"
        f" {format_seconds_range(native.low_seconds, native.high_seconds)})"
    )


def _phase_title(prediction: Prediction) -> str:
    steady = prediction.steady
    return f"Phase {steady.phase} ({one_line(steady.name, 30)})"


def _comparison(document: PredictionDocument, width: int) -> RenderableType:
    rows = []
    for prediction in document.predictions:
        steady = prediction.steady
        rows.append(
            [
                prediction.deployment.platform,
                prediction.deployment.runtime,
                format_bytes(prediction.deployment.epc_bytes.likely),
                format_seconds(steady.sgx_seconds.likely),
                seconds_range(steady.sgx_seconds),
                f"{format_ratio(steady.slowdown.likely)} x",
                format_seconds(prediction.startup.total_seconds.likely),
            ]
        )
    headings = ["platform", "runtime", "EPC", "inside", "range", "slower", "start"]
    return fitted_table(headings, rows, width, (0, 1), spare=(2, 1, 6))


def _details(
    prediction: Prediction, width: int, top: int, *, ascii_only: bool
) -> Iterable[RenderableType]:
    place = prediction.deployment
    yield ruled(
        one_line(f"{place.platform_title}, {place.runtime_title}", 70), ascii_only=ascii_only
    )
    yield Text(verdict(prediction))
    for warning in prediction.warnings:
        yield warning_line(warning)
    steady = prediction.steady
    yield titled("By cause", _causes(steady, width))
    yield titled("What happens, and what it costs", _items(steady.items, width))
    if steady.operators:
        yield titled(
            "Operators by added time, with the share of each cause", _operators(steady, width, top)
        )
    if any(row.role is not None for row in steady.roles):
        yield titled("By role of the memory, with the share of each cause", _roles(steady, width))
    yield titled(
        "What makes the range: what one value alone changes in the time",
        _sensitivity(steady.sensitivity, steady.sgx_seconds.likely, width),
    )
    yield titled("What leaves the enclave, and what does not", exits(prediction.exits, width, top))
    yield titled("Start-up, to the first result", _startup(prediction.startup, width))
    if len(prediction.phases) > 1:
        yield titled("By phase", _phases(prediction, width))
    yield titled("Size of the enclave", sizing(prediction.sizing, width))
    yield titled(
        f"EPC that {_phase_title(prediction)[:1].lower()}{_phase_title(prediction)[1:]} asks for",
        epc_needs(prediction, width, ascii_only=ascii_only),
    )
    yield titled("Not modelled", _sentences(prediction.not_modelled))
    if prediction.notes:
        yield titled("Notes", _sentences(prediction.notes))


def _causes(steady: PhaseTime, width: int) -> RenderableType:
    added = steady.added_seconds.likely
    rows = [
        [
            CAUSE_TITLES[row.cause],
            format_seconds(row.added_seconds.likely),
            seconds_range(row.added_seconds),
            share(row.added_seconds.likely, added),
            of_native(row.added_seconds.likely, steady.native.median_seconds),
        ]
        for row in steady.causes
    ]
    rows.append(
        [
            "(all)",
            format_seconds(added),
            seconds_range(steady.added_seconds),
            share(added, added),
            of_native(added, steady.native.median_seconds),
        ]
    )
    headings = ["cause", "adds", "range", "share", "of native\ntime"]
    return fitted_table(headings, rows, width, (0,), spare=(4,))


def _items(items: Sequence[Item], width: int, count_max: int = _ITEMS_MAX) -> RenderableType:
    if not items:
        return Text("Nothing.")
    rows = [
        [
            item.what,
            expected_count(item.count.likely),
            number(item.constant_ns.likely),
            format_seconds(item.added_seconds.likely),
            seconds_range(item.added_seconds),
        ]
        for item in items[:count_max]
    ]
    headings = ["what", "count", "ns each", "adds", "range"]
    table = fitted_table(headings, rows, width, (0,), spare=(4,))
    return with_rest(table, len(items) - count_max, "kinds")


def _operators(steady: PhaseTime, width: int, top: int) -> RenderableType:
    causes = [row.cause for row in steady.causes if row.added_seconds.likely > 0]
    *operators, between = steady.operators
    ranked = sorted(operators, key=lambda row: (-row.added_seconds.likely, row.index or 0))
    rows = [_operator(row, str(row.index), row.name, row.type, causes) for row in ranked[:top]]
    rows.append(_operator(between, "", "(no operator)", "", causes))
    headings = ["#", "operator", "type", "native", "adds"]
    headings += [_CAUSE_HEADINGS[cause] for cause in causes]
    table = fitted_table(headings, rows, width, (1, 2), spare=(2, *range(5, len(headings))))
    return with_rest(table, len(ranked) - top, "operators")


def _operator(
    row: OperatorTime, index: str, name: str, kind: str, causes: Sequence[Cause]
) -> list[str]:
    native = row.native_seconds
    return [
        index,
        name,
        kind,
        "-" if native is None else format_seconds(native),
        format_seconds(row.added_seconds.likely),
        *(share(row.added_seconds_by_cause.get(c, 0), row.added_seconds.likely) for c in causes),
    ]


def _roles(steady: PhaseTime, width: int) -> RenderableType:
    causes = [row.cause for row in steady.causes if row.added_seconds.likely > 0]
    rows = [
        [
            row.role or "(none)",
            format_seconds(row.added_seconds.likely),
            seconds_range(row.added_seconds),
            *(
                share(row.added_seconds_by_cause.get(c, 0), row.added_seconds.likely)
                for c in causes
            ),
        ]
        for row in steady.roles
    ]
    headings = ["role", "adds", "range", *(_CAUSE_HEADINGS[cause] for cause in causes)]
    return fitted_table(headings, rows, width, (0,), spare=range(3, len(headings)))


def _sensitivity(swings: Sequence[Swing], likely_seconds: float, width: int) -> RenderableType:
    if not swings:
        return Text("Nothing: everything is known exactly.")
    least = _SWING_SHARE_MIN * swings[0].swing_seconds
    shown = [swing for swing in swings[:_SWINGS_MAX] if swing.swing_seconds >= least]
    rows = [
        [
            swing.name.removeprefix("platform."),
            value_range(swing.value, number if swing.kind == "constant" else expected_count),
            format_signed_seconds(swing.low_seconds - likely_seconds),
            format_signed_seconds(swing.high_seconds - likely_seconds),
        ]
        for swing in shown
    ]
    headings = ["constant or count", "low to high", "at low", "at high"]
    table = fitted_table(headings, rows, width, (0,), spare=(1,))
    return with_rest(table, len(swings) - len(shown), "constants and counts that matter less")


def _startup(startup: StartupTime, width: int) -> RenderableType:
    def row(name: str, count: str, seconds: Range) -> list[str]:
        return [name, count, format_seconds(seconds.likely), seconds_range(seconds)]

    rows = [
        row(item.what, expected_count(item.count.likely), item.added_seconds)
        for item in startup.items
    ]
    natively = f"natively {format_seconds(startup.native_seconds)}"
    rows.append(row(", ".join(startup.phases), natively, startup.inside_seconds))
    rows.append(row("(all)", "", startup.total_seconds))
    headings = ["what", "count", "takes", "range"]
    parts: list[RenderableType] = [fitted_table(headings, rows, width, (0,))]
    if startup.untimed_phases:
        missing = one_line(", ".join(startup.untimed_phases))
        parts.append(Text(f"Without a native time, and left out: {missing}."))
    if startup.inside_items:
        parts += [
            Text("\nWhat the enclave adds to these phases"),
            _items(startup.inside_items, width, _STARTUP_ITEMS_MAX),
        ]
    return Group(*parts)


def _phases(prediction: Prediction, width: int) -> RenderableType:
    rows = [
        [
            str(row.phase),
            row.name,
            format_seconds(row.native.median_seconds),
            format_seconds(row.sgx_seconds.likely),
            seconds_range(row.sgx_seconds),
            f"{format_ratio(row.slowdown.likely)} x",
        ]
        for row in prediction.phases
    ]
    headings = ["#", "phase", "native", "inside", "range", "slower"]
    return fitted_table(headings, rows, width, (1,))


def _sentences(sentences: Sequence[str]) -> RenderableType:
    if not sentences:
        return Text("-")
    grid = Table.grid(padding=(0, 1))
    grid.add_column()
    grid.add_column(overflow="fold")
    for sentence in sentences:
        grid.add_row("-", Text(one_line(sentence)))
    return grid
