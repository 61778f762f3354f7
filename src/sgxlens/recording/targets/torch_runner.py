# SPDX-License-Identifier: Apache-2.0
"""Runs a PyTorch model: the program that is recorded.

``python -m sgxlens.recording.targets.torch_runner FOLDER`` reads ``FOLDER/options.json``, which
`TorchTarget` wrote. With the mode ``check`` it runs natively and reports to ``FOLDER/report.json``
what the model is, or what is wrong with it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Options = dict[str, Any]


class Problem(Exception):  # noqa: N818 - what is wrong is the user's, not an error of this program
    """What is wrong with the model, in words for the user."""


def main(folder: str, native: str = "") -> int:
    """Do what ``options.json`` in `folder` says; return the exit status.

    `native`: what is recorded, but for its time: without outputs, and with more inferences.
    ``phases`` or ``operators`` says of what; the latter leaves ``operators.json``.
    """
    with open(f"{folder}/options.json", encoding="ascii") as file:
        options = json.load(file)
    # Before the threads are made: under the tracer one runs at a time, and one that spins keeps the
    # others waiting.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    try:
        if options["mode"] == "record":
            _record(folder, options, native)
            return 0
        report = _check(options)
    except Problem as problem:
        if options["mode"] == "record":
            print(f"sgxlens: {problem}", file=sys.stderr)  # noqa: T201
            return 1
        report = {"error": str(problem)}
    with open(f"{folder}/report.json", "w", encoding="ascii") as file:
        json.dump(report, file)
    return 0


def _record(folder: str, options: Options, native: str) -> None:
    from sgxlens._native import mark

    mark("import")
    import torch
    from torch.utils import _python_dispatch  # noqa: F401 - in this phase, not in the next

    import sgxlens.torch
    from sgxlens.recording.targets.onnx_runner import inferences
    from sgxlens.torch_operators import Annotator, annotator_of

    build = _function(options)
    mark("load")
    _set_threads(options)
    timed: list[tuple[str, int]] = []
    with torch.inference_mode():
        model, arguments, keywords = _built(options, build)
        if native == "operators":
            listening = Annotator(model, _timer(timed)).listening()
        else:
            listening = sgxlens.torch.operators(model)
        with listening:
            annotator_of(model).declare_inputs(keywords)
            result = None
            for number in range(options["warmup"]):
                mark(f"warm-up {number + 1}")
                result = _run(options, model, arguments, keywords)
            for number in inferences(options["runs"], is_native=bool(native)):
                mark(f"inference {number + 1}")
                result = _run(options, model, arguments, keywords)
            mark("end")
    if native == "operators":
        _write_times(folder, timed)
    if options["outputs"] is not None and not native:
        _save(options["outputs"], result)


def _timer(timed: list[tuple[str, int]]) -> Callable[[int, int, int, str], None]:
    """Return what takes the time when an operator begins and when it ends."""
    from sgxlens.annotation import OPERATOR_BEGIN, OPERATOR_END

    def note(kind: int, address: int, size_bytes: int, text: str) -> None:  # noqa: ARG001
        if kind in (OPERATOR_BEGIN, OPERATOR_END):
            timed.append((text, time.time_ns()))

    return note


def _write_times(folder: str, timed: list[tuple[str, int]]) -> None:
    # Operators do not nest: each beginning is followed by its end.
    rows = [
        (text, begin_ns, end_ns)
        for (text, begin_ns), (_, end_ns) in zip(timed[::2], timed[1::2], strict=True)
    ]
    start_ns = timed[0][1] if timed else 0
    with open(f"{folder}/operators.json", "w", encoding="ascii") as file:
        json.dump({"pid": os.getpid(), "start_ns": start_ns, "operators": rows}, file)


def _check(options: Options) -> Options:
    try:
        import torch
    except ImportError as error:
        raise Problem(
            f"recording a PyTorch model needs torch ({error}): pip install 'sgxlens[torch]'"
        ) from error
    build = _function(options)
    _set_threads(options)
    with torch.inference_mode():
        model, arguments, keywords = _built(options, build)
        _run(options, model, arguments, keywords)
    inputs = [(str(number), value) for number, value in enumerate(arguments)]
    return {
        "torch": torch.__version__,
        "model": type(model).__name__,
        "parameter_bytes": _parameter_bytes(model),
        "inputs": [
            {
                "name": name,
                "type": str(value.dtype).removeprefix("torch."),
                "shape": list(value.shape),
            }
            for name, value in [*inputs, *keywords.items()]
            if isinstance(value, torch.Tensor)
        ],
    }


def _function(options: Options) -> Any:
    """The function that the user named, imported."""
    from importlib import import_module

    module_name, _, path = options["spec"].partition(":")
    try:
        found = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise Problem(
                f"there is no module {error.name}, neither in this folder nor installed"
            ) from error
        raise Problem(f"the module {module_name} cannot be imported: {_told(error)}") from error
    except BaseException as error:
        raise Problem(f"the module {module_name} cannot be imported: {_told(error)}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise Problem(f"{module_name} has no {path}") from error
    if not callable(found):
        raise Problem(f"{options['spec']} is no function, but {_kind(found)}")
    return found


def _built(options: Options, build: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The model, and what to call it with."""
    import torch

    spec = options["spec"]
    wanted = f"{spec} must return a torch.nn.Module and its example inputs"
    try:
        built = build()
    except BaseException as error:
        raise Problem(f"{spec} fails: {_told(error)}") from error
    if not isinstance(built, tuple | list) or len(built) != 2:
        raise Problem(f"{wanted}, two things, not {_kind(built)}")
    model, inputs = built
    if not isinstance(model, torch.nn.Module):
        raise Problem(f"{wanted}, but the first is {_kind(model)}")
    model.eval()
    if isinstance(inputs, torch.Tensor):
        return model, (inputs,), {}
    if isinstance(inputs, tuple | list):
        return model, tuple(inputs), {}
    if isinstance(inputs, Mapping) and all(isinstance(name, str) for name in inputs):
        return model, (), dict(inputs)
    raise Problem(
        f"{wanted}: a tensor, a tuple of arguments or a dict of arguments by name, not"
        f" {_kind(inputs)}"
    )


def _run(options: Options, model: Any, arguments: tuple[Any, ...], keywords: Options) -> Any:
    try:
        return model(*arguments, **keywords)
    except BaseException as error:
        raise Problem(
            f"the model of {options['spec']} does not run with its example inputs: {_told(error)}"
        ) from error


def _set_threads(options: Options) -> None:
    import torch

    torch.set_num_threads(options["threads"])
    try:
        torch.set_num_interop_threads(1)
    except RuntimeError:  # the user's module has used them already
        pass


def _parameter_bytes(model: Any) -> int:
    """Size of the parameters and buffers; what several share counts once."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _save(path: str, result: Any) -> None:
    import numpy as np
    import torch

    found: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.append(value.numpy())
        elif isinstance(value, Mapping):
            collect(list(value.values()))
        elif isinstance(value, tuple | list):
            for item in value:
                collect(item)

    collect(result)
    np.savez(path, *found)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _told(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
