# SPDX-License-Identifier: Apache-2.0
"""`sgxlens runtimes`: the runtimes that predictions are made for."""

from __future__ import annotations

import click

from sgxlens.cli.options import print_descriptions


@click.command("runtimes")
@click.argument("runtime", required=False, metavar="[NAME|FILE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, with every source.")
def command(runtime: str | None, as_json: bool) -> None:
    """Lists the runtimes there are, or shows one: what becomes of each system call, and why.

    A runtime is a TOML file; one's own is checked by showing it.
    """
    from sgxlens.enclave.runtime import load_runtime, runtime_names
    from sgxlens.report.runtimes import runtimes_json
    from sgxlens.report.terminal.runtimes import print_runtime, print_runtime_list

    print_descriptions(
        runtime,
        runtime_names,
        load_runtime,
        as_json=runtimes_json if as_json else None,
        print_list=print_runtime_list,
        print_one=print_runtime,
    )
