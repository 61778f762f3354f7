# SPDX-License-Identifier: Apache-2.0
"""Runs an ONNX model in ONNX Runtime: the program that is recorded.

``python -m sgxlens.recording.targets.onnx_runner FOLDER`` reads ``FOLDER/options.json``, which
`OnnxTarget` wrote. It imports as little as it can: under the tracer every line of Python costs.
With the mode ``probe`` or ``check`` it runs natively and reports to ``FOLDER/report.json`` what the
model's inputs are, or whether it runs with the inputs prepared.
"""

from __future__ import annotations

import json
import os
import sys
import time

from sgxlens.recording.targets.onnx_options import run_options, session_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Options = dict[str, Any]

# Further inferences of a native run, for a better median: so many in all, or for so long.
NATIVE_INFERENCES_MAX = 20
NATIVE_SECONDS_MAX = 1.0


def main(folder: str, native: str = "") -> int:
    """Do what ``options.json`` in `folder` says; return the exit status.

    `native`: what is recorded, but for its time: without outputs, and with more inferences.
    ``phases`` or ``operators`` says of what; the latter takes a profile.
    """
    _forget_working_directory()
    with open(f"{folder}/options.json", encoding="ascii") as file:
        options = json.load(file)
    if options["mode"] == "record":
        _record(folder, options, native)
        return 0
    try:
        report = _probe(options) if options["mode"] == "probe" else _check(folder, options)
    except ImportError as error:
        report = {"error": str(error), "kind": "ImportError"}
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent tells the user
        report = {"error": str(error), "kind": type(error).__name__}
    with open(f"{folder}/report.json", "w", encoding="ascii") as file:
        json.dump(report, file)
    return 0


def _record(folder: str, options: Options, native: str) -> None:
    from sgxlens._native import mark

    mark("import")
    import numpy as np
    import onnxruntime

    mark("load")
    is_profiled = native != "phases"
    session = _session(options, profile_prefix=f"{folder}/profile" if is_profiled else None)
    feeds = _feeds(folder, options)
    of_run = run_options(onnxruntime, options["session"])
    outputs: list[Any] = []
    try:
        for number in range(options["warmup"]):
            mark(f"warm-up {number + 1}")
            outputs = session.run(None, feeds, of_run)
        for number in inferences(options["runs"], is_native=bool(native)):
            mark(f"inference {number + 1}")
            outputs = session.run(None, feeds, of_run)
    finally:
        mark("end")  # whatever ended the inferences, what they did is kept
        if is_profiled:
            _keep_profile(folder, session)
    if options["outputs"] is not None and not native:
        np.savez(options["outputs"], *outputs)


def inferences(count: int, *, is_native: bool) -> Iterator[int]:
    """Number the inferences: `count`, natively further ones as long as they cost little."""
    yield from range(count)
    if is_native:
        start = time.perf_counter()
        for number in range(count, NATIVE_INFERENCES_MAX):
            if time.perf_counter() - start > NATIVE_SECONDS_MAX:
                break
            yield number


def runner(options: Options) -> Callable[[Options], list[Any]]:
    """What runs the model with inputs by name and returns its outputs."""
    import onnxruntime

    session, of_run = _session(options), run_options(onnxruntime, options["session"])
    return lambda feeds: session.run(None, feeds, of_run)


def _probe(options: Options) -> Options:
    import onnxruntime

    session = _session(options)
    return {
        "inputs": [[i.name, i.type, list(i.shape)] for i in session.get_inputs()],
        "outputs": [[o.name, o.type] for o in session.get_outputs()],
        "onnxruntime": onnxruntime.__version__,
    }


def _check(folder: str, options: Options) -> Options:
    runner(options)(_feeds(folder, options))
    return {}


def _keep_profile(folder: str, session: Any) -> None:
    """Let ONNX Runtime write its profile, and say beside it which file it is and when it began."""
    start_ns = session.get_profiling_start_time_ns()
    report = {"file": session.end_profiling(), "start_ns": start_ns}
    with open(f"{folder}/profile-report.json", "w", encoding="ascii") as file:
        json.dump(report, file)


def _session(options: Options, profile_prefix: str | None = None) -> Any:
    import onnxruntime

    # Else a thread of ONNX Runtime's own gathers and sends usage data during the inferences.
    onnxruntime.disable_telemetry_events()
    settings = session_options(onnxruntime, options["session"], options["threads"])
    if profile_prefix is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = profile_prefix
    return onnxruntime.InferenceSession(
        options["model"], settings, providers=["CPUExecutionProvider"]
    )


def _feeds(folder: str, options: Options) -> Options:
    import numpy as np

    return {
        name: np.load(f"{folder}/input_{index}.npy", allow_pickle=False)
        for index, name in enumerate(options["inputs"])
    }


def _forget_working_directory() -> None:
    # `python -m` looks for modules in the working directory first: a user's numpy.py must not be
    # taken for numpy.
    if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
        del sys.path[0]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
