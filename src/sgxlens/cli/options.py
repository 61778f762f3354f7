# SPDX-License-Identifier: Apache-2.0
"""Options that several sub-commands have, and what is made of their values."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Described = TypeVar("Described")
Decorator = Callable[[Decorated], Decorated]


def together(*options: Decorator[Any]) -> Decorator[Any]:
    """Several options as one decorator, in their order."""

    def decorate(function: Decorated) -> Decorated:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _seconds(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    from sgxlens.units import parse_seconds

    return None if text is None else parse_seconds(text)


def platform(*, is_required: bool) -> Decorator[Any]:
    """``platform``: the name or file of one."""
    return click.option(
        "--platform",
        metavar="NAME|FILE",
        required=is_required,
        help="Where it runs: a name of `sgxlens platforms`, or a TOML file.",
    )


def platforms(text: str) -> Decorator[Any]:
    """``platforms``: names and files of platforms, none by default."""
    return click.option("--platform", "platforms", multiple=True, metavar="NAME|FILE", help=text)


def phase(text: str) -> Decorator[Any]:
    """``phase``: name or index, as `Recording.select_phases` takes them."""
    return click.option(
        "--phase",
        metavar="NAME|INDEX",
        help=f"{text}  [default: the last inference, else the longest phase after the start]",
    )


runtime = click.option(
    "--runtime",
    metavar="NAME|FILE",
    help="In this runtime, or one described by a TOML file.  [default: gramine]",
)
native_time = click.option(
    "--native-time",
    "native_seconds",
    metavar="TIME",
    callback=_seconds,
    help="Native time of the phase on the machine that counts, as in 42ms, in place of the recorded"
    " one; other phases are not predicted then.",
)
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that work at once.  [default: as recorded]",
)
# Sizes of a machine that are other ones than those of its platform.
machine_sizes = together(
    click.option(
        "--epc", metavar="SIZE", help="Size of the EPC, as in 64M; K, M, G: powers of 1,024."
    ),
    click.option("--llc", metavar="SIZE", help="Size of the last-level cache, as in 16M."),
)
tolerance = click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    metavar="X",
    help="How far outputs may deviate, as a share of the largest.  [default: 1e-4; 0.05 for int8]",
)
# What can be said of a machine beside its platform.
machine = together(machine_sizes, threads)
# Which files are measured or sealed.
file_kinds = together(
    click.option(
        "--trusted",
        multiple=True,
        metavar="GLOB",
        help="Files that are hashed by the manifest, as in '/models/**'.",
    ),
    click.option(
        "--allowed",
        multiple=True,
        metavar="GLOB",
        help="Files that are used on the host as they are, as in '/models/**'.",
    ),
    click.option(
        "--encrypted",
        multiple=True,
        metavar="GLOB",
        help="Files that are sealed by the runtime, as in '/models/**'.",
    ),
)
# The fields of `sgxlens.prediction.predict.Settings`, but for the overheads that EPCs are told for.
settings = together(
    machine,
    click.option(
        "--enclave-size",
        metavar="SIZE",
        help="Size of the enclave, as in 1G.  [default: the least power of two that is enough]",
    ),
    click.option(
        "--replicas",
        type=click.IntRange(min=1),
        metavar="N",
        default=1,
        help="Enclaves of this program that run at once and share the EPC.  [default: 1]",
    ),
    click.option(
        "--policy",
        metavar="NAME",
        help="Which pages leave the EPC: linux, out_of_tree, lru, fifo, second_chance, mru, pinned,"
        " optimum.  [default: as the platform's driver does it]",
    ),
    file_kinds,
)
# What is predicted.
prediction = together(
    platforms(
        "For this platform, or one described by a TOML file; several are compared.  [default: all"
        " of `sgxlens platforms`, and in full the one where it is slowest]"
    ),
    runtime,
    phase("Predict this phase."),
    native_time,
    settings,
)


def top(what: str) -> Decorator[Any]:
    """``top``: how many rows of `what` are shown."""
    return click.option(
        "--top", type=click.IntRange(min=1), metavar="N", help=f"Show N {what}.  [default: 10]"
    )


def json_output(module: str) -> Decorator[Any]:
    """``as_json``, and ``--json-schema``, which prints what ``schema_text`` of `module` returns."""

    def print_schema(context: click.Context, _: click.Parameter, is_wanted: bool) -> None:
        if is_wanted and not context.resilient_parsing:
            click.echo(import_module(module).schema_text(), nl=False)
            context.exit()

    return together(
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print JSON for programs: every number and every row.",
        ),
        click.option(
            "--json-schema",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=print_schema,
            help="Print the schema of that JSON, and nothing else.",
        ),
    )


def print_descriptions(
    asked: str | None,
    names: Callable[[], tuple[str, ...]],
    load: Callable[[str], Described],
    *,
    as_json: Callable[[Sequence[Described]], str] | None,
    print_list: Callable[[Sequence[Described]], None],
    print_one: Callable[[Described], None],
) -> None:
    """Prints all platforms or runtimes there are, or the one that is `asked` for.

    Args:
        asked: name or file of one; None: all.
        names: the names of all.
        load: reads one.
        as_json: makes JSON of them, for programs; None: they are printed for people.
        print_list: prints all in short.
        print_one: prints one in full.
    """
    found = [load(name) for name in (names() if asked is None else (asked,))]
    if as_json is not None:
        click.echo(as_json(found), nl=False)
        return
    tolerant_stdout()
    if asked is None:
        print_list(found)
    else:
        print_one(found[0])


def tolerant_stdout() -> None:
    """Lets a terminal that cannot show a character show a question mark: no traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
