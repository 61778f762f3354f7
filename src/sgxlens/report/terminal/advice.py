# SPDX-License-Identifier: Apache-2.0
"""Renders advice for a terminal: 80 columns, with or without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from sgxlens.report.terminal.layout import (
    INDENT,
    fitted_table,
    named_texts,
    percent,
    report_console,
    ruled,
    titled,
)
from sgxlens.report.terminal.values import seconds_range, value_range
from sgxlens.report.titles import ADVICE_ORDER, CHANGE_TITLES, GAIN_TITLES, NO_ADVICE
from sgxlens.report.verdict import verdict
from sgxlens.report.verified import verified_facts
from sgxlens.text import one_line
from sgxlens.units import format_bytes, format_count, format_ratio, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    from rich.console import Console, RenderableType

    from sgxlens.advice.advice import Advice, Evidence, Gain, Step, Unit
    from sgxlens.advice.advise import Advisory, RankedAdvice

_FORMATS: dict[Unit, Callable[[float], str]] = {
    "count": format_count,
    "bytes": format_bytes,
    "seconds": format_seconds,
    "ratio": percent,
}


def print_advice(advisory: Advisory, file: TextIO | None = None) -> None:
    """Prints advice, with colour only where that is wanted."""
    console = report_console(file)
    width = console.width - INDENT
    console.print(Text(verdict(advisory.prediction)))
    if advisory.advice:
        console.print(titled("What to change", _overview(advisory.advice, width)))
        states = {row.advice.state for row in advisory.advice}
        told = "" if "verified" in states else " All are predicted."
        order = f"{ADVICE_ORDER} " if len(advisory.advice) > 1 else ""
        console.print(Text(f"{order}Each gain is of one change alone: gains do not add up.{told}"))
    else:
        console.print(Text(f"\n{NO_ADVICE}", style="bold"))
    for index, row in enumerate(advisory.advice, 1):
        title = f"{index}. {one_line(row.advice.title)}"
        console.print(ruled(title, ascii_only=console.options.ascii_only))
        for part in _parts(row.advice, width):
            console.print(part)
        for step in row.advice.steps:
            _print_step(console, step)
    if advisory.silent:
        reasons = [(row.rule, row.reason) for row in advisory.silent]
        console.print(titled("Looked for, and not advised", _pairs(reasons)))
    if advisory.broken:
        problems = [(row.name, row.problem) for row in advisory.broken]
        console.print(titled("! Rules that failed", _pairs(problems)))


def _overview(rows: Sequence[RankedAdvice], width: int) -> RenderableType:
    table = []
    for index, row in enumerate(rows, 1):
        gain = row.advice.gains[0]
        cells = [
            str(index),
            row.advice.title,
            GAIN_TITLES[gain.of],
            _FORMATS[gain.unit](gain.before.likely),
            _FORMATS[gain.unit](gain.after.likely),
            _times(gain),
        ]
        verified = row.advice.verified
        table.append([*cells, _times(verified.gains[0]) if verified else ""])
    head = ["#", "change", "of", "now", "then", "less", "verified"]
    if not any(row.advice.verified for row in rows):
        head, table = head[:-1], [cells[:-1] for cells in table]
    return fitted_table(head, table, width, (1,), (2,), folded=1)


def _times(gain: Gain) -> str:
    if gain.after.likely <= 0:
        return "-"
    return f"{format_ratio(gain.before.likely / gain.after.likely)} x"


def _parts(advice: Advice, width: int) -> Iterable[RenderableType]:
    yield Text(one_line(advice.finding))
    yield titled("Gain, predicted", _gains(advice.gains, width))
    if advice.verified is not None:
        yield titled("Gain, verified by a new recording", _gains(advice.verified.gains, width))
        yield _pairs(verified_facts(advice.verified))
    elif advice.unverified:
        yield titled("Not verified", Text(one_line(advice.unverified)))
    yield titled("Evidence", _evidence(advice.evidence, width))
    costs = [(cost.of, cost.text) for cost in advice.costs]
    yield titled("What it costs", _pairs([("changes", CHANGE_TITLES[advice.changes]), *costs]))
    if advice.assumptions:
        yield titled("Taken for granted", _pairs([("-", text) for text in advice.assumptions]))
    yield Text("\nHow", style="bold")


def _gains(gains: Sequence[Gain], width: int) -> RenderableType:
    rows = [
        [
            GAIN_TITLES[gain.of],
            _FORMATS[gain.unit](gain.before.likely),
            _FORMATS[gain.unit](gain.after.likely),
            _FORMATS[gain.unit](gain.saved.likely),
            _range(gain),
            percent(max(gain.share, 0)),
        ]
        for gain in gains
    ]
    return fitted_table(["of", "now", "then", "saves", "range", "share"], rows, width, (0,))


def _range(gain: Gain) -> str:
    if gain.unit == "seconds":
        return seconds_range(gain.saved)
    return value_range(gain.saved, _FORMATS[gain.unit])


def _evidence(rows: Sequence[Evidence], width: int) -> RenderableType:
    table = [[row.what, value_range(row.value, _FORMATS[row.unit])] for row in rows]
    return fitted_table(["what", "value"], table, width, (0,), folded=0)


def _pairs(rows: Sequence[tuple[str, str]]) -> RenderableType:
    return named_texts(((one_line(name, 24), one_line(text)) for name, text in rows), style="")


def _print_step(console: Console, step: Step) -> None:
    console.print(Padding(Text(one_line(step.text)), (0, 0, 0, INDENT), expand=False))
    for line in step.snippet.splitlines():
        # It is there to be copied: a line that is too long is for the terminal to break.
        indent = INDENT + 2 + len(line) - len(line.lstrip())
        console.print(Text(" " * indent + one_line(line), style="dim"), soft_wrap=True)
