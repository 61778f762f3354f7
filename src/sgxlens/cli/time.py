# SPDX-License-Identifier: Apache-2.0
"""`sgxlens time`: runs a model, a script or any command natively, and keeps its times in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sgxlens.cli.progress import ProgressLine
from sgxlens.cli.target import TargetCommand, given_options, runs_natively, what_is_run


@click.command("time", cls=TargetCommand)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The JSON file to be written.",
)
@runs_natively
@what_is_run
@click.pass_context
def command(
    ctx: click.Context,
    /,
    target: tuple[str, ...],
    output: Path,
    native_runs: int | None,
    quiet: bool,
    **target_options: Any,
) -> None:
    """Time a model, a script or any command natively.

    \b
    sgxlens time MODEL.onnx -o TIMES.json             here: on the machine whose times count
    sgxlens record MODEL.onnx --native TIMES.json     there: on the machine that records

    The target is given as for `sgxlens record`, and runs several times without input and output.
    """  # noqa: D301 - click wants the character
    from sgxlens.recording.api import time_natively
    from sgxlens.recording.native_times.measure import DEFAULT_RUNS
    from sgxlens.recording.native_times.model import check_writable, write_times

    check_writable(output)
    with ProgressLine(quiet=quiet) as line:
        times = time_natively(
            target,
            is_command=bool(ctx.obj and ctx.obj.get("is_command")),
            is_torch=ctx.obj["is_torch"],
            runs=native_runs or DEFAULT_RUNS,
            on_progress=line.update,
            **given_options(target_options),
        )
    write_times(times, output)
    if not quiet:
        click.echo(f"sgxlens: wrote {output}; use it with `sgxlens record --native`", err=True)
