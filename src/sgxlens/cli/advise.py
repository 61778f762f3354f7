# SPDX-License-Identifier: Apache-2.0
"""`sgxlens advise`: what to change so that a recorded program gets faster inside an enclave."""

from __future__ import annotations

from typing import Any

import click

from sgxlens.cli import options


@click.command("advise")
@click.argument("recording", type=click.Path())
@click.option(
    "--platform",
    metavar="NAME|FILE",
    required=True,
    help="Where it runs: a name of `sgxlens platforms`, or a TOML file.",
)
@options.runtime
@options.phase("Of this phase.")
@options.native_time
@options.settings
@click.option(
    "--rule",
    "only",
    multiple=True,
    metavar="NAME",
    help="Ask this rule only, as in batching; may be repeated.  [default: all]",
)
@options.json_output("sgxlens.report.advice")
def command(
    recording: str,
    *,
    platform: str,
    runtime: str | None,
    phase: str | None,
    native_seconds: float | None,
    only: tuple[str, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Says what to change so that a recorded program gets faster inside an SGX enclave.

    Each piece of advice has its evidence, a predicted gain as a range, what it costs and how to
    apply it. What is looked for and not advised is listed with the reason.
    """
    from sgxlens.advice.advise import advise
    from sgxlens.prediction.inputs import opened
    from sgxlens.prediction.predict import DEFAULT_RUNTIME

    source = opened(recording)
    advisory = advise(
        source,
        platform,
        runtime or DEFAULT_RUNTIME,
        phase=phase,
        native_seconds=native_seconds,
        only=only,
        **settings,
    )
    if as_json:
        from sgxlens.report.advice import json_text

        click.echo(json_text(source.metadata, advisory), nl=False)
        return
    from sgxlens.report.terminal.advice import print_advice

    options.tolerant_stdout()
    print_advice(advisory)
