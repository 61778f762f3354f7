# SPDX-License-Identifier: Apache-2.0
"""Runs the model of this folder in ONNX Runtime; needs numpy and onnxruntime only.

In a program of your own:

    from loader import run
    outputs = run({"INPUT": array})  # all outputs, by name

As a test: ``python loader.py`` runs ``example.npz`` a few times and says how long that took;
``--input FILE.npz`` other inputs, ``--output FILE.npz`` keeps the outputs, ``--warmup N`` and
``--runs N`` say how often.

Where sgxlens records it and SGXLENS_MARK_PHASES is set, it marks its phases; else it needs no
sgxlens.
"""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _marker() -> Callable[[str], object]:
    """What marks a phase; where nobody records, that does nothing."""
    if os.environ.get("SGXLENS_MARK_PHASES"):
        try:
            from sgxlens import mark
        except ImportError:
            pass
        else:
            found: Callable[[str], object] = mark
            return found
    return lambda _: None


_mark = _marker()

_mark("import")
import numpy as np  # noqa: E402 -- a phase of its own
import onnxruntime  # noqa: E402

from sgxlens.recording.targets.onnx_options import run_options, session_options  # noqa: E402

_mark("load")
FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 -- fewer modules


def _loaded() -> tuple[Any, Any]:
    """The session and the options of each run, as session.json says."""
    with open(os.path.join(FOLDER, "session.json"), encoding="ascii") as file:  # noqa: PTH118
        asked = json.load(file)
    # Else a thread gathers and sends usage data.
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    settings = session_options(onnxruntime, asked, asked["intra_op_threads"] or 1)
    session = onnxruntime.InferenceSession(
        os.path.join(FOLDER, "MODEL"),  # noqa: PTH118
        settings,
        providers=["CPUExecutionProvider"],
    )
    return session, run_options(onnxruntime, asked)


SESSION, _RUN_OPTIONS = _loaded()
OUTPUTS = [output.name for output in SESSION.get_outputs()]


def run(inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of the model, by name, for arrays by the names of its inputs."""
    return dict(zip(OUTPUTS, SESSION.run(None, inputs, _RUN_OPTIONS), strict=True))


def main(arguments: list[str]) -> int:
    """Run the example; return the exit status."""
    given = {"--input": os.path.join(FOLDER, "example.npz"), "--output": "",  # noqa: PTH118
             "--warmup": "1", "--runs": "2"}  # fmt: skip
    if len(arguments) % 2 or not given.keys() >= set(arguments[::2]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    given.update(zip(arguments[::2], arguments[1::2], strict=True))
    with np.load(given["--input"], allow_pickle=False) as file:
        inputs = {name: file[name] for name in file.files}
    outputs: dict[str, Any] = {}
    for number in range(int(given["--warmup"])):
        _mark(f"warm-up {number + 1}")
        outputs = run(inputs)
    start = time.perf_counter()
    for number in range(int(given["--runs"])):
        _mark(f"inference {number + 1}")
        outputs = run(inputs)
    seconds = time.perf_counter() - start
    _mark("end")
    if given["--output"]:
        np.savez(given["--output"], *outputs.values())
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    sys.stdout.write(f"{seconds / int(given['--runs']):.4f} s an inference; {shapes}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
