# SPDX-License-Identifier: Apache-2.0
"""Records the written folder, run by its own loader, and compares what it puts out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgxlens.errors import TargetError
from sgxlens.optimization.deployment import LOADER
from sgxlens.recording.environment import with_variables
from sgxlens.recording.native_times.model import write_times
from sgxlens.recording.targets.model import how_it_died
from sgxlens.text import one_line
from sgxlens.verification.preparation import Prepared, deviation_of, times_in_turns
from sgxlens.verification.recorder import finished, record_all
from sgxlens.verification.verifying import Variant
from sgxlens.verification.worker import JOB_FILE

if TYPE_CHECKING:
    from sgxlens.recording.targets.onnx_inputs import Array
    from sgxlens.verification.plan import Plan

#: Lets the loader mark its phases.
_MARKS = {"SGXLENS_MARK_PHASES": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_TIMES = "native-times.json"
#: Options of a recording that are not of a model.
_TRACER_OPTIONS = ("isa", "follow_children", "sampling_rate", "attribute", "line_use_interval")


def proved(
    plan: Plan,
    output: Path,
    folder: Path,
    samples: tuple[list[dict[str, Array]], list[dict[str, Array]]],
    on_progress: Callable[[str], None],
) -> Variant:
    """The written program with a recording of its own, native times in turns, and its outputs.

    Args:
        plan: what was written.
        output: the folder that was written.
        folder: where the recording is made, with the inputs of both programs.
        samples: inputs of the program as it was, and the same in batches for the written one.
        on_progress: called a few times a second with what is being done.

    Raises:
        SgxlensError: the written program does not run, or cannot be recorded.
    """
    loader = output / LOADER
    single, batches = samples
    on_progress("running what was written")
    outputs = deviation_of(plan, single, outputs_of_loader(loader, batches, plan.variables))
    variables = {**plan.variables, **_MARKS}
    repeated = [f"--{name}={plan.original.options[name]}" for name in ("warmup", "runs")]
    words = [word for text in repeated for word in text.split("=")]
    changed: dict[str, Any] = {
        "words": [str(loader), *words],
        "options": {name: plan.original.options[name] for name in _TRACER_OPTIONS},
        "variables": variables,
    }
    before, after = times_in_turns(plan, folder, changed, on_progress)
    write_times(after, folder / _TIMES)
    job = {**changed, "native": str(folder / _TIMES), "exit_code": 0}
    (folder / JOB_FILE).write_text(json.dumps(job), encoding="ascii")
    failures = record_all([(str(output.name), folder)], jobs=1, on_progress=on_progress)
    recording = finished(folder)
    if recording is None:
        raise TargetError(f"{loader} cannot be recorded: {failures.get(folder, 'no recording')}")
    return Variant(plan, Prepared(folder, before, after, outputs), recording, was_there=False)


def outputs_of_loader(
    loader: Path, batches: Sequence[Mapping[str, Array]], variables: Mapping[str, str]
) -> list[list[Array]]:
    """What the loader puts out for each of `batches`, run by itself.

    Raises:
        TargetError: it fails.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="sgxlens-") as folder:
        for batch in batches:
            given: dict[str, Any] = dict(batch)
            np.savez(f"{folder}/in.npz", **given)
            result = subprocess.run(
                [sys.executable, str(loader), "--warmup", "0", "--runs", "1",
                 "--input", f"{folder}/in.npz", "--output", f"{folder}/out.npz"],
                check=False,
                env=with_variables(None, {**variables, "PYTHONDONTWRITEBYTECODE": "1"}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            if result.returncode:
                last = result.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
                reason = one_line(last[0], 200) if last else how_it_died(result)
                raise TargetError(f"{loader} does not run: {reason}")
            with np.load(f"{folder}/out.npz", allow_pickle=False) as file:
                found.append([file[f"arr_{index}"] for index in range(len(file.files))])
    return found
