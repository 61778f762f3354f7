# SPDX-License-Identifier: Apache-2.0
"""`sgxlens report`: one HTML file about a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sgxlens.cli import options
from sgxlens.cli.garbage import collected_seldom
from sgxlens.cli.linear_algebra import import_numpy_alone

if TYPE_CHECKING:
    from sgxlens.advice.advise import Advisory
    from sgxlens.advice.situation import Situation


@click.command("report")
@options.prediction
@click.argument("recording", type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The HTML file to be written; a report that is there is replaced.",
)
@click.option(
    "--advice",
    type=click.Choice(("slowest", "all", "none")),
    default="slowest",
    show_default=True,
    help="What to change: for the platform where it is slowest, which is shown first; for all of"
    " them, which takes longer; or for none.",
)
@click.option("--force", is_flag=True, help="Replace a file that is no report.")
@click.option("-q", "--quiet", is_flag=True, help="No closing line.")
@collected_seldom()
def command(
    recording: str,
    *,
    output: Path,
    force: bool,
    quiet: bool,
    advice: str,
    platforms: tuple[str, ...],
    runtime: str | None,
    phase: str | None,
    native_seconds: float | None,
    **settings: Any,
) -> None:
    """Writes one HTML file about a recording, which any browser opens, without a network.

    It says how slow the program would be inside an enclave, why, where, how large the enclave must
    be, what to change, and what all that rests on.
    """
    import_numpy_alone()

    from sgxlens.recording.read_ahead import read_ahead
    from sgxlens.recording.reader import open_recording

    source = open_recording(recording)
    read_ahead(source)  # while the rest is imported

    from sgxlens.advice.advise import situation_of
    from sgxlens.enclave.runtime import load_runtime
    from sgxlens.errors import RecordingError
    from sgxlens.prediction.inputs import opened
    from sgxlens.prediction.predict import DEFAULT_RUNTIME
    from sgxlens.prediction.several import on_each, slowest
    from sgxlens.report.html import check_writable, write_html
    from sgxlens.report.page import page_report
    from sgxlens.units import format_bytes

    check_writable(output, force=force)
    asked = {"phase": phase, "native_seconds": native_seconds, **settings}
    no_prediction = ""
    try:
        whole = opened(source)
        # Read once: what is counted by its rules is kept with it.
        inside = load_runtime(runtime or DEFAULT_RUNTIME)

        def predicted(platform: str) -> Situation:
            situation = situation_of(whole, platform, inside, **asked)
            _ = situation.prediction  # what makes no sense on the platform is found here
            return situation

        situations, left_out = on_each(platforms, predicted)
    except RecordingError as error:
        # What was recorded can be shown even where nothing can be predicted from it.
        situations, left_out, no_prediction = [], [], error.message
        click.echo(f"sgxlens: no prediction: {no_prediction}", err=True)
    predictions = [situation.prediction for situation in situations]
    first = slowest(predictions) if predictions and advice == "slowest" else None
    advisories = [
        _advised(situation) if advice == "all" or index == first else None
        for index, situation in enumerate(situations)
    ]
    report = page_report(
        source,
        predictions,
        phase=phase,
        left_out=[(name, error.message) for name, error in left_out],
        no_prediction=no_prediction,
        advisories=advisories,
    )
    size_bytes = write_html(report, output)
    source.forget()
    if not quiet:
        click.echo(f"sgxlens: wrote {output} ({format_bytes(size_bytes)})", err=True)


def _advised(situation: Situation) -> Advisory:
    """The advice, with what `sgxlens advise --verify` has found out about it before."""
    from sgxlens.advice.advise import asked_all
    from sgxlens.advice.modification import verification_folder
    from sgxlens.advice.registry import chosen_rules
    from sgxlens.errors import SgxlensError

    advisory = asked_all(situation, *chosen_rules(()))
    if not verification_folder(situation.recording.path).is_dir():
        return advisory

    # It brings in what records programs.
    from sgxlens.verification import verify

    try:
        return verify(situation, advisory, only_finished=True)
    except SgxlensError as error:
        click.echo(f"sgxlens: advice is not shown as verified: {error.message}", err=True)
        return advisory
