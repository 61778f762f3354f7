# SPDX-License-Identifier: Apache-2.0
"""Makes a changed program, compares its outputs, and times it in turns with the recorded one.

All that is made lies in the folder of its plan; what is finished there is used again as long as
its plan is the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgxlens.advice.advice import OutputDeviation
from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.environment import with_variables
from sgxlens.recording.native_times.model import NativeTimes, load_times, write_times
from sgxlens.recording.targets.choose import choose_target
from sgxlens.verification.outputs import deviation, outputs_of
from sgxlens.verification.paired_times import Timed, time_in_turns
from sgxlens.verification.transformations import ModelContext, transformation
from sgxlens.verification.worker import JOB_FILE, RECORDING

if TYPE_CHECKING:
    from sgxlens.recording.targets.onnx_inputs import Array
    from sgxlens.verification.plan import Plan

#: What makes a folder one of ours, and which plan it is of.
MARKER = "variant.json"
_PREPARED = "prepared.json"
_TIMES, _ORIGINAL_TIMES = "native-times.json", "native-times-before.json"
#: Inputs of the changed program and of the recorded one.
INPUTS, _ORIGINAL_INPUTS = "inputs.npz", "inputs-before.npz"
_MODEL = "model"
_LOCK = ".lock"
#: Inputs that outputs are compared for, where there may be further ones.
_COMPARED_COUNT = 16
_NAMES = frozenset({MARKER, _PREPARED, _TIMES, _ORIGINAL_TIMES, INPUTS, _ORIGINAL_INPUTS, _MODEL,
                    JOB_FILE, RECORDING, "record.log"})  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A changed program that is ready to be recorded.

    Attributes:
        folder: where it is.
        before: native times of the recorded program.
        after: of the changed one.
        outputs: how far its outputs deviate; None: they were not compared.
    """

    folder: Path
    before: NativeTimes
    after: NativeTimes
    outputs: OutputDeviation | None


@contextmanager
def alone_in(base: Path) -> Iterator[None]:
    """Keep other runs of sgxlens out of a folder of changed programs.

    Raises:
        UsageError: another one works there.
        RecordingError: the folder cannot be written.
    """
    try:
        base.mkdir(parents=True, exist_ok=True)
        file = (base / _LOCK).open("w")
    except OSError as error:
        raise RecordingError(f"cannot write {base}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another sgxlens is at work in {base}: wait for it, or choose another folder with"
                " --verify-folder"
            ) from error
        yield


def prepare(plan: Plan, folder: Path, on_progress: Callable[[str], None]) -> Prepared:
    """Make the changed program of `plan` in `folder`, or find it there.

    Raises:
        SgxlensError: it cannot be made or run; the message says why.
    """
    found = prepared_before(plan, folder)
    if found is not None:
        return found
    _begin(plan, folder)
    target: dict[str, Any] = {
        "words": list(plan.original.words),
        "options": _options(plan, {}),
        "variables": dict(plan.variables),
    }
    outputs = None
    if plan.original.kind == "onnx":
        on_progress("changing the model")
        model = _changed_model(plan, folder)
        target["words"] = [str(model)]
        on_progress("comparing outputs")
        single, batches = compared_inputs(plan, folder)
        after = outputs_of(model, plan.session, plan.threads or 1, batches, plan.variables)
        outputs = deviation_of(plan, single, after)
        target["options"]["input_file"] = str(folder / INPUTS)
    before, after_times = _take_times(plan, folder, target, on_progress)
    _write(folder / JOB_FILE, {
        **target, "native": str(folder / _TIMES), "exit_code": plan.original.exit_code,
    })  # fmt: skip
    # Last: with it the folder is whole.
    _write(folder / _PREPARED, {"outputs": None if outputs is None else asdict(outputs)})
    return Prepared(folder, before, after_times, outputs)


def prepared_before(plan: Plan, folder: Path) -> Prepared | None:
    """What is there of this plan; None: nothing that is whole."""
    marker = _read(folder / MARKER)
    if marker is None or marker.get("key") != plan.key:
        return None
    told = _read(folder / _PREPARED)
    if told is None:
        return None
    outputs = told["outputs"]
    if outputs is not None:
        outputs = OutputDeviation(**{**outputs, "tolerance": plan.tolerance})
    before, after = load_times(folder / _ORIGINAL_TIMES), load_times(folder / _TIMES)
    return Prepared(folder, before, after, outputs)


def time_again(plan: Plan, folder: Path, on_progress: Callable[[str], None]) -> Prepared:
    """As `prepare`, with native times taken anew where the changed program is there already.

    Raises:
        SgxlensError: it cannot be made or run; the message says why.
    """
    found = prepared_before(plan, folder)
    job = _read(folder / JOB_FILE)
    if found is None or job is None:
        return prepare(plan, folder, on_progress)
    before, after = _take_times(plan, folder, job, on_progress)
    return replace(found, before=before, after=after)


def _take_times(
    plan: Plan, folder: Path, changed: Mapping[str, Any], on_progress: Callable[[str], None]
) -> tuple[NativeTimes, NativeTimes]:
    """Take the times of both programs, and keep them in the folder."""
    before, after = times_in_turns(plan, folder, changed, on_progress)
    write_times(before, folder / _ORIGINAL_TIMES)
    write_times(after, folder / _TIMES)
    return before, after


