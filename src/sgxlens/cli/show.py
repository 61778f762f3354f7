# SPDX-License-Identifier: Apache-2.0
"""`sgxlens show`: a recording in the terminal."""

from __future__ import annotations

import io
import sys

import click


@click.command("show")
@click.argument("recording", type=click.Path())
@click.option(
    "--phase",
    metavar="NAME|INDEX",
    help="Look at this phase (all of that name).  [default: the last inference, else the longest]",
)
@click.option("--process", type=click.IntRange(min=0), metavar="N", help="Show one process only.")
@click.option("--all-phases", is_flag=True, help="Look at all phases together.")
def command(recording: str, phase: str | None, process: int | None, all_phases: bool) -> None:
    """Shows a recording: footprints, data reuse, system calls, traps.

    Everything below the tables of phases is about one phase, unless it says otherwise.
    """
    from sgxlens.recording.reader import open_recording
    from sgxlens.report.document import build_document
    from sgxlens.report.terminal import print_document

    opened = open_recording(recording)
    chosen: int | str | None = phase
    if phase is not None and phase.isdecimal() and all(p.name != phase for p in opened.phases):
        chosen = int(phase)
    document = build_document(opened, chosen, process, all_phases)
    # A terminal that cannot show a character gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print_document(document)
