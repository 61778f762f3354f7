# SPDX-License-Identifier: Apache-2.0
"""`sgxlens compare`: what changed between recordings."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.comparison.model import Comparison
    from sgxlens.enclave.epc import EpcPolicy


def _print_schema(context: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not context.resilient_parsing:
        from sgxlens.report.comparison_json import schema_text

        click.echo(schema_text(), nl=False)
        context.exit()


@click.command("compare")
@click.argument("recordings", type=click.Path(), nargs=-1, metavar="BASELINE OTHER...")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="NAME|FILE",
    help="On this platform, or one described by a TOML file; several can be given.  [default: all"
    " of `sgxlens platforms`, and in full the one where the baseline is slowest]",
)
@click.option(
    "--runtime",
    metavar="NAME|FILE",
    help="In this runtime, or one described by a TOML file.  [default: gramine]",
)
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
@click.option("--epc", metavar="SIZE", help="Size of the EPC, as in 64M; K, M, G: powers of 1,024.")
@click.option("--llc", metavar="SIZE", help="Size of the last-level cache, as in 16M.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that work at once.  [default: as recorded]",
)
@click.option(
    "--enclave-size",
    metavar="SIZE",
    help="Size of the enclave, as in 1G.  [default: the least power of two that is enough]",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    help="Enclaves of this program that run at once and share the EPC.  [default: 1]",
)
@click.option("--policy", metavar="NAME", help="Which pages leave the EPC, as for predict.")
@click.option(
    "--trusted", multiple=True, metavar="GLOB", help="Files that are hashed by the manifest."
)
@click.option(
    "--allowed",
    multiple=True,
    metavar="GLOB",
    help="Files that are used on the host as they are.",
)
@click.option(
    "--encrypted", multiple=True, metavar="GLOB", help="Files that are sealed by the runtime."
)
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help="Show N operators.  [default: 10]"
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs: every number and every row."
)
@click.option(
    "--json-schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the schema of that JSON, and nothing else.",
)
def command(  # noqa: PLR0917 -- click passes them by name
    recordings: tuple[str, ...],
    platforms: tuple[str, ...],
    runtime: str | None,
    phases: tuple[str, ...],
    native_times: tuple[str, ...],
    epc: str | None,
    llc: str | None,
    threads: int | None,
    enclave_size: str | None,
    replicas: int,
    policy: EpcPolicy | None,
    trusted: tuple[str, ...],
    allowed: tuple[str, ...],
    encrypted: tuple[str, ...],
    top: int | None,
    as_json: bool,
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
    from sgxlens.report.comparison import comparison_document
    from sgxlens.units import parse_seconds

    if as_json and top is not None:
        raise UsageError("--top is of the report for people; --json has all rows")
    comparer = Comparer(
        recordings,
        list(phases) or None,
        [parse_seconds(time) for time in native_times] or None,
    )
    settings = Settings(
        epc=epc,
        llc=llc,
        threads=threads,
        enclave_size=enclave_size,
        replicas=replicas,
        policy=policy,
        trusted=trusted,
        allowed=allowed,
        encrypted=encrypted,
    )
    inside = load_runtime(runtime or DEFAULT_RUNTIME)
    # Without times, all platforms are alike.
    names = platforms or (platform_names()[:1] if comparer.no_times else ())
    comparisons, left_out = on_each(names, lambda platform: comparer.on(platform, inside, settings))
    document = comparison_document(
        [subject.recording for subject in comparer.subjects],
        comparisons,
        detailed=None if platforms else (_slowest(comparisons),),
        left_out=[(name, error.message) for name, error in left_out],
    )
    if as_json:
        from sgxlens.report.comparison_json import json_text

        click.echo(json_text(document), nl=False)
        return
    from sgxlens.report.terminal.comparison import print_comparisons

    # A terminal that cannot show a character gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print_comparisons(document, top=top or 10)


def _slowest(comparisons: Sequence[Comparison]) -> int:
    """The platform where the baseline is slowest: there is most to be learnt."""

    def slowdown(index: int) -> float:
        baseline = comparisons[index].sides[0].prediction
        return baseline.steady.slowdown.likely if baseline is not None else 0.0

    return max(range(len(comparisons)), key=slowdown)
