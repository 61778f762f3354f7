# SPDX-License-Identifier: Apache-2.0
"""Renders runtimes for a terminal: what there is, and what becomes of each system call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sgxlens.enclave.runtime import ANY_CALL
from sgxlens.enclave.system_calls.rules import COUNT_FIELDS
from sgxlens.report.terminal.constants import any_text, constant_sections
from sgxlens.report.terminal.layout import (
    INDENT,
    fitted_table,
    named_texts,
    report_console,
    titled,
)
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from sgxlens.enclave.runtime import Runtime
    from sgxlens.enclave.system_calls.rules import Count, Rule, RuleGroup


def print_runtime_list(runtimes: Sequence[Runtime], file: TextIO | None = None) -> None:
    """Prints a line for each runtime, and what each of them is."""
    console = report_console(file)
    rows = [
        [
            one_line(runtime.name),
            one_line(runtime.version, 30),
            "all" if ANY_CALL in runtime.syscall_rules else str(len(runtime.syscall_rules)),
            runtime.files.read_only,
            runtime.files.written,
            runtime.memory.commits.replace("_", " "),
        ]
        for runtime in runtimes
    ]
    headings = ["runtime", "version", "calls", "files read", "written", "memory"]
    console.print(fitted_table(headings, rows, console.width, (0, 1), (3, 4, 5)))
    for runtime in runtimes:
        console.print(titled(any_text(runtime.title, 200), Text(any_text(runtime.description))))
    console.print(Text("\nEach rule with its source: sgxlens runtimes NAME, or your own file."))


def print_runtime(runtime: Runtime, file: TextIO | None = None) -> None:
    """Prints one runtime: every constant and every rule, and what they are from."""
    console = report_console(file)
    console.print(_header(runtime))
    for section in constant_sections(runtime, console.width - INDENT):
        console.print(section)
    names = [Text(f"{name} = {any_text(text)}") for name, text in runtime.definitions.items()]
    if names:
        console.print(titled("Definitions", Group(*names)))
    console.print(titled("System calls", Group(*_groups(runtime.syscalls))))
    console.print(titled("Other events", Group(*_groups(runtime.events))))


def _header(runtime: Runtime) -> RenderableType:
    rows = [
        ("runtime", f"{runtime.name}: {runtime.title}"),
        ("version", runtime.version),
        ("source", runtime.source),
        ("", runtime.description),
        *(("note", note) for note in runtime.notes),
        ("files read", runtime.files.read_only),
        ("files written", runtime.files.written),
        ("kept inside", ", ".join((*runtime.files.pseudo, *runtime.files.tmpfs)) or "none"),
        ("OCALLs", "switchless" if runtime.switchless else "by exits"),
    ]
    return named_texts((name, any_text(value)) for name, value in rows)


def _groups(groups: Sequence[RuleGroup]) -> Iterable[RenderableType]:
    for group in groups:
        yield Text(any_text(", ".join(group.names), 8000), style="bold")
        for rule in group.rules:
            yield Padding(_rule(rule), (0, 0, 0, INDENT), expand=False)


def _rule(rule: Rule) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    condition = f"when {rule.when}" if rule.when else "else"
    counts = [f"{name} {_count(count)}" for name, count in _counts(rule)]
    if rule.like:
        counts.append(f"as {rule.like}")
    text = f"{condition}: {rule.outcome}"
    grid.add_row("-", Text(any_text("; ".join((text, *counts)))))
    if rule.note:
        grid.add_row("", Text(any_text(rule.note), style="italic"))
    if rule.source:
        grid.add_row("", Text(any_text(rule.source), style="dim"))
    return grid


def _counts(rule: Rule) -> Iterable[tuple[str, Count]]:
    return ((name, count) for name in COUNT_FIELDS if (count := getattr(rule, name)) != "0")


def _count(count: Count) -> str:
    if isinstance(count, str):
        return count
    return f"{count.likely} (from {count.low} to {count.high})"
