# SPDX-License-Identifier: Apache-2.0
"""`sgxlens predict`: what a recorded program would cost inside an enclave."""

from __future__ import annotations

from typing import Any

import click

from sgxlens.cli import options


@click.command("predict")
@click.argument("recording", type=click.Path())
@options.prediction
@click.option(
    "--overhead",
    type=click.FloatRange(min=0),
    metavar="PERCENT",
    help="Tell the EPC with which paging adds at most this to the native time, beside 5, 10 and"
    " 25.",
)
@options.top("operators")
@options.json_output("sgxlens.report.prediction_json")
def command(
    recording: str,
    *,
    platforms: tuple[str, ...],
    runtime: str | None,
    phase: str | None,
    native_seconds: float | None,
    overhead: float | None,
    top: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Predicts what a recorded program would cost inside an SGX enclave.

    Times are likely values and ranges; what makes the ranges, and what is not modelled, is listed.
    A prediction is of the model, input and batch that were recorded: a larger model cannot be
    predicted from the recording of a smaller one.
    """
    from sgxlens.errors import UsageError
    from sgxlens.prediction.inputs import opened
    from sgxlens.prediction.paging import OVERHEADS_PERCENT
    from sgxlens.prediction.several import predict_on, slowest
    from sgxlens.report.prediction import prediction_document

    if as_json and top is not None:
        raise UsageError("--top is of the report for people; --json has all rows")
    source = opened(recording)
    overheads = OVERHEADS_PERCENT if overhead is None else (*OVERHEADS_PERCENT, overhead)
    predictions, left_out = predict_on(
        source,
        platforms,
        runtime,
        phase=phase,
        native_seconds=native_seconds,
        overheads_percent=overheads,
        **settings,
    )
    document = prediction_document(
        source,
        predictions,
        detailed=None if platforms else (slowest(predictions),),
        left_out=[(name, error.message) for name, error in left_out],
    )
    if as_json:
        from sgxlens.report.prediction_json import json_text

        click.echo(json_text(document), nl=False)
        return
    from sgxlens.report.terminal.prediction import print_predictions

    options.tolerant_stdout()
    print_predictions(document, top=top or 10)
