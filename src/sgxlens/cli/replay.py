# SPDX-License-Identifier: Apache-2.0
"""`sgxlens replay`: analyses kept accesses again."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("replay")
@click.argument("recording", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the new recording.",
)
@click.option("--force", is_flag=True, help="Replace a recording that is already there.")
@click.option(
    "--sampling-rate",
    type=float,
    default=1.0,
    help="Follow this share of the blocks only.  [default: 1, exact]",
)
@click.option(
    "--line-use",
    "line_use_interval",
    type=int,
    metavar="N",
    help="Tell which bytes are used of one line in N.  [default: as recorded]",
)
@click.option("-q", "--quiet", is_flag=True, help="No closing line.")
def command(  # noqa: PLR0917 -- click passes them by name
    recording: Path,
    output: Path,
    force: bool,
    sampling_rate: float,
    line_use_interval: int | None,
    quiet: bool,
) -> int:
    """Analyse the accesses that RECORDING kept again, into a new recording.

    RECORDING must have been made with --keep-accesses. The result is the same, bit for bit,
    unless another sampling rate or --line-use is asked for.
    """
    from rich.console import Console
    from rich.progress import Progress

    from sgxlens.recording.reader import open_recording
    from sgxlens.recording.record import replay

    source = open_recording(recording)
    with Progress(
        console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True
    ) as bar:
        total = sum(process.line_access_count for process in source.metadata.processes)
        task = bar.add_task("replaying", total=total)
        before: dict[int, int] = {}

        def advance(process: int, line_access_count: int) -> None:
            before[process] = line_access_count
            bar.update(task, completed=sum(before.values()))

        made = replay(
            source,
            output,
            sampling_rate=sampling_rate,
            line_use_interval=line_use_interval,
            force=force,
            on_progress=advance,
        )
    if not quiet:
        click.echo(f"sgxlens: replayed into {made.path}", err=True)
    return 0
