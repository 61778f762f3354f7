# SPDX-License-Identifier: Apache-2.0
"""Renders a report for a terminal: 80 columns, with or without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from sgxlens.report.terminal.events import signals, syscalls, threads, traps
from sgxlens.report.terminal.layout import titled
from sgxlens.report.terminal.overview import (
    accesses,
    footprints,
    header,
    processes,
    selection_name,
)
from sgxlens.report.terminal.reuse import reuse
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import RenderableType

    from sgxlens.report.document import Document

_WIDTH = 80

__all__ = ["print_document"]


def print_document(document: Document, file: TextIO | None = None) -> None:
    """Prints a report to `file` (None: standard output), with colour only where that is wanted."""
    console = Console(file=file, markup=False, emoji=False, highlight=False)
    if console.width > _WIDTH:
        # Wider tables are harder to read, not easier.
        console.width = min(console.width, 100)
    for part in _parts(document, ascii_only=console.options.ascii_only):
        console.print(part)


def _parts(document: Document, ascii_only: bool) -> Iterable[RenderableType]:
    yield header(document)
    for warning in document.warnings:
        yield Text(f"! {one_line(warning)}", style="bold yellow")
    if document.selection:
        # What users ask about comes first, the start-up of the program after it.
        yield _rule(selection_name(document), ascii_only=ascii_only)
        yield from _parts_of_selection(document, ascii_only=ascii_only)
    else:
        yield Text("There is no phase: the program made no access while it was recorded.")
    yield _rule("Whole recording", ascii_only=ascii_only)
    if len(document.metadata.processes) > 1:
        yield titled("Processes", processes(document))
    if document.phases:
        yield titled("Line accesses of each phase", accesses(document))
        yield titled(
            "Footprint of each phase: distinct blocks, and how many of them are new",
            footprints(document),
        )
    yield titled("Signals delivered to a handler", signals(document))
    yield titled("Threads", threads(document))


def _parts_of_selection(document: Document, ascii_only: bool) -> Iterable[RenderableType]:
    yield reuse(document.reuse, ascii_only=ascii_only)
    yield titled("System calls", syscalls(document))
    yield titled("Traps: instructions that leave an enclave", traps(document))


def _rule(text: str, ascii_only: bool) -> RenderableType:
    line = "--" if ascii_only else "──"
    return Text(f"\n{line} {text} {line}", style="bold")
