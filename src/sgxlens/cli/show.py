# SPDX-License-Identifier: Apache-2.0
"""`sgxlens show`: a recording in the terminal."""

from __future__ import annotations

import io
import sys

import click


def _print_schema(context: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not context.resilient_parsing:
        from sgxlens.report.json import schema_text

        click.echo(schema_text(), nl=False)
        context.exit()


@click.command("show")
@click.argument("recording", type=click.Path())
@click.option(
    "--phase",
    metavar="NAME|INDEX",
    help="Look at this phase (all of that name).  [default: the last inference, else the longest"
    " phase after the start]",
)
@click.option("--process", type=click.IntRange(min=0), metavar="N", help="Show one process only.")
@click.option("--all-phases", is_flag=True, help="Look at all phases together.")
@click.option(
    "--at",
    metavar="SIZE",
    help="Count the misses of an LRU memory of this size, as in 92M; K, M, G: powers of 1,024.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show N operators and regions.  [default: 10]",
)
@click.option(
    "--sort",
    metavar="ORDER",
    help="List operators and regions by footprint, accesses, page-misses, line-misses (these two"
    " with --at), time, or by a reuse source: same-operator, earlier-operator, outside-operators,"
    " previous-inference, warm-up, load, other-phase, cold.  [default: page-misses with --at, else"
    " footprint]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs: every number and every row."
)
@click.option(
    "--json-schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the schema of that JSON, and nothing else.",
)
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
    chosen: int | str | None = phase
    if phase is not None and phase.isdecimal() and all(p.name != phase for p in opened.phases):
        chosen = int(phase)
    document = build_document(opened, chosen, process, all_phases, at_bytes)
    if as_json:
        from sgxlens.report.json import json_text

        click.echo(json_text(document), nl=False)
        return
    from sgxlens.report.terminal import print_document

    # A terminal that cannot show a character gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print_document(document, top=top or 10, order=sort)
