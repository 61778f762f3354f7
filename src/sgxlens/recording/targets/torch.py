# SPDX-License-Identifier: Apache-2.0
"""The target of ``sgxlens record --torch PACKAGE.MODULE:FUNCTION``: a model run by PyTorch."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sgxlens.errors import TargetError, UsageError
from sgxlens.recording.operators.profile import Event, Node, Profile, ProfileError
from sgxlens.recording.targets.model import ModelTarget

if TYPE_CHECKING:
    from collections.abc import Mapping


class TorchTarget(ModelTarget):
    """A PyTorch model, checked natively and ready to run.

    `build` names a function without arguments that returns the model, a ``torch.nn.Module``, and
    its example inputs: a tensor, a tuple of arguments, or a dict of arguments by name. Its module
    is looked for as ``python -m`` does, in the working directory first. The model is put into
    evaluation mode and called under ``torch.inference_mode``.

    Making a target runs the model once outside the tracer, in a process of its own: whatever is
    wrong with it is found, and said in one line, before anything is recorded. The program that
    `command` names marks the phases ``import``, ``load``, ``warm-up 1`` ..., ``inference 1`` ...
    and ``end``, and annotates operators and tensors (`sgxlens.torch.operators`).

    Args:
        build: the function, as in ``package.module:function``.
        threads: threads of an operator (``torch.set_num_threads``), which wait without spinning.
        warmup: inferences before the first that counts.
        runs: inferences.
        outputs: an ``.npz`` file to be written with the tensors that the last inference returns,
            as ``arr_0`` ...; None: they are dropped.

    Raises:
        TargetError: the model cannot be built or run.
        UsageError: an option makes no sense.
    """

    kind = "torch"
    runner = "sgxlens.recording.targets.torch_runner"
    library = "PyTorch"

    def __init__(
        self,
        build: str,
        *,
        threads: int = 1,
        warmup: int = 1,
        runs: int = 2,
        outputs: str | os.PathLike[str] | None = None,
    ) -> None:
        if threads < 1 or runs < 1 or warmup < 0:
            raise UsageError("--threads and --runs start at 1, --warmup at 0")
        module, _, function = build.partition(":")
        if not all(name.isidentifier() for name in [*module.split("."), *function.split(".")]):
            raise UsageError(
                f"--torch takes the function that makes the model, as package.module:function, not"
                f" {build!r}"
            )
        super().__init__()
        try:
            options = {
                "spec": build,
                "threads": threads,
                "warmup": warmup,
                "runs": runs,
                "outputs": None if outputs is None else os.path.abspath(outputs),  # noqa: PTH100
            }
            report = self._check(build, options | {"mode": "check"})
            self._write_options(options | {"mode": "record"})
        except BaseException:
            self.close()
            raise
        self._info = {
            "kind": self.kind,
            "model": build,
            "module": report["model"],
            "inputs": report["inputs"],
            "parameter_bytes": report["parameter_bytes"],
            "threads": threads,
            "warmup": warmup,
            "runs": runs,
            "torch": report["torch"],
        }

    def native_profile(self) -> Profile:
        """The operators of the last native run that timed them.

        Raises:
            ProfileError: the run did not live to write them.
        """
        path = self._folder / "operators.json"
        try:
            told = json.loads(path.read_text(encoding="ascii"))
            path.unlink()  # so that it is not taken for that of a later run
        except (OSError, ValueError) as error:
            raise ProfileError(
                "no times of operators: the run ended before it wrote them"
            ) from error
        events = tuple(_event(row, told["start_ns"]) for row in told["operators"])
        return Profile(path, told["pid"], events, told["start_ns"])

    def _check(self, build: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Run the model natively and return what is known of it then."""
        report = self._report(options, f"the model of {build} cannot be run")
        if "error" in report:
            raise TargetError(report["error"])
        return report


def _event(row: tuple[str, int, int], start_ns: int) -> Event:
    """An operator, of the text that annotates it and its times."""
    text, begin_ns, end_ns = row
    told = json.loads(text)
    node = Node(
        name=told["name"],
        type=told["type"],
        provider="torch",
        input_shapes=json.dumps(told.get("inputs", [])),
        output_shapes="",
        parameter_bytes=told["parameter_bytes"],
        activation_bytes=told["activation_bytes"],
        output_bytes=None,
    )
    return Event(0, (begin_ns - start_ns) // 1000, (end_ns - begin_ns) // 1000, node)
