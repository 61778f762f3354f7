# SPDX-License-Identifier: Apache-2.0
"""`sgxlens predict`: what a recorded program would cost inside an enclave."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sgxlens.enclave.epc import EpcPolicy


def _print_schema(context: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not context.resilient_parsing:
        from sgxlens.report.prediction_json import schema_text

        click.echo(schema_text(), nl=False)
        context.exit()


@click.command("predict")
@click.argument("recording", type=click.Path())
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="NAME|FILE",
    help="For this platform, or one described by a TOML file; several are compared.  [default: all"
    " of `sgxlens platforms`, and in full the one where it is slowest]",
)
@click.option(
    "--runtime",
    metavar="NAME|FILE",
    help="In this runtime, or one described by a TOML file.  [default: gramine]",
)
@click.option("--epc", metavar="SIZE", help="Size of the EPC, as in 64M; K, M, G: powers of 1,024.")
@click.option("--llc", metavar="SIZE", help="Size of the last-level cache, as in 16M.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that work at once.  [default: as recorded]",
)
@click.option(
    "--native-time",
    metavar="TIME",
    help="Native time of the phase on the machine that counts, as in 42ms, in place of the recorded"
    " one; other phases are not predicted then.",
)
@click.option(
    "--phase",
    metavar="NAME|INDEX",
    help="Predict this phase.  [default: the last inference, else the longest phase after the"
    " start]",
)
@click.option(
    "--enclave-size",
    metavar="SIZE",
    help="Size of the enclave, as in 1G.  [default: the least power of two that is enough]",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    help="Enclaves of this program that run at once and share the EPC.  [default: 1]",
)
@click.option(
    "--policy",
    metavar="NAME",
    help="Which pages leave the EPC: linux, out_of_tree, lru, fifo, second_chance, mru, pinned,"
    " optimum.  [default: as the platform's driver does it]",
)
@click.option(
    "--overhead",
    type=click.FloatRange(min=0),
    metavar="PERCENT",
    help="Tell the EPC with which paging adds at most this to the native time, beside 5, 10 and"
    " 25.",
)
@click.option(
    "--trusted",
    multiple=True,
    metavar="GLOB",
    help="Files that are hashed by the manifest, as in '/models/**'.",
)
@click.option(
    "--allowed",
    multiple=True,
    metavar="GLOB",
    help="Files that are used on the host as they are, as in '/models/**'.",
)
@click.option(
    "--encrypted",
    multiple=True,
    metavar="GLOB",
    help="Files that are sealed by the runtime, as in '/models/**'.",
)
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help="Show N operators.  [default: 10]"
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
    platforms: tuple[str, ...],
    runtime: str | None,
    epc: str | None,
    llc: str | None,
    threads: int | None,
    native_time: str | None,
    phase: str | None,
    enclave_size: str | None,
    replicas: int,
    policy: EpcPolicy | None,
    overhead: float | None,
    trusted: tuple[str, ...],
    allowed: tuple[str, ...],
    encrypted: tuple[str, ...],
    top: int | None,
    as_json: bool,
) -> None:
    """Predicts what a recorded program would cost inside an SGX enclave.

    Times are likely values and ranges; what makes the ranges, and what is not modelled, is listed.
    A prediction is of the model, input and batch that were recorded: a larger model cannot be
    predicted from the recording of a smaller one.
    """
    from sgxlens.errors import UsageError
    from sgxlens.prediction.inputs import opened
    from sgxlens.prediction.paging import OVERHEADS_PERCENT
    from sgxlens.prediction.several import predict_on
    from sgxlens.report.prediction import prediction_document
    from sgxlens.units import parse_seconds

    if as_json and top is not None:
        raise UsageError("--top is of the report for people; --json has all rows")
    source = opened(recording)
    chosen: int | str | None = phase
    if phase is not None and phase.isdecimal() and all(p.name != phase for p in source.phases):
        chosen = int(phase)
    overheads = OVERHEADS_PERCENT if overhead is None else (*OVERHEADS_PERCENT, overhead)
    given_seconds = None if native_time is None else parse_seconds(native_time)
    predictions, left_out = predict_on(
        source,
        platforms,
        runtime,
        phase=chosen,
        epc=epc,
        llc=llc,
        threads=threads,
        native_seconds=given_seconds,
        enclave_size=enclave_size,
        replicas=replicas,
        policy=policy,
        overheads_percent=overheads,
        trusted=trusted,
        allowed=allowed,
        encrypted=encrypted,
    )
    # Where it costs most there is most to be learnt.
    slowest = max(range(len(predictions)), key=lambda i: predictions[i].steady.slowdown.likely)
    document = prediction_document(
        source,
        predictions,
        detailed=None if platforms else (slowest,),
        left_out=[(name, error.message) for name, error in left_out],
    )
    if as_json:
        from sgxlens.report.prediction_json import json_text

        click.echo(json_text(document), nl=False)
        return
    from sgxlens.report.terminal.prediction import print_predictions

    # A terminal that cannot show a character gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print_predictions(document, top=top or 10)
