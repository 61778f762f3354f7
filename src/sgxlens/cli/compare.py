# SPDX-License-Identifier: Apache-2.0
"""`sgxlens compare`: what changed between recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sgxlens.cli import options


@click.command("compare")
@click.argument("recordings", type=click.Path(), nargs=-1, metavar="BASELINE OTHER...")
@options.platforms(
    "On this platform, or one described by a TOML file; several can be given.  [default: all of"
    " `sgxlens platforms`, and in full the one where the baseline is slowest]"
)
@options.runtime
@click.option(
    "--phase",
    "phases",
    multiple=True,
    metavar="NAME|INDEX",
    help="Compare this phase; or one for each recording, in their order.  [default: the last"
    " inference, else the longest phase after the start]",
)
@click.option(
    "--native-time",
    "native_times",
    multiple=True,
    metavar="TIME",
    help="Native time of the phase of each recording, in their order, as in 42ms; all from one"
    " machine.  [default: as recorded]",
)
@options.settings
@options.top("operators")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write one HTML file, which any browser opens, in place of the report for a terminal; a"
    " page of sgxlens that is there is replaced.",
)
@click.option("--force", is_flag=True, help="Replace a file of --html that is no such page.")
@options.json_output("sgxlens.report.comparison_json")
def command(
    recordings: tuple[str, ...],
    *,
    platforms: tuple[str, ...],
    runtime: str | None,
    phases: tuple[str, ...],
    native_times: tuple[str, ...],
    top: int | None,
    html: Path | None,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Says what changed between recordings: before and after a change, two models, two batches.

    The first recording is what the others are compared with. A difference has a range of its own:
    constants price both sides, so that much of what makes a prediction uncertain cancels out.
    Recordings whose differences would not be those of the programs are refused.
    """
    from sgxlens.comparison.compare import Comparer
    from sgxlens.enclave.platform import platform_names
    from sgxlens.enclave.runtime import load_runtime
    from sgxlens.errors import UsageError
    from sgxlens.prediction.predict import DEFAULT_RUNTIME, Settings
    from sgxlens.prediction.several import on_each
    from sgxlens.report.comparison import comparison_document, slowest_baseline
    from sgxlens.report.html import check_writable
    from sgxlens.units import parse_seconds

    if as_json and html is not None:
        raise UsageError("--json prints and --html writes: give one of them")
    if top is not None and (as_json or html is not None):
        raise UsageError("--top is of the report for a terminal; --json has all rows")
    if force and html is None:
        raise UsageError("--force is of the file that --html writes")
    if html is not None:
        check_writable(html, force=force)
    comparer = Comparer(
        recordings,
        list(phases) or None,
        [parse_seconds(time) for time in native_times] or None,
    )
    asked = Settings(**settings)
    inside = load_runtime(runtime or DEFAULT_RUNTIME)
    # Without times, all platforms are alike.
    names = platforms or (platform_names()[:1] if comparer.no_times else ())
    comparisons, left_out = on_each(names, lambda platform: comparer.on(platform, inside, asked))
    document = comparison_document(
        [subject.recording for subject in comparer.subjects],
        comparisons,
        detailed=None if platforms else (slowest_baseline(comparisons),),
        left_out=[(name, error.message) for name, error in left_out],
    )
    if as_json:
        from sgxlens.report.comparison_json import json_text

        click.echo(json_text(document), nl=False)
        return
    if html is not None:
        from sgxlens.report.comparison_page import comparison_page
        from sgxlens.report.html import write_html
        from sgxlens.units import format_bytes

        size_bytes = write_html(comparison_page(document), html)
        click.echo(f"sgxlens: wrote {html} ({format_bytes(size_bytes)})", err=True)
        return
    from sgxlens.report.terminal.comparison import print_comparisons

    options.tolerant_stdout()
    print_comparisons(document, top=top or 10)
