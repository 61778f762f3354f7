# SPDX-License-Identifier: Apache-2.0
"""`sgxlens runtimes`: the runtimes that predictions are made for."""

from __future__ import annotations

import io
import sys

import click


@click.command("runtimes")
@click.argument("runtime", required=False, metavar="[NAME|FILE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, with every source.")
def command(runtime: str | None, as_json: bool) -> None:
    """Lists the runtimes there are, or shows one: what becomes of each system call, and why.

    A runtime is a TOML file; one's own is checked by showing it.
    """
    from sgxlens.enclave.runtime import load_runtime, runtime_names

    names = runtime_names() if runtime is None else (runtime,)
    runtimes = [load_runtime(name) for name in names]
    if as_json:
        from sgxlens.report.runtimes import runtimes_json

        click.echo(runtimes_json(runtimes), nl=False)
        return
    from sgxlens.report.terminal.runtimes import print_runtime, print_runtime_list

    # A terminal that cannot show a character gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if runtime is None:
        print_runtime_list(runtimes)
    else:
        print_runtime(runtimes[0])
