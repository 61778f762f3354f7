# SPDX-License-Identifier: Apache-2.0
"""Renders the findings of `sgxlens lint` for a terminal: ``FILE:LINE:`` first, as compilers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from sgxlens.configuration.linting.finding import SEVERITIES
from sgxlens.report.terminal.layout import INDENT, report_console
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from rich.console import Console

    from sgxlens.configuration.linting.lint import Found, LintReport

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold"}


def print_lint(report: LintReport, file: TextIO | None = None) -> None:
    """Prints what was found, with colour only where that is wanted."""
    console = report_console(file)
    where = one_line(report.path, 200)
    for one in report.found:
        _print_finding(console, where, one)
    for broken in report.broken:
        problem = f"! check {one_line(broken.name, 40)} failed: {broken.problem}"
        console.print(Text(problem, style="bold red"))
    console.print(Text(_summary(report), style="bold"))
    for line in _remarks(report):
        console.print(Text(line))


def _print_finding(console: Console, where: str, one: Found) -> None:
    finding = one.finding
    head = Text(f"{where}:{finding.line}: ")
    head.append(finding.severity, _STYLES[finding.severity])
    head.append(f": {one_line(finding.problem)} [{one_line(one.check, 40)}]")
    # For programs that look for FILE:LINE: the terminal may break it, not we.
    console.print(head, soft_wrap=True)
    for text in (finding.consequence, finding.remedy):
        console.print(Padding(Text(one_line(text)), (0, 0, 0, 2 * INDENT), expand=False))
    for line in finding.snippet.splitlines():
        console.print(Text(" " * 3 * INDENT + one_line(line), style="dim"), soft_wrap=True)
    console.print()


def _summary(report: LintReport) -> str:
    counts = [(report.count(severity), severity) for severity in SEVERITIES]
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count]
    accepted = f"; {report.accepted} accepted by comments in it" if report.accepted else ""
    return (", ".join(parts) if parts else "Nothing found") + accepted + "."


def _remarks(report: LintReport) -> Iterator[str]:
    if report.unknown:
        names = ", ".join(one_line(name, 40) for name in report.unknown[:5])
        more = f" and {len(report.unknown) - 5} more" if len(report.unknown) > 5 else ""
        yield (
            f"Not known, and what depends on it not checked: {names}{more}. Give variables with"
            " -D NAME=VALUE, or lint the manifest that gramine-manifest makes of it."
        )
    if report.recording is None:
        yield "Sizes, threads and files were not compared with a recording (--recording)."
    if report.platform is None:
        yield "The EPC and the processor were not looked at (--platform)."
