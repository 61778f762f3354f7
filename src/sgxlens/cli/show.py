# SPDX-License-Identifier: Apache-2.0
"""`sgxlens show`: a recording in the terminal."""

from __future__ import annotations

import click

from sgxlens.cli import options


@click.command("show")
@click.argument("recording", type=click.Path())
@options.phase("Look at this phase (all of that name).")
@click.option("--process", type=click.IntRange(min=0), metavar="N", help="Show one process only.")
@click.option("--all-phases", is_flag=True, help="Look at all phases together.")
@click.option(
    "--at",
    metavar="SIZE",
    help="Count the misses of an LRU memory of this size, as in 92M; K, M, G: powers of 1,024.",
)
@options.top("operators and regions")
@click.option(
    "--sort",
    metavar="ORDER",
    help="List operators and regions by footprint, accesses, page-misses, line-misses (these two"
    " with --at), time, or by a reuse source: same-operator, earlier-operator, outside-operators,"
    " previous-inference, warm-up, load, other-phase, cold.  [default: page-misses with --at, else"
    " footprint]",
)
@options.json_output("sgxlens.report.json")
def command(  # noqa: PLR0917 -- click passes them by name
    recording: str,
    phase: str | None,
    process: int | None,
    all_phases: bool,
    at: str | None,
    top: int | None,
    sort: str | None,
    as_json: bool,
) -> None:
    """Shows a recording: footprints, data reuse, system calls, traps.

    What is shown first is about one phase; "Whole recording" is about all of them.
    """
    from sgxlens.errors import UsageError
    from sgxlens.recording.reader import open_recording
    from sgxlens.report.document import build_document
    from sgxlens.units import parse_size

    if as_json and (top is not None or sort is not None):
        raise UsageError("--top and --sort are of the report for people; --json has all rows")
    at_bytes = None if at is None else parse_size(at)
    opened = open_recording(recording)
    document = build_document(opened, phase, process, all_phases, at_bytes)
    if as_json:
        from sgxlens.report.json import json_text

        click.echo(json_text(document), nl=False)
        return
    from sgxlens.report.terminal import print_document

    options.tolerant_stdout()
    print_document(document, top=top or 10, order=sort)
