# SPDX-License-Identifier: Apache-2.0
"""Outputs of a model and of its changed copy, on the same inputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgxlens.advice.advice import OutputDeviation
from sgxlens.errors import TargetError
from sgxlens.recording.environment import with_variables
from sgxlens.recording.targets.model import how_it_died
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.recording.targets.onnx_inputs import Array
    from sgxlens.recording.targets.onnx_session import SessionSettings

_RUNNER = "sgxlens.verification.outputs_runner"


def outputs_of(
    model: Path,
    session: SessionSettings,
    threads: int,
    inputs: Sequence[Mapping[str, Array]],
    variables: Mapping[str, str],
) -> list[list[Array]]:
    """The outputs of a model for each of `inputs`, in a process of its own.

    Raises:
        TargetError: the model does not run with one of them.
    """
    names = list(inputs[0])
    options: dict[str, Any] = {
        "model": os.path.abspath(model),  # noqa: PTH100 - keeps symbolic links
        "threads": threads,
        "session": session.model_dump(),
        "inputs": names,
        "count": len(inputs),
    }
    with tempfile.TemporaryDirectory(prefix="sgxlens-") as folder:
        Path(folder, "options.json").write_text(json.dumps(options), encoding="ascii")
        for number, feeds in enumerate(inputs):
            for index, name in enumerate(names):
                np.save(f"{folder}/in_{number}_{index}.npy", feeds[name], allow_pickle=False)
        result = subprocess.run(
            [sys.executable, "-m", _RUNNER, folder],
            check=False,
            env=with_variables(None, variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        error = Path(folder, "error.txt")
        if error.exists():
            reason = one_line(error.read_text(encoding="utf-8"), 200)
            raise TargetError(f"{model.name} does not run with the recorded inputs: {reason}")
        if result.returncode:
            raise TargetError(f"{model.name} cannot be run: ONNX Runtime {how_it_died(result)}")
        return [
            [
                np.load(path, allow_pickle=False)
                for path in _in_order(Path(folder).glob(f"out_{number}_*.npy"))
            ]
            for number in range(len(inputs))
        ]


def deviation(
    before: Sequence[Sequence[Array]], after: Sequence[Sequence[Array]], tolerance: float
) -> OutputDeviation:
    """How far outputs deviate; `before` and `after` are of one sample each.

    Args:
        before: the outputs of the recorded program, for each sample.
        after: those of the changed one.
        tolerance: the share of an output's largest magnitude in a sample that it may be off.

    Raises:
        TargetError: they are of other shapes.
    """
    largest, relative, squares, errors = 0.0, 0.0, 0.0, 0.0
    agreeing: list[bool] = []
    count = 0
    for sample, changed in zip(before, after, strict=True):
        if [one.shape for one in sample] != [one.shape for one in changed]:
            shapes = [[list(one.shape) for one in of] for of in (sample, changed)]
            raise TargetError(
                f"outputs have other shapes than before: {shapes[1]}, not {shapes[0]}"
            )
        for number, (one, other) in enumerate(zip(sample, changed, strict=True)):
            if one.dtype.kind not in "fiub" or not one.size:
                continue
            wide, wide_other = one.astype(np.float64), other.astype(np.float64)
            with np.errstate(invalid="ignore"):  # of infinities; they are equal or not
                off = np.abs(wide - wide_other)
            off = np.where(np.isnan(wide) & np.isnan(wide_other) | (wide == wide_other), 0, off)
            most = float(np.nanmax(off)) if not np.isnan(off).any() else float("inf")
            scale = float(np.max(np.abs(wide), initial=0, where=np.isfinite(wide)))
            count += one.size
            largest = max(largest, most)
            relative = max(relative, most / scale if scale else (float("inf") if most else 0.0))
            finite = np.isfinite(wide) & np.isfinite(wide_other)
            squares += float(np.sum(wide[finite] ** 2))
            errors += float(np.sum(off[finite] ** 2))
            if number == 0 and one.dtype.kind == "f" and 1 < one.size == max(one.shape):
                agreeing.append(int(np.argmax(one)) == int(np.argmax(other)))
    return OutputDeviation(
        sample_count=len(before),
        value_count=count,
        tolerance=tolerance,
        max_absolute=_finite(largest),
        max_relative=_finite(relative),
        rms_relative=(errors / squares) ** 0.5 if squares else 0.0,
        top1_agreement=sum(agreeing) / len(agreeing) if agreeing else None,
    )


def _in_order(paths: Any) -> list[Path]:
    return sorted(paths, key=lambda path: int(path.stem.rpartition("_")[2]))


def _finite(value: float) -> float:
    return min(value, sys.float_info.max)
