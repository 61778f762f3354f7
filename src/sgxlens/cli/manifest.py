# SPDX-License-Identifier: Apache-2.0
"""`sgxlens manifest`: the configuration of a runtime for a recorded program."""

from __future__ import annotations

from pathlib import Path

import click

from sgxlens.cli import options


@click.command("manifest")
@click.argument("recording", type=click.Path())
@click.option(
    "--runtime",
    metavar="NAME|FILE",
    default="gramine",
    help="gramine, gramine-edmm, gramine-exitless, occlum or occlum-edmm.  [default: gramine]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write this file.  [default: standard output]",
)
@click.option("--force", is_flag=True, help="Replace the file.")
@options.threads
@options.file_kinds
def command(  # noqa: PLR0917 -- click passes them by name
    recording: str,
    runtime: str,
    output: Path | None,
    force: bool,
    threads: int | None,
    trusted: tuple[str, ...],
    allowed: tuple[str, ...],
    encrypted: tuple[str, ...],
) -> None:
    """Writes the configuration of a runtime, sized from a recording.

    For Gramine a template of its manifest, with why each value is what it is; for Occlum the parts
    of Occlum.json that follow from the recording, with the reasons on standard error.
    """
    from sgxlens.configuration.manifest import manifest
    from sgxlens.errors import UsageError
    from sgxlens.report.files import check_file, write_file
    from sgxlens.text import one_line

    if force and output is None:
        raise UsageError("--force replaces a file: give it with --output")
    if output is not None:
        check_file(output, force=force)
    found = manifest(
        *(recording, runtime),
        threads=threads,
        trusted=trusted,
        allowed=allowed,
        encrypted=encrypted,
    )
    for reason in found.reasons:
        click.echo(one_line(reason), err=True)
    if output is None:
        click.echo(found.text, nl=False)
    else:
        write_file(output, found.text.encode())
        click.echo(f"wrote {output}", err=True)
