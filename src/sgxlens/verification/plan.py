# SPDX-License-Identifier: Apache-2.0
"""What is run and recorded for a modification of a recorded program."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sgxlens
from sgxlens.errors import UsageError
from sgxlens.verification.transformations import transformation

if TYPE_CHECKING:
    from sgxlens.advice.modification import Modification
    from sgxlens.recording.targets.onnx_session import SessionSettings
    from sgxlens.verification.original import Original

_NAME_LENGTH_MAX = 60


@dataclass(frozen=True)
class Plan:
    """A changed program, not made yet.

    Attributes:
        name: of the folder that it is made in; the same for the same modification.
        original: the recorded program.
        session: settings of the session of an ONNX model.
        threads: threads of an operator; None: the program's own choice.
        variables: of the environment, that are set.
        transformations: of the model.
        factor: inferences of the recorded program that one of the changed program stands for.
        tolerance: of outputs, as a share of their largest magnitude.
    """

    name: str
    original: Original
    session: SessionSettings
    threads: int | None
    variables: Mapping[str, str]
    transformations: tuple[str, ...]
    factor: int
    tolerance: float

    @property
    def key(self) -> str:
        """A hash of all that the changed program and its recording follow from."""
        original = self.original
        content = {
            "sgxlens": sgxlens.__version__,
            "words": original.words,
            "model_file": original.model_file and original.model_file.model_dump(),
            "options": original.options,
            "specs": [(spec.name, spec.type, spec.shape) for spec in original.specs],
            "inputs": [original.seed, original.input_file and str(original.input_file)],
            "session": [original.session.model_dump(), self.session.model_dump()],
            "threads": self.threads,
            "variables": [original.variables, dict(self.variables)],
            "transformations": self.transformations,
            "factor": self.factor,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plan_of(original: Original, modification: Modification, tolerance: float | None = None) -> Plan:
    """What to make for a modification.

    Args:
        original: the recorded program.
        modification: how to change it.
        tolerance: of outputs; None: the widest of those of the transformations, or 1e-4.

    Raises:
        UsageError: it cannot be applied to a program of that kind; the message says why.
    """
    _check_kind(original, modification)
    found = [transformation(name) for name in modification.model]
    threads = original.options.get("threads")
    session = original.session
    if original.kind == "onnx":
        session = session.changed({"intra_op_threads": threads}).changed(modification.session)
        threads = session.intra_op_threads
    elif "intra_op_threads" in modification.session:
        threads = modification.session["intra_op_threads"]
    if tolerance is None:
        tolerance = max((one.tolerance for one in found), default=1e-4)
    return Plan(
        name=name_of(modification),
        original=original,
        session=session,
        threads=threads,
        variables={**original.variables, **modification.environment},
        transformations=modification.model,
        factor=_factor(original, modification),
        tolerance=tolerance,
    )


def name_of(modification: Modification) -> str:
    """The name of a folder for a modification, such as ``batch-16+int8-dynamic``."""
    parts = [] if modification.batch is None else [f"batch-{modification.batch}"]
    # It goes with a batch, where it is needed.
    parts += [name for name in modification.model if name != "dynamic-batch" or not parts]
    parts += [f"{name}-{_text(value)}" for name, value in _flat(modification.session)]
    parts += [f"{name}-{value}" for name, value in modification.environment.items()]
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", "+".join(parts)).strip(".")
    if len(name) <= _NAME_LENGTH_MAX:
        return name or "unchanged"
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[:_NAME_LENGTH_MAX]}-{digest}"


def _flat(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            inner = _flat(value)
            # `config` and `run_config` only hold entries that have whole names of their own.
            found += inner if name.endswith("config") else [(f"{name}.{n}", v) for n, v in inner]
        else:
            found.append((name, value))
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_kind(original: Original, modification: Modification) -> None:
    if original.kind == "onnx":
        return
    kind = "a PyTorch model" if original.kind == "torch" else f"a {original.kind}"
    if modification.batch is not None:
        raise UsageError(
            f"the batch of {kind} is its own: let it run {modification.batch} samples, and record"
            " that"
        )
    if modification.model:
        raise UsageError(f"{modification.model[0]} is for ONNX models; this is {kind}")
    rest = [name for name in modification.session if name != "intra_op_threads"]
    if original.kind != "torch":
        rest = list(modification.session)
    if rest:
        raise UsageError(f"settings of ONNX Runtime's session ({rest[0]}) are up to {kind} itself")


def _factor(original: Original, modification: Modification) -> int:
    if modification.batch is None:
        return 1
    if original.sample_count is None:
        raise UsageError(
            "the inputs do not have one first dimension, so that it is not known which is the batch"
        )
    factor, rest = divmod(modification.batch, original.sample_count)
    if rest or factor < 1:
        raise UsageError(
            f"a batch of {modification.batch} is not a multiple of the recorded one of"
            f" {original.sample_count}"
        )
    return factor
