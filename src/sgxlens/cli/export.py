# SPDX-License-Identifier: Apache-2.0
"""`sgxlens export`: recordings and predictions in the formats of other programs."""

from __future__ import annotations

from pathlib import Path

import click

from sgxlens.cli import options

FORMATS = ("chrome-trace", "csv", "parquet")


@click.command("export")
@click.argument("recording", type=click.Path())
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="chrome-trace: operators in predicted time with page loads, line misses and system calls,"
    " for Perfetto or chrome://tracing. csv, parquet: the tables of `show` and `predict`.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to: of chrome-trace a file (one that ends in .gz is compressed), else a folder.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Draw figures into this folder; needs matplotlib: pip install 'sgxlens[figures]'.",
)
@click.option(
    "--figure-format",
    type=click.Choice(["svg", "png", "pdf"]),
    help="Format of the figures.  [default: svg]",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@options.platforms(
    "For this platform, or one described by a TOML file; several can be given, but of chrome-trace"
    " one.  [default: all of `sgxlens platforms`; of chrome-trace the one where it is slowest]"
)
@options.runtime
@options.phase("Tables and figures of this phase.")
@options.native_time
@options.machine
@click.option("-q", "--quiet", is_flag=True, help="No closing line.")
def command(  # noqa: PLR0917 -- click passes them by name
    recording: str,
    format_: str | None,
    output: Path | None,
    figures: Path | None,
    figure_format: str | None,
    force: bool,
    platforms: tuple[str, ...],
    runtime: str | None,
    phase: str | None,
    native_seconds: float | None,
    epc: str | None,
    llc: str | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Writes a recording and what it would cost in the formats of other programs.

    As a trace (--format chrome-trace), as tables (csv, parquet), as figures for a paper
    (--figures DIR), or several of them. `--json` of show, predict and compare is the format of
    sgxlens itself.
    """
    _check(format_, output, figures, figure_format, platforms)
    _check_places(format_, output, figures, force=force)
    from sgxlens.prediction.predict import Settings
    from sgxlens.recording.reader import open_recording
    from sgxlens.report.export.write import Source

    opened = open_recording(recording)
    source = Source(
        opened,
        platforms,
        runtime,
        Settings(epc=epc, llc=llc, threads=threads),
        phase=phase,
        native_seconds=native_seconds,
    )
    written = []
    if output is not None and format_ is not None:
        written += source.write(format_, output)
    if figures is not None:
        written += source.draw(figures, figure_format or "svg")
    if source.no_prediction:
        click.echo(f"sgxlens: no prediction: {source.no_prediction}", err=True)
    if not quiet:
        for line in written:
            click.echo(f"sgxlens: wrote {line}", err=True)


def _check(
    format_: str | None,
    output: Path | None,
    figures: Path | None,
    figure_format: str | None,
    platforms: tuple[str, ...],
) -> None:
    """Refuse options that make no sense together."""
    from sgxlens.errors import UsageError

    if (format_ is None) != (output is None):
        given, lacking = ("--format", "-o") if output is None else ("-o", "--format")
        raise UsageError(f"{given} without {lacking}: give both")
    if output is None and figures is None:
        raise UsageError("nothing to export: give --format and -o, or --figures DIR")
    if figure_format is not None and figures is None:
        raise UsageError("--figure-format without --figures DIR")
    if output is not None and figures is not None and output.absolute() == figures.absolute():
        raise UsageError("-o and --figures name the same place: give two")
    if format_ == "chrome-trace" and len(platforms) > 1:
        raise UsageError("a trace is of one platform: give one --platform")


def _check_places(
    format_: str | None, output: Path | None, figures: Path | None, *, force: bool
) -> None:
    """Refuse what cannot be written, before anything is computed."""
    from sgxlens.report.files import check_file, check_folder

    if output is not None:
        (check_file if format_ == "chrome-trace" else check_folder)(output, force=force)
    if figures is not None:
        from sgxlens.report.export.figures import check_matplotlib

        check_matplotlib()
        check_folder(figures, force=force)
