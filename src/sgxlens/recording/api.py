# SPDX-License-Identifier: Apache-2.0
"""`sgxlens.record` for use in Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sgxlens.errors import TargetError, UsageError
from sgxlens.recording.environment import with_variables
from sgxlens.recording.native_times.measure import (
    DEFAULT_RUNS,
    NativeSettings,
    NotTimed,
    measure,
)
from sgxlens.recording.native_times.model import NativeTimes, load_times
from sgxlens.recording.native_times.recorded import (
    NativeRequest,
    StandardInput,
    progress_shower,
)
from sgxlens.recording.record import described, record_target
from sgxlens.recording.session import (
    DEFAULT_LINE_USE_INTERVAL,
    TracerOptions,
    catching_signals,
)
from sgxlens.recording.targets.choose import choose_target

if TYPE_CHECKING:
    from sgxlens.recording.reader import Recording
    from sgxlens.recording.session import Progress


def record(
    what: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    is_command: bool = False,
    is_torch: bool = False,
    isa: str = "avx",
    follow_children: bool = False,
    start_at_mark: str | None = None,
    sampling_rate: float = 1.0,
    attribute: bool = True,
    line_use_interval: int = DEFAULT_LINE_USE_INTERVAL,
    keep_accesses: bool = False,
    force: bool = False,
    onnx_profile: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    native: bool | str | os.PathLike[str] = False,
    native_runs: int = DEFAULT_RUNS,
    on_progress: Callable[[Progress], None] | None = None,
    **model_options: Any,
) -> Recording:
    """Run a program under the tracer and record its memory accesses.

    Args:
        what: an ONNX model (``model.onnx``), a Python script (``[script.py, argument, ...]``) or
            a command with its arguments.
        output: the folder to be made.
        is_command: take `what` as a command, whatever it is called.
        is_torch: take `what` as ``package.module:function``, which returns a PyTorch model and its
            example inputs; see `sgxlens.recording.targets.torch.TorchTarget`.
        isa: instruction set shown to the program: ``sse``, ``avx`` or ``avx2``.
        follow_children: record the processes that it starts, too.
        start_at_mark: record from the mark of this name on.
        sampling_rate: the share of blocks that is followed; 1.0 for exact results.
        attribute: attribute accesses to operators, memory regions and the sources of reuse, and
            keep the visits of pages; not where blocks are sampled.
        line_use_interval: of one line in so many, drawn by a hash, it is recorded which bytes are
            used: a power of two up to 64, or 0 for none; where accesses are attributed.
        keep_accesses: keep every access on disk, so that `replay` can analyse them again.
        force: replace a recording at `output`.
        onnx_profile: where a program that uses ONNX Runtime lets it write profiles
            (``SessionOptions.enable_profiling``): a file, or ``profile_file_prefix``, from which
            the operators are known. A model needs none.
        environment: of the program; this process's by default.
        variables: of the environment, to be set in addition; the recording keeps them.
        native: run the program natively, too, for its time (True), or take that from a file made by
            ``sgxlens time`` or from another recording. The default is to run it once only.
        native_runs: how often it is run natively; a model as often again to time its operators.
        on_progress: called a few times a second.
        model_options: for a model: dims, batch, input_file, threads, warmup, runs, seed, outputs,
            session; see `sgxlens.recording.targets.onnx.OnnxTarget`. A PyTorch model takes threads,
            warmup, runs and outputs.

    Returns:
        The recording. How the program ended is in its ``metadata.outcome``.

    Raises:
        TargetError: the program or model cannot be recorded.
        TracerError: the tracer cannot run here.
        RecordingError: the recording cannot be written.
        UsageError: an option makes no sense.
    """
    request = None
    if native is not False:
        if native_runs < 1:
            raise UsageError("--native-runs starts at 1")
        given = None if native is True else load_times(native)
        request = NativeRequest(native_runs, given, None if native is True else os.fspath(native))
    words = [what] if isinstance(what, (str, os.PathLike)) else list(what)
    target = choose_target(words, is_command=is_command, is_torch=is_torch, **model_options)
    try:
        return record_target(
            target,
            output,
            TracerOptions(
                isa=isa,
                follow_children=follow_children,
                start_at_mark=start_at_mark,
                sampling_rate=sampling_rate,
                attribute=attribute,
                line_use_interval=line_use_interval,
            ),
            environment=environment,
            variables=variables,
            keep_accesses=keep_accesses,
            force=force,
            onnx_profile=onnx_profile,
            native=request,
            on_progress=on_progress,
        )
    finally:
        target.close()


def time_natively(
    what: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    is_command: bool = False,
    is_torch: bool = False,
    runs: int = DEFAULT_RUNS,
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **model_options: Any,
) -> NativeTimes:
    """Run a program natively several times, for its times; parameters as in `record`.

    Raises:
        TargetError: the program or model cannot be run, or fails.
        UsageError: an option makes no sense.
        KeyboardInterrupt: a signal asked this process to end.
    """
    words = [what] if isinstance(what, (str, os.PathLike)) else list(what)
    target = choose_target(words, is_command=is_command, is_torch=is_torch, **model_options)
    try:
        with catching_signals() as signals:
            try:
                times = measure(
                    target,
                    NativeSettings(
                        environment=with_variables(environment, variables or {}),
                        runs=runs,
                        stdin=StandardInput().opener(),
                        is_cancelled=lambda: bool(signals.received),
                        on_progress=progress_shower(on_progress),
                    ),
                )
            except NotTimed as error:
                if signals.received:
                    raise KeyboardInterrupt from error
                raise TargetError(str(error)) from error
        return times.model_copy(update={"target": described(target, variables)})
    finally:
        target.close()
