# SPDX-License-Identifier: Apache-2.0
"""`sgxlens lint`: what is wrong with a user's configuration of a runtime."""

from __future__ import annotations

import click

from sgxlens.cli import options

EXIT_FOUND = 1


def _variables(
    _: click.Context, __: click.Parameter, given: tuple[str, ...]
) -> dict[str, str | bool]:
    found: dict[str, str | bool] = {}
    for text in given:
        name, is_set, value = text.partition("=")
        if not name.isidentifier():
            raise click.BadParameter(f"{text!r} should be NAME=VALUE")
        found[name] = value if is_set else True
    return found


@click.command("lint")
@click.argument("file", type=click.Path())
@click.option(
    "--recording",
    type=click.Path(),
    help="Compare it with this recording of the program: sizes, threads, files.",
)
@options.platform(is_required=False)
@click.option(
    "--runtime",
    metavar="NAME|FILE",
    help="As of this variant of its runtime.  [default: with EDMM as the file says]",
)
@click.option(
    "-D",
    "--define",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_variables,
    help="A variable of the template, as for gramine-manifest.",
)
@click.option(
    "--ignore", multiple=True, metavar="CHECK", help="Leave out this check; may be repeated."
)
@options.json_output("sgxlens.report.lint")
def command(  # noqa: PLR0917 -- click passes them by name
    file: str,
    recording: str | None,
    platform: str | None,
    runtime: str | None,
    variables: dict[str, str | bool],
    ignore: tuple[str, ...],
    as_json: bool,
) -> int:
    """Says what is wrong with a Gramine manifest, its template, or an Occlum.json.

    Each finding has the line, what comes of it, and what to do. The exit status is 1 if there are
    findings, 0 if there are none, and 2 if the file cannot be looked at.
    """
    from sgxlens.configuration.linting.lint import lint

    report = lint(
        file,
        recording=recording,
        platform=platform,
        runtime=runtime,
        variables=variables,
        ignore=ignore,
    )
    if as_json:
        from sgxlens.report.lint import json_text

        click.echo(json_text(report), nl=False)
    else:
        from sgxlens.report.terminal.lint import print_lint

        options.tolerant_stdout()
        print_lint(report)
    return EXIT_FOUND if report.found or report.broken else 0
