# SPDX-License-Identifier: Apache-2.0
"""`sgxlens platforms`: the platforms that predictions are made for."""

from __future__ import annotations

import click

from sgxlens.cli.options import print_descriptions


@click.command("platforms")
@click.argument("platform", required=False, metavar="[NAME|FILE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, with every source.")
def command(platform: str | None, as_json: bool) -> None:
    """Lists the platforms there are, or shows one with every constant and its source.

    A platform is a TOML file; one's own is checked by showing it.
    """
    from sgxlens.enclave.platform import load_platform, platform_names
    from sgxlens.report.platforms import platforms_json
    from sgxlens.report.terminal.platforms import print_platform, print_platform_list

    print_descriptions(
        platform,
        platform_names,
        load_platform,
        as_json=platforms_json if as_json else None,
        print_list=print_platform_list,
        print_one=print_platform,
    )
