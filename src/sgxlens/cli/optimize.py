# SPDX-License-Identifier: Apache-2.0
"""`sgxlens optimize`: from a model to a folder that can be deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sgxlens.cli import options
from sgxlens.cli.progress import ProgressLine
from sgxlens.cli.target import given_options, model_options


@click.command("optimize")
@click.argument("model", type=click.Path(path_type=Path))
@options.platform(is_required=True)
@options.runtime
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to be written.",
)
@click.option("--force", is_flag=True, help="Replace a folder that was so written before.")
@click.option(
    "--recordings",
    type=int,
    metavar="N",
    default=8,
    show_default=True,
    help="Make at most N recordings: one of the model as it is, one of what is written, the others"
    " of changes.",
)
@options.tolerance
@click.option(
    "--exact",
    "is_exact",
    is_flag=True,
    help="Keep the weights as they are: outputs do not deviate but by rounding.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(min=1),
    metavar="N",
    default=16,
    show_default=True,
    help="Samples of an inference at most; 1 where each must be answered at once.",
)
@click.option(
    "--allow",
    "permissions",
    multiple=True,
    type=click.Choice(["processors", "security"]),
    help="Also take changes that cost this; may be repeated.",
)
@click.option(
    "--work-folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where recordings are kept, and found again by the next run.  [default: DIR.work beside"
    " the output]",
)
@options.machine_sizes
@model_options
@options.json_output("sgxlens.optimization.report")
def command(  # noqa: PLR0917 -- click passes them by name
    model: Path,
    platform: str,
    runtime: str | None,
    output: Path,
    force: bool,
    recordings: int,
    tolerance: float | None,
    is_exact: bool,
    max_batch: int,
    permissions: tuple[Any, ...],
    work_folder: Path | None,
    epc: str | None,
    llc: str | None,
    as_json: bool,
    **how_it_runs: Any,
) -> None:
    """Makes an ONNX model faster inside an enclave, and writes a folder that can be deployed.

    The model is recorded as it is and asked for advice. Each change that a machine can make is made
    to a copy, timed natively in turns, recorded and predicted, and its outputs are compared; what
    is verified to gain is kept, and that is asked for advice again, until the budget of recordings
    is used up or nothing more is worth it. What changes security, or takes more processors, is not
    taken unless allowed.

    The folder has the model, the settings of its session, a loader that needs no sgxlens, the
    runtime's configuration and a report. It is recorded once more, run by its own loader: the
    result is predicted from that. It takes about as long as so many recordings. After Ctrl-C the
    same command goes on from the recordings that are finished.
    """
    from sgxlens.optimization.optimize import optimize
    from sgxlens.optimization.report import json_text, summary
    from sgxlens.prediction.predict import DEFAULT_RUNTIME

    with ProgressLine(quiet=False, is_resumable=True) as line:
        result = optimize(
            *(model, platform, output),
            runtime=runtime or DEFAULT_RUNTIME,
            recordings=recordings,
            tolerance=tolerance,
            max_batch=max_batch,
            is_exact=is_exact,
            permissions=permissions,
            work_folder=work_folder,
            force=force,
            epc=epc,
            llc=llc,
            on_progress=line.tell,
            **given_options(how_it_runs),
        )
    if as_json:
        click.echo(json_text(result), nl=False)
        return
    options.tolerant_stdout()
    for text in summary(result):
        click.echo(text)
    click.echo(f"sgxlens: wrote {output}; read {output / 'REPORT.md'}", err=True)
