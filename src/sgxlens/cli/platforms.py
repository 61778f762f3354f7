# SPDX-License-Identifier: Apache-2.0
"""`sgxlens platforms`: the platforms that predictions are made for."""

from __future__ import annotations

import io
import sys

import click


@click.command("platforms")
@click.argument("platform", required=False, metavar="[NAME|FILE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, with every source.")
def command(platform: str | None, as_json: bool) -> None:
    """Lists the platforms there are, or shows one with every constant and its source.

    A platform is a TOML file; one's own is checked by showing it.
    """
    from sgxlens.enclave.platform import load_platform, platform_names

    names = platform_names() if platform is None else (platform,)
    platforms = [load_platform(name) for name in names]
    if as_json:
        from sgxlens.report.platforms import platforms_json

        click.echo(platforms_json(platforms), nl=False)
        return
    from sgxlens.report.terminal.platforms import print_platform, print_platform_list

    # A terminal that cannot show a character gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if platform is None:
        print_platform_list(platforms)
    else:
        print_platform(platforms[0])
