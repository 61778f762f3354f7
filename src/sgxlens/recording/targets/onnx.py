# SPDX-License-Identifier: Apache-2.0
"""The target of ``sgxlens record MODEL.onnx``: a model run by ONNX Runtime."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgxlens.errors import TargetError, UsageError
from sgxlens.recording.metadata import file_info
from sgxlens.recording.operators import Profile, ProfileError, read_profile
from sgxlens.recording.targets.model import ModelTarget
from sgxlens.recording.targets.onnx_inputs import (
    Array,
    InputSpec,
    load_inputs,
    random_inputs,
    resolve_shapes,
)
from sgxlens.recording.targets.onnx_session import SessionSettings, session_settings
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_INSTALL = "pip install 'sgxlens[onnx]'"


class OnnxTarget(ModelTarget):
    """A model, checked natively and ready to run.

    Making one runs the model once outside the tracer, in a process of its own: whatever is wrong
    with the model or its inputs is found, and said in one line, before anything is recorded.
    The program that `command` names marks the phases ``import``, ``load``, ``warm-up 1`` ...,
    ``inference 1`` ... and ``end``.

    Without `input_file` the inputs are random: floats in [0, 1), integers 0 or 1 (valid as token
    ids, masks and lengths alike), booleans.

    Args:
        model: the ``.onnx`` file.
        dims: sizes of dynamic dimensions by name; one without a name is called ``INPUT.AXIS``.
        batch: size of the batch dimension (see `resolve_shapes`).
        input_file: an ``.npz`` file with one array for each input, by name.
        threads: threads of an operator (ONNX Runtime's intra-op pool); None: as `session` says,
            or one.
        warmup: inferences before the first that counts.
        runs: inferences.
        seed: of the random inputs.
        outputs: an ``.npz`` file to be written with the last inference's outputs, as ``arr_0`` ...
            in the model's order; None: they are dropped.
        session: settings of the session, their fields, or a JSON file of them; see
            `sgxlens.recording.targets.onnx_session.SessionSettings`.

    Raises:
        TargetError: the model or its inputs cannot be run.
        UsageError: an option makes no sense.
    """

    kind = "onnx"
    runner = "sgxlens.recording.targets.onnx_runner"
    library = "ONNX Runtime"

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        dims: Mapping[str, int] | None = None,
        batch: int | None = None,
        input_file: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        warmup: int = 1,
        runs: int = 2,
        seed: int = 0,
        outputs: str | os.PathLike[str] | None = None,
        session: SessionSettings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    ) -> None:
        settings = session_settings(session)
        threads = _thread_count(threads, settings)
        if threads < 1 or runs < 1 or warmup < 0 or (batch is not None and batch < 1):
            raise UsageError("--threads, --runs and --batch start at 1, --warmup at 0")
        if input_file is not None and (dims or batch is not None):
            raise UsageError("--input has shapes of its own: give it without --dim and --batch")
        self.model = Path(model)
        _check_file(self.model)
        super().__init__()
        try:
            options: dict[str, Any] = {
                "model": os.path.abspath(self.model),  # noqa: PTH100 - keeps symbolic links
                "threads": threads,
                "session": settings.model_dump(),
                "warmup": warmup,
                "runs": runs,
                "outputs": None if outputs is None else os.path.abspath(outputs),  # noqa: PTH100
            }
            probe = self._run_natively(options | {"mode": "probe"}, "cannot be loaded")
            specs = [InputSpec(name, kind, tuple(shape)) for name, kind, shape in probe["inputs"]]
            if input_file is not None:
                arrays = load_inputs(Path(input_file), specs)
            else:
                arrays = random_inputs(specs, resolve_shapes(specs, dims or {}, batch), seed)
            self._save_inputs(arrays)
            options["inputs"] = [spec.name for spec in specs]
            self._run_natively(options | {"mode": "check"}, "does not run with these inputs")
            self._write_options(options | {"mode": "record"})
        except BaseException:
            self.close()
            raise
        self._info = {
            "kind": self.kind,
            "model": str(self.model),
            "model_file": file_info(self.model).model_dump(),
            "inputs": [
                {"name": spec.name, "type": array.dtype.name, "shape": list(array.shape)}
                for spec, array in zip(specs, arrays, strict=True)
            ],
            "input_file": None if input_file is None else str(input_file),
            "seed": seed if input_file is None else None,
            "threads": threads,
            "session": settings.model_dump(),
            "warmup": warmup,
            "runs": runs,
            "onnxruntime": probe["onnxruntime"],
        }

    def operator_profile(self) -> Profile:
        """The profile of the last run that took one.

        Raises:
            ProfileError: the run did not live to write it, or it is damaged.
        """
        report_file = self._folder / "profile-report.json"
        try:
            report = json.loads(report_file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise ProfileError(
                "no operators: the run ended before ONNX Runtime wrote its profile"
            ) from error
        return read_profile(Path(report["file"]), report["start_ns"])

    def _save_inputs(self, arrays: list[Array]) -> None:
        try:
            for index, array in enumerate(arrays):
                np.save(self._folder / f"input_{index}.npy", array, allow_pickle=False)
        except OSError as error:
            raise TargetError(
                f"cannot keep the inputs in {self._folder}: {error.strerror}; TMPDIR chooses"
                " another place"
            ) from error

    def _run_natively(self, options: Mapping[str, Any], failure: str) -> dict[str, Any]:
        """Runs the runner and returns its report; TargetError tells why there is none."""
        report = self._report({"inputs": [], **options}, f"{self.model} {failure}")
        if "error" in report:
            raise TargetError(self._explain(report["kind"], report["error"], failure))
        return report

    def _explain(self, kind: str, message: str, failure: str) -> str:
        """One line about an exception of ONNX Runtime, with the remedy where it is known."""
        if kind == "ImportError":
            return f"recording an ONNX model needs onnxruntime ({message}): {_INSTALL}"
        if kind == "InvalidProtobuf" or "No graph was found in the protobuf" in message:
            return f"{self.model} is not an ONNX model, or is cut short"
        operator = re.search(
            r"(\S+)\(-?\d+\) is not a registered function/op|No Op registered for (\S+)", message
        )
        if operator:
            name = operator[1] or operator[2]
            return (
                f"{self.model} uses the operator {name}, which this ONNX Runtime does not have:"
                " use another version of onnxruntime, or record a script that registers it"
            )
        if re.search(r"external (data|initializer)", message, re.IGNORECASE):
            file = re.search(r'"([^"]+)"|for (\S+) failed', message)
            name = f": {file[1] or file[2]}" if file else ""
            return (
                f"the external data of {self.model} cannot be read{name}: keep it beside the model"
            )
        if re.search(r"Unsupported model IR version|guarantees\*? support for models", message):
            detail = re.search(
                r"(Unsupported model IR version.*|Current official support.*)", message
            )
            return (
                f"{self.model} is newer than this ONNX Runtime"
                f" ({one_line(detail[1], 120) if detail else 'opset'}): upgrade onnxruntime"
            )
        return f"{self.model} {failure}: {_without_noise(message)}"


def _thread_count(threads: int | None, settings: SessionSettings) -> int:
    asked = settings.intra_op_threads
    if None not in (threads, asked) and threads != asked:
        raise UsageError(f"--threads {threads} contradicts intra_op_threads {asked} of --session")
    found = asked if threads is None else threads
    return 1 if found is None else found


def _check_file(model: Path) -> None:
    try:
        if model.is_dir():
            raise TargetError(f"{model} is a folder, not an ONNX model")
        with model.open("rb") as file:
            if not file.read(1):
                raise TargetError(f"{model} is empty, not an ONNX model")
    except FileNotFoundError as error:
        raise TargetError(f"{model} does not exist") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TargetError(f"cannot read {model}: {reason}") from error


def _without_noise(message: str) -> str:
    """An ONNX Runtime message without its error numbers and the C++ place it comes from."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", message)
    text = re.sub(r"Load model from .*? failed: ?", "", text)
    text = re.sub(r"\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])", "", text)
    return one_line(text, 300).rstrip(". ")
