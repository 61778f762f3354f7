# SPDX-License-Identifier: Apache-2.0
"""`sgxlens advise`: what to change so that a recorded program gets faster inside an enclave."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sgxlens.enclave.epc import EpcPolicy


def _print_schema(context: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not context.resilient_parsing:
        from sgxlens.report.advice import schema_text

        click.echo(schema_text(), nl=False)
        context.exit()


@click.command("advise")
@click.argument("recording", type=click.Path())
@click.option(
    "--platform",
    metavar="NAME|FILE",
    required=True,
    help="Where it runs: a name of `sgxlens platforms`, or a TOML file.",
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
    " one.",
)
@click.option(
    "--phase",
    metavar="NAME|INDEX",
    help="Of this phase.  [default: the last inference, else the longest phase after the start]",
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
    help="Which pages leave the EPC, as for `sgxlens predict`.  [default: as the platform's driver"
    " does it]",
)
@click.option("--trusted", multiple=True, metavar="GLOB", help="Files hashed by the manifest.")
@click.option(
    "--allowed", multiple=True, metavar="GLOB", help="Files used on the host as they are."
)
@click.option("--encrypted", multiple=True, metavar="GLOB", help="Files sealed by the runtime.")
@click.option(
    "--rule",
    "only",
    multiple=True,
    metavar="NAME",
    help="Ask this rule only, as in batching; may be repeated.  [default: all]",
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
    platform: str,
    runtime: str | None,
    epc: str | None,
    llc: str | None,
    threads: int | None,
    native_time: str | None,
    phase: str | None,
    enclave_size: str | None,
    replicas: int,
    policy: EpcPolicy | None,
    trusted: tuple[str, ...],
    allowed: tuple[str, ...],
    encrypted: tuple[str, ...],
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Says what to change so that a recorded program gets faster inside an SGX enclave.

    Each piece of advice has its evidence, a predicted gain as a range, what it costs and how to
    apply it. What is looked for and not advised is listed with the reason.
    """
    from sgxlens.advice.advise import advise
    from sgxlens.prediction.inputs import opened
    from sgxlens.prediction.predict import DEFAULT_RUNTIME
    from sgxlens.units import parse_seconds

    source = opened(recording)
    chosen: int | str | None = phase
    if phase is not None and phase.isdecimal() and all(p.name != phase for p in source.phases):
        chosen = int(phase)
    advisory = advise(
        source,
        platform,
        runtime or DEFAULT_RUNTIME,
        phase=chosen,
        native_seconds=None if native_time is None else parse_seconds(native_time),
        epc=epc,
        llc=llc,
        threads=threads,
        enclave_size=enclave_size,
        replicas=replicas,
        policy=policy,
        trusted=trusted,
        allowed=allowed,
        encrypted=encrypted,
        only=only,
    )
    if as_json:
        from sgxlens.report.advice import json_text

        click.echo(json_text(source.metadata, advisory), nl=False)
        return
    from sgxlens.report.terminal.advice import print_advice

    # A terminal that cannot show a character gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print_advice(advisory)
