# SPDX-License-Identifier: Apache-2.0
"""`sgxlens record`: runs a model, a script or any command under the tracer."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sgxlens.cli.main import EXIT_INTERRUPTED
from sgxlens.cli.progress import ProgressLine
from sgxlens.errors import TracerError
from sgxlens.recording.targets.choose import MODEL_SUFFIXES

if TYPE_CHECKING:
    from sgxlens.recording.metadata import Outcome

EXIT_SIGNALLED = 128  # plus the signal's number, as a shell reports it


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


@click.command("record", cls=TargetCommand)
@click.argument("target", nargs=-1, metavar="TARGET...", type=click.UNPROCESSED)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the recording.  [default: NAME.sgxlens]",
)
@click.option("--force", is_flag=True, help="Replace a recording that is already there.")
@click.option(
    "--isa",
    type=click.Choice(["sse", "avx", "avx2"]),
    default="avx",
    show_default=True,
    help="Instruction set shown to the program. avx is the fastest under the tracer; avx2 has FMA"
    " with it, which is some ten times slower.",
)
@click.option(
    "--follow-children", is_flag=True, help="Record the processes that the program starts, too."
)
@click.option("--start-at-mark", metavar="NAME", help="Record from this mark on.")
@click.option(
    "--sampling-rate",
    type=float,
    default=1.0,
    help="Follow this share of the blocks only (0.01 for 1 %); for long runs.  [default: 1, exact]",
)
@click.option(
    "--line-use",
    "line_use_interval",
    type=int,
    metavar="N",
    default=64,
    show_default=True,
    help="Record which bytes are used of one line in N: 1, 2, 4 ... 64, or 0 for none.",
)
@click.option(
    "--keep-accesses", is_flag=True, help="Keep every access on disk, for `sgxlens replay`."
)
@click.option(
    "--onnx-profile",
    metavar="PREFIX",
    type=click.Path(path_type=Path),
    help="Where the program lets ONNX Runtime write its profile, for the operators.",
)
@click.option(
    "--native",
    "native_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take native times from this file of `sgxlens time`, or from another recording.",
)
@click.option("--no-native", is_flag=True, help="Do not run the program natively for its time.")
@click.option(
    "--native-runs",
    type=click.IntRange(1),
    help="Native runs; a model has as many again, for its operators.  [default: 3]",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no closing line.")
@click.option(
    "--torch",
    metavar="MODULE:FUNCTION",
    help="Instead of a target: a function that returns a PyTorch model and its example inputs.",
)
@click.option("--dim", "dims", metavar="NAME=N", multiple=True, help="Model: a dynamic dimension.")
@click.option("--batch", type=click.IntRange(1), help="Model: the batch size.")
@click.option(
    "--threads", type=click.IntRange(1), help="Model: threads of an operator.  [default: 1]"
)
@click.option("--warmup", type=click.IntRange(0), help="Model: warm-up inferences.  [default: 1]")
@click.option("--runs", type=click.IntRange(1), help="Model: inferences recorded.  [default: 2]")
@click.option(
    "--input",
    "input_file",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    help="Model: its inputs, by name.  [default: random]",
)
@click.option(
    "--session",
    metavar="FILE.json",
    type=click.Path(path_type=Path),
    help="ONNX model: settings of its session.  [default: ONNX Runtime's, threads do not spin]",
)
@click.option(
    "--env",
    "variables",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set this variable in the program's environment; may be repeated.",
)
@click.pass_context
def command(  # noqa: PLR0917 -- click passes them by name
    ctx: click.Context,
    /,
    target: tuple[str, ...],
    output: Path | None,
    force: bool,
    isa: str,
    follow_children: bool,
    start_at_mark: str | None,
    sampling_rate: float,
    line_use_interval: int,
    keep_accesses: bool,
    onnx_profile: Path | None,
    native_file: Path | None,
    no_native: bool,
    native_runs: int | None,
    quiet: bool,
    variables: tuple[str, ...],
    **model_options: Any,
) -> int:
    """Record a model, a script or any command.

    \b
    sgxlens record MODEL.onnx [--batch 4]     in ONNX Runtime, with random inputs
    sgxlens record SCRIPT.py [ARGUMENT ...]   with this Python
    sgxlens record --torch MODULE:FUNCTION    a PyTorch model that FUNCTION() returns
    sgxlens record -- COMMAND [ARGUMENT ...]  anything else

    Then the program runs again without the tracer, three times, for its native time: without
    input and output. What was recorded is kept if these runs fail or are interrupted.

    The exit status is the program's own (128 + N where signal N ended it); 2 where nothing was
    recorded.
    """  # noqa: D301 - click wants the character
    # Imported here: `sgxlens --help` need not wait for pyarrow.
    from sgxlens.recording.api import record
    from sgxlens.recording.native_times.measure import DEFAULT_RUNS

    if (native_file is not None) + no_native + (native_runs is not None) > 1:
        raise click.UsageError("give one of --native, --no-native and --native-runs")
    is_torch = ctx.obj["is_torch"]
    if is_torch:
        name = target[0].partition(":")[0].rpartition(".")[2]
    else:
        name = Path(target[0]).stem or Path(target[0]).name
    with ProgressLine(quiet=quiet) as line:
        recording = record(
            target,
            output if output is not None else Path(f"{name}.sgxlens"),
            is_command=bool(ctx.obj and ctx.obj.get("is_command")),
            is_torch=is_torch,
            isa=isa,
            follow_children=follow_children,
            start_at_mark=start_at_mark,
            sampling_rate=sampling_rate,
            line_use_interval=line_use_interval,
            keep_accesses=keep_accesses,
            force=force,
            onnx_profile=onnx_profile,
            native=native_file if native_file is not None else not no_native,
            native_runs=native_runs or DEFAULT_RUNS,
            on_progress=line.update,
            variables=parsed_variables(variables),
            **given_model_options(model_options),
        )
    outcome = recording.metadata.outcome
    if outcome.status == "lost":
        raise TracerError(f"{outcome.message}; what came before is in {recording.path}")
    if not quiet:
        remarks = "; ".join([*_ending(outcome), *recording.metadata.notes])
        click.echo(
            f"sgxlens: recorded {recording.path}{remarks and f' ({remarks})'}; look at it with"
            f" `sgxlens show {shlex.quote(str(recording.path))}`",
            err=True,
        )
    return _exit_status(outcome)


def parsed_variables(texts: tuple[str, ...]) -> dict[str, str]:
    """Variables given as ``NAME=VALUE``."""
    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise click.UsageError(f"--env {text!r} is not of the form NAME=VALUE")
        found[name] = value
    return found


def given_model_options(options: dict[str, Any]) -> dict[str, Any]:
    """Those options of a model that were given, as `sgxlens.record` takes them."""
    from sgxlens.recording.targets.onnx_inputs import parse_dimension

    given = {key: value for key, value in options.items() if value not in (None, ())}
    if "dims" in given:
        given["dims"] = dict(map(parse_dimension, given["dims"]))
    return given


def _ending(outcome: Outcome) -> list[str]:
    """What there is to say about how the program ended."""
    texts = [outcome.message]
    if outcome.status == "exited" and outcome.exit_code:
        texts.insert(0, f"the program exited with status {outcome.exit_code}")
    return [text for text in texts if text]


def _exit_status(outcome: Outcome) -> int:
    from sgxlens.recording.syscalls import signal_number

    if outcome.signal is None:
        return outcome.exit_code or 0
    if outcome.status == "interrupted" and outcome.signal == "SIGKILL":
        return EXIT_INTERRUPTED  # it had to be killed; the user's wish was to interrupt it
    return EXIT_SIGNALLED + signal_number(outcome.signal)
