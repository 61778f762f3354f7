# SPDX-License-Identifier: Apache-2.0
"""`sgxlens report`: one HTML file about a recording."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("recording", type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The HTML file to be written; a report that is there is replaced.",
)
@click.option("--force", is_flag=True, help="Replace a file that is no report.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="NAME|FILE",
    help="Predict for this platform, or one described by a TOML file; several can be given."
    "  [default: all of `sgxlens platforms`]",
)
@click.option(
    "--runtime",
    metavar="NAME|FILE",
    help="In this runtime, or one described by a TOML file.  [default: gramine]",
)
@click.option(
    "--phase",
    metavar="NAME|INDEX",
    help="Report on this phase.  [default: the last inference, else the longest phase after the"
    " start]",
)
@click.option(
    "--native-time",
    metavar="TIME",
    help="Native time of the phase on the machine that counts, as in 42ms, in place of the recorded"
    " one; other phases are not predicted then.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that work at once.  [default: as recorded]",
)
@click.option("-q", "--quiet", is_flag=True, help="No closing line.")
def command(  # noqa: PLR0917 -- click passes them by name
    recording: str,
    output: Path,
    force: bool,
    platforms: tuple[str, ...],
    runtime: str | None,
    phase: str | None,
    native_time: str | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Writes one HTML file about a recording, which any browser opens, without a network.

    It says how slow the program would be inside an enclave, why, where, how large the enclave must
    be, and what all that rests on.
    """
    from sgxlens.errors import RecordingError
    from sgxlens.prediction.inputs import opened
    from sgxlens.prediction.several import predict_on
    from sgxlens.recording.reader import open_recording
    from sgxlens.report.html import check_writable, write_html
    from sgxlens.report.page import page_report
    from sgxlens.units import format_bytes, parse_seconds

    check_writable(output, force=force)
    source = open_recording(recording)
    chosen: int | str | None = phase
    if phase is not None and phase.isdecimal() and all(p.name != phase for p in source.phases):
        chosen = int(phase)
    no_prediction = ""
    try:
        predictions, left_out = predict_on(
            opened(source),
            platforms,
            runtime,
            phase=chosen,
            threads=threads,
            native_seconds=None if native_time is None else parse_seconds(native_time),
        )
    except RecordingError as error:
        # What was recorded can be shown even where nothing can be predicted from it.
        predictions, left_out, no_prediction = [], [], error.message
        click.echo(f"sgxlens: no prediction: {no_prediction}", err=True)
    report = page_report(
        source,
        predictions,
        phase=chosen,
        left_out=[(name, error.message) for name, error in left_out],
        no_prediction=no_prediction,
    )
    size_bytes = write_html(report, output)
    if not quiet:
        click.echo(f"sgxlens: wrote {output} ({format_bytes(size_bytes)})", err=True)
