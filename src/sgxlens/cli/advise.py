# SPDX-License-Identifier: Apache-2.0
"""`sgxlens advise`: what to change so that a recorded program gets faster inside an enclave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sgxlens.cli import options
from sgxlens.cli.progress import ProgressLine


@click.command("advise")
@click.argument("recording", type=click.Path())
@options.platform(is_required=True)
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
@click.option(
    "--verify",
    "is_verified",
    is_flag=True,
    help="Apply what can be applied to a copy, record that, and show the gain beside the predicted"
    " one. It takes as long as a recording for each change.",
)
@click.option(
    "--verify-folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where changed programs and their recordings are kept, and found again.  [default:"
    " RECORDING.verify]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Recordings at once.  [default: as memory and processors allow]",
)
@click.option(
    "--native-again",
    is_flag=True,
    help="Take the native times of changed programs anew, also where their recordings are finished:"
    " the machine was busy before.",
)
@options.tolerance
@options.json_output("sgxlens.report.advice")
def command(
    recording: str,
    *,
    platform: str,
    runtime: str | None,
    phase: str | None,
    native_seconds: float | None,
    only: tuple[str, ...],
    is_verified: bool,
    verify_folder: Path | None,
    jobs: int | None,
    native_again: bool,
    tolerance: float | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Says what to change so that a recorded program gets faster inside an SGX enclave.

    Each piece of advice has its evidence, a predicted gain as a range, what it costs and how to
    apply it. What is looked for and not advised is listed with the reason.

    With --verify each change that a machine can make is made to a copy of the model or to the
    settings of the run, timed natively in turns with the recorded program, and recorded; outputs
    are compared. What is finished is used again by the next --verify, also after Ctrl-C.
    """
    from sgxlens.advice.advise import asked_all, situation_of
    from sgxlens.advice.registry import chosen_rules
    from sgxlens.prediction.predict import DEFAULT_RUNTIME

    given = {
        "--verify-folder": verify_folder,
        "--jobs": jobs,
        "--native-again": native_again or None,
        "--tolerance": tolerance,
    }
    if not is_verified and (
        useless := [name for name, value in given.items() if value is not None]
    ):
        raise click.UsageError(f"{useless[0]} is for --verify")
    rules, broken = chosen_rules(only)
    situation = situation_of(
        recording,
        platform,
        runtime or DEFAULT_RUNTIME,
        phase=phase,
        native_seconds=native_seconds,
        **settings,
    )
    advisory = asked_all(situation, rules, broken)
    if is_verified:
        from sgxlens.verification import verify

        with ProgressLine(quiet=False, is_resumable=True) as line:
            advisory = verify(
                situation,
                advisory,
                folder=verify_folder,
                jobs=jobs,
                tolerance=tolerance,
                native_again=native_again,
                on_progress=line.tell,
            )
    if as_json:
        from sgxlens.report.advice import json_text

        click.echo(json_text(situation.recording.metadata, advisory), nl=False)
        return
    from sgxlens.report.terminal.advice import print_advice

    options.tolerant_stdout()
    print_advice(advisory)
