# SPDX-License-Identifier: Apache-2.0
"""`sgxlens time`: runs a model, a script or any command natively, and keeps its times in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sgxlens.cli import record
from sgxlens.cli.progress import ProgressLine

# The options of `sgxlens record` that say what is run, and hold here as well.
TARGET_OPTIONS = (
    *("torch", "dims", "batch", "threads", "warmup", "runs", "input_file"),
    *("session", "variables"),
)


@click.command(
    "time",
    cls=record.TargetCommand,
    params=[option for option in record.command.params if option.name in TARGET_OPTIONS],
)
@click.argument("target", nargs=-1, metavar="TARGET...", type=click.UNPROCESSED)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The JSON file to be written.",
)
@click.option(
    "--native-runs",
    type=click.IntRange(1),
    help="Native runs; a model has as many again, for its operators.  [default: 3]",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no closing line.")
@click.pass_context
def command(  # noqa: PLR0917 -- click passes them by name
    ctx: click.Context,
    /,
    target: tuple[str, ...],
    output: Path,
    native_runs: int | None,
    quiet: bool,
    variables: tuple[str, ...],
    **model_options: Any,
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
            variables=record.parsed_variables(variables),
            **record.given_model_options(model_options),
        )
    write_times(times, output)
    if not quiet:
        click.echo(f"sgxlens: wrote {output}; use it with `sgxlens record --native`", err=True)
