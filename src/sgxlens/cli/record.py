# SPDX-License-Identifier: Apache-2.0
"""`sgxlens record`: runs a model, a script or any command under the tracer."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sgxlens.cli.main import EXIT_INTERRUPTED, EXIT_SIGNALLED
from sgxlens.cli.progress import ProgressLine
from sgxlens.cli.target import TargetCommand, given_options, runs_natively, what_is_run
from sgxlens.errors import TracerError

if TYPE_CHECKING:
    from sgxlens.recording.metadata import Outcome


@click.command("record", cls=TargetCommand)
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
@runs_natively
@what_is_run
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
    **target_options: Any,
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
            **given_options(target_options),
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