def _begin(plan: Plan, folder: Path) -> None:
    """Make the folder anew; what is not of sgxlens is never removed.

    Raises:
        UsageError: there is something else at its place, or in it.
    """
    try:
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
        foreign = sorted(n for n in names - _NAMES if not n.startswith(".sgxlens-"))
        if names and (foreign or MARKER not in names):
            raise UsageError(
                f"{folder} holds {(foreign or sorted(names))[0]}, which sgxlens did not make: move"
                " it away, or choose another folder with --verify-folder"
            )
        if names:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / MARKER, {"schema": "sgxlens-variant", "name": plan.name, "key": plan.key})
    except OSError as error:
        raise RecordingError(f"cannot write {folder}: {error.strerror}") from error


def _changed_model(plan: Plan, folder: Path) -> Path:
    """The changed model; where nothing of the model changes, the original itself."""
    original = plan.original
    model = original.model
    context = ModelContext(
        input_shapes={s.name: tuple(int(n or 0) for n in s.shape) for s in original.specs},
        sample_count=original.sample_count,
        session=plan.session.model_dump(),
        threads=plan.threads or 1,
    )
    last = len(plan.transformations) - 1
    for index, name in enumerate(plan.transformations):
        place = folder / (_MODEL if index == last else f".sgxlens-{index}")
        place.mkdir()
        model = transformation(name).apply(model, place, context)
    for index in range(last):
        shutil.rmtree(folder / f".sgxlens-{index}")
    return model


def compared_inputs(
    plan: Plan, folder: Path
) -> tuple[list[dict[str, Array]], list[dict[str, Array]]]:
    """Inputs of the original, and the same in batches for the changed model; keeps the first.

    Raises:
        TargetError: they cannot be made or read.
    """
    factor = plan.factor
    names = [spec.name for spec in plan.original.specs]
    arrays = plan.original.inputs(-(-_COMPARED_COUNT // factor) * factor)
    while len(arrays) % factor:  # those of a file are the only ones
        arrays.append(arrays[len(arrays) % factor - 1])
    single = [dict(zip(names, one, strict=True)) for one in arrays]
    batches = [
        {
            name: np.concatenate([one[name] for one in single[start : start + factor]])
            if factor > 1
            else single[start][name]
            for name in names
        }
        for start in range(0, len(single), factor)
    ]
    for path, arrays_of_one in ((_ORIGINAL_INPUTS, single[0]), (INPUTS, batches[0])):
        kept: dict[str, Any] = dict(arrays_of_one)
        np.savez(folder / path, **kept)
    return single, batches


def deviation_of(
    plan: Plan, single: list[dict[str, Array]], after: Sequence[Sequence[Array]]
) -> OutputDeviation:
    """How far `after`, the outputs of the changed model, are from those of the recorded one.

    Raises:
        TargetError: the recorded one does not run, or outputs are of other shapes.
    """
    original = plan.original
    session = original.session
    before = outputs_of(
        original.model, session, original.options["threads"], single, original.variables
    )
    if plan.factor > 1:
        parts = [[_split(array, plan.factor) for array in outputs] for outputs in after]
        after = [
            [pieces[number] for pieces in of_batch]
            for of_batch in parts
            for number in range(plan.factor)
        ]
    return deviation(before, after, plan.tolerance)


def _split(array: Array, count: int) -> list[Array]:
    """The outputs of each sample; one that has no part for each is the same for all."""
    if array.ndim and array.shape[0] % count == 0:
        return np.split(array, count)
    return [array] * count


def _options(plan: Plan, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `sgxlens.record` for the changed program."""
    options = {**plan.original.options, **given}
    if plan.original.kind == "onnx":
        del options["threads"]
        options["session"] = plan.session.model_dump()
    elif "threads" in options:
        options["threads"] = plan.threads
    return options


_MODEL_OPTIONS = ("threads", "warmup", "runs", "input_file", "session", "is_torch", "is_command")


def times_in_turns(
    plan: Plan,
    folder: Path,
    changed: Mapping[str, Any],
    on_progress: Callable[[str], None],
) -> tuple[NativeTimes, NativeTimes]:
    """Native times of the recorded program and of a changed one, taken in turns.

    Args:
        plan: says what was recorded.
        folder: has the inputs of both.
        changed: ``words``, ``options`` and ``variables`` of the changed program, as
            `sgxlens.record` takes them.
        on_progress: called a few times a second with what is being done.

    Raises:
        SgxlensError: one of them does not run.
    """
    before = dict(plan.original.options)
    if plan.original.kind == "onnx":
        before["input_file"] = str(folder / _ORIGINAL_INPUTS)
        before["session"] = plan.original.session.model_dump()
    with ExitStack() as stack:
        timed = []
        for words, options, variables in (
            (plan.original.words, before, plan.original.variables),
            (changed["words"], changed["options"], changed["variables"]),
        ):
            target = choose_target(
                words, **{name: options[name] for name in _MODEL_OPTIONS if name in options}
            )
            stack.callback(target.close)
            timed.append(Timed(target, with_variables(None, variables)))
        return time_in_turns(timed[0], timed[1], on_progress)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(f".sgxlens-{path.name}")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    os.replace(partial, path)  # noqa: PTH105 - whole or not at all
