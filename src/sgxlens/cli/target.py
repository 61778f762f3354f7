# SPDX-License-Identifier: Apache-2.0
"""What `sgxlens record` and `sgxlens time` run: a model, a script or any command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sgxlens.cli.options import together
from sgxlens.recording.targets.choose import MODEL_SUFFIXES


class TargetCommand(click.Command):
    """Options end at the target, whose own arguments follow; a model has none, so options may."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put a `--` before the target, whose options are its own; see click."""
        ctx.ensure_object(dict)
        ctx.allow_interspersed_args = False
        found, _, _ = self.make_parser(ctx).parse_args(list(args))
        target = found.get("target")
        if not isinstance(target, tuple):  # click has its own sign for "not given"
            target = ()
        first = len(args) - len(target)
        if first > 0 and args[first - 1] == "--":
            ctx.obj["is_command"] = True
        elif target and target[0].endswith(MODEL_SUFFIXES):
            args = [*args[:first], *args[first + 1 :], "--", args[first]]
            ctx.allow_interspersed_args = True
        rest = super().parse_args(ctx, args)
        torch = ctx.params.pop("torch")
        ctx.obj["is_torch"] = torch is not None
        if torch is not None:
            ctx.params["target"] = (torch, *target)
        elif not target:
            parameter = next(each for each in self.params if each.name == "target")
            raise click.MissingParameter(ctx=ctx, param=parameter)
        return rest


#: How a model is run, and in which environment.
model_options = together(
    click.option(
        "--dim", "dims", metavar="NAME=N", multiple=True, help="Model: a dynamic dimension."
    ),
    click.option("--batch", type=click.IntRange(1), help="Model: the batch size."),
    click.option(
        "--threads", type=click.IntRange(1), help="Model: threads of an operator.  [default: 1]"
    ),
    click.option(
        "--warmup", type=click.IntRange(0), help="Model: warm-up inferences.  [default: 1]"
    ),
    click.option(
        "--runs", type=click.IntRange(1), help="Model: inferences recorded.  [default: 2]"
    ),
    click.option(
        "--input",
        "input_file",
        metavar="FILE.npz",
        type=click.Path(path_type=Path),
        help="Model: its inputs, by name.  [default: random]",
    ),
    click.option(
        "--session",
        metavar="FILE.json",
        type=click.Path(path_type=Path),
        help="ONNX model: settings of its session.  [default: ONNX Runtime's, threads do not spin]",
    ),
    click.option(
        "--env",
        "variables",
        metavar="NAME=VALUE",
        multiple=True,
        help="Set this variable in the program's environment; may be repeated.",
    ),
)
#: The target, and the options that `given_options` takes.
what_is_run = together(
    click.argument("target", nargs=-1, metavar="TARGET...", type=click.UNPROCESSED),
    click.option(
        "--torch",
        metavar="MODULE:FUNCTION",
        help="Instead of a target: a function that returns a PyTorch model and its example inputs.",
    ),
    model_options,
)
runs_natively = together(
    click.option(
        "--native-runs",
        type=click.IntRange(1),
        help="Native runs; a model has as many again, for its operators.  [default: 3]",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress and no closing line."),
)


def given_options(options: dict[str, Any]) -> dict[str, Any]:
    """Those of `model_options` that were given, as `sgxlens.record` takes them."""
    from sgxlens.recording.targets.onnx_inputs import parse_dimension

    given = {key: value for key, value in options.items() if value not in (None, ())}
    if "dims" in given:
        given["dims"] = dict(map(parse_dimension, given["dims"]))
    if "variables" in given:
        given["variables"] = dict(map(_variable, given["variables"]))
    return given


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise click.UsageError(f"--env {text!r} is not of the form NAME=VALUE")
    return name, value
