# SPDX-License-Identifier: Apache-2.0
"""Renders a report for a terminal: 80 columns, with or without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from sgxlens.report.ordering import choose_order
from sgxlens.report.terminal.attribution import attribution
from sgxlens.report.terminal.events import signals, syscalls, threads, traps
from sgxlens.report.terminal.layout import (
    INDENT,
    report_console,
    ruled,
    titled,
    warning_line,
)
from sgxlens.report.terminal.overview import (
    accesses,
    footprints,
    header,
    native_times,
    overview,
    processes,
    selection_name,
)
from sgxlens.report.terminal.reuse import reuse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import Console, RenderableType

    from sgxlens.report.document import Document

__all__ = ["print_document"]


def print_document(
    document: Document,
    file: TextIO | None = None,
    *,
    top: int = 10,
    order: str | None = None,
) -> None:
    """Prints a report, with colour only where that is wanted.

    Args:
        document: the report.
        file: where to print; None: standard output.
        top: how many operators and regions.
        order: in which order; see `sgxlens.report.ordering`.

    Raises:
        UsageError: the numbers for that order are not in the document.
    """
    order = choose_order(document, order)
    console = report_console(file)
    for part in _parts(document, console, top, order):
        console.print(part)


def _parts(document: Document, console: Console, top: int, order: str) -> Iterable[RenderableType]:
    ascii_only = console.options.ascii_only
    width = console.width - INDENT
    yield header(document)
    for warning in document.warnings:
        yield warning_line(warning)
    if document.selection:
        # What users ask about comes first, the start-up of the program after it.
        yield ruled(selection_name(document), ascii_only=ascii_only)
        yield titled("Overview", overview(document))
        who = document.attribution
        if who is None:
            yield titled("Operators, regions and reuse sources", Text(document.no_attribution))
        else:
            yield from attribution(document, who, width, top, order, ascii_only=ascii_only)
        yield reuse(document.reuse, ascii_only=ascii_only)
        yield titled("System calls", syscalls(document))
        yield titled("Traps: instructions that leave an enclave", traps(document))
    else:
        yield Text("There is no phase: the program made no access while it was recorded.")
    yield ruled("Whole recording", ascii_only=ascii_only)
    if len(document.metadata.processes) > 1:
        yield titled("Processes", processes(document))
    if document.phases:
        yield titled("Line accesses of each phase", accesses(document))
        yield titled(
            "Footprint of each phase: distinct blocks, and how many of them are new",
            footprints(document),
        )
    if any(row.native_time for row in document.phases):
        yield titled("Native time of each phase, without the tracer", native_times(document))
    yield titled("Signals delivered to a handler", signals(document))
    yield titled("Threads", threads(document))
