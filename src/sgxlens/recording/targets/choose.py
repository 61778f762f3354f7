# SPDX-License-Identifier: Apache-2.0
"""Decides what kind of target a command line means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgxlens.errors import UsageError

if TYPE_CHECKING:
    from sgxlens.recording.record import Target

# What ONNX Runtime runs: a model, or one in its own format.
MODEL_SUFFIXES = (".onnx", ".ort")
# Parameters of a model whose option has another name.
OPTION_NAMES = {"dims": "--dim", "input_file": "--input"}
# Those that a PyTorch model takes, too.
TORCH_OPTIONS = ("threads", "warmup", "runs", "outputs")


def choose_target(
    words: Sequence[str | os.PathLike[str]],
    *,
    is_command: bool = False,
    is_torch: bool = False,
    **model_options: Any,
) -> Target:
    """Return the target that `words` mean, checked.

    A first word that ends in ``.onnx`` or ``.ort`` is a model, in ``.py`` a script; all else, and
    everything with `is_command`, is a command. With `is_torch` the only word is
    ``package.module:function``, which makes a PyTorch model. `model_options` are those of
    `OnnxTarget` or `TorchTarget`.

    Raises:
        TargetError: the target cannot be recorded.
        UsageError: options or arguments that this kind of target does not take.
    """
    if not words:
        raise UsageError("nothing to record: give a model, a script or a command")
    texts = [os.fspath(word) for word in words]
    first = texts[0]
    if is_torch:
        return _torch_target(texts, model_options)
    if not is_command and first.endswith(MODEL_SUFFIXES):
        from sgxlens.recording.targets.onnx import OnnxTarget

        if len(texts) > 1:
            raise UsageError(f"a model takes no arguments: {' '.join(texts[1:])}")
        return OnnxTarget(Path(first), **model_options)
    if model_options:
        names = ", ".join(OPTION_NAMES.get(name, f"--{name}") for name in model_options)
        raise UsageError(f"{names}: for a model only, which {Path(first).name} is not")
    if not is_command and first.endswith(".py"):
        from sgxlens.recording.targets.script import ScriptTarget

        return ScriptTarget(Path(first), texts[1:])
    from sgxlens.recording.targets.command import CommandTarget

    return CommandTarget(texts)


def _torch_target(words: Sequence[str], options: dict[str, Any]) -> Target:
    from sgxlens.recording.targets.torch import TorchTarget

    if len(words) > 1:
        raise UsageError(f"a PyTorch model takes no arguments: {' '.join(words[1:])}")
    foreign = [name for name in options if name not in TORCH_OPTIONS]
    if foreign:
        names = ", ".join(OPTION_NAMES.get(name, f"--{name}") for name in foreign)
        raise UsageError(f"{names}: for an ONNX model only; {words[0]} brings its own inputs")
    return TorchTarget(words[0], **options)
