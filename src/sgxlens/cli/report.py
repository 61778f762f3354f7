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
    from sgxlens.enclave.platform import load_platform, platform_names
    from sgxlens.enclave.runtime import load_runtime
    from sgxlens.prediction import predict
    from sgxlens.prediction.predict import DEFAULT_RUNTIME
    from sgxlens.recording.reader import open_recording
    from sgxlens.report.html import check_writable, write_html
    from sgxlens.report.page import page_report, predictions_or_reason
    from sgxlens.units import format_bytes, parse_seconds

    check_writable(output, force=force)
    source = open_recording(recording)
    places = [load_platform(name) for name in platforms or platform_names()]
    inside = load_runtime(runtime or DEFAULT_RUNTIME)
    seconds = None if native_time is None else parse_seconds(native_time)
    chosen: int | str | None = phase
    if phase is not None and phase.isdecimal() and all(p.name != phase for p in source.phases):
        chosen = int(phase)
    predictions = predictions_or_reason(
        lambda: [
            predict(source, place, inside, phase=chosen, native_seconds=seconds, threads=threads)
            for place in places
        ]
    )
    size_bytes = write_html(page_report(source, predictions, chosen), output)
    if predictions.missing:
        click.echo(f"sgxlens: no prediction: {predictions.missing}", err=True)
    if not quiet:
        click.echo(f"sgxlens: wrote {output} ({format_bytes(size_bytes)})", err=True)
