# SPDX-License-Identifier: Apache-2.0
"""Writes the folder that can be deployed: the model, its session's settings and a loader."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.targets import onnx_options
from sgxlens.report.files import check_folder
from sgxlens.verification.transformations.onnx_files import external_files

if TYPE_CHECKING:
    from sgxlens.verification.plan import Plan

LOADER = "loader.py"
EXAMPLE = "example.npz"
SESSION = "session.json"
ENVIRONMENT = "environment.env"
REQUIREMENTS = "requirements.txt"
REPORT_JSON, REPORT_TEXT = "report.json", "REPORT.md"
REPORT_SCHEMA = "sgxlens-optimize"
#: Is in the folder until all else is.
_UNFINISHED = "UNFINISHED"
_COPIED = (onnx_options.session_options, onnx_options.register_arena, onnx_options.run_options)
_IMPORT = "from sgxlens.recording.targets.onnx_options import"


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a place where the folder cannot or must not be written.

    Raises:
        UsageError: something is there that may not be replaced, or it cannot be made.
    """
    check_folder(path, force=True)
    if not path.exists():
        return
    names = {entry.name for entry in path.iterdir()}
    if not names or _UNFINISHED in names:
        return
    if not _is_ours(path):
        raise UsageError(
            f"{path} holds {min(names)}, which sgxlens optimize did not write: give another folder"
        )
    if not force:
        raise UsageError(f"{path} exists: give another folder, or --force to replace it")


def _is_ours(path: Path) -> bool:
    try:
        content = json.loads((path / REPORT_JSON).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("schema") == REPORT_SCHEMA


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make the folder for the block; if that fails, it is as it was before.

    It is written in its place, since its own recording names the files in it. Until it is whole a
    file in it says so, for what cannot be caught.

    Raises:
        RecordingError: it cannot be written.
    """
    old = path.with_name(f".sgxlens-old-{path.name}")
    try:
        if (path / _UNFINISHED).exists():
            # What was there before it may still lie beside it.
            shutil.rmtree(path)
        elif path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        try:
            path.mkdir()
            (path / _UNFINISHED).write_text("sgxlens optimize has not finished this folder.\n")
            yield
            (path / _UNFINISHED).unlink()
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            if old.exists():
                old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise RecordingError(f"cannot write {path}: {error.strerror}") from error


def write_program(
    path: Path, plan: Plan, model: Path, example: Path, versions: Mapping[str, str]
) -> None:
    """Write what runs: the model, the settings of its session, an example and the loader.

    Args:
        path: the folder.
        plan: the changed program.
        model: its model.
        example: its inputs.
        versions: of the packages that it needs.

    Raises:
        OSError: a file cannot be written.
    """
    name = f"model{model.suffix}"
    shutil.copyfile(model, path / name)
    for file in external_files(model):
        place = path / file.relative_to(model.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    shutil.copyfile(example, path / EXAMPLE)
    session = plan.session.changed({"intra_op_threads": plan.threads})
    (path / SESSION).write_text(session.model_dump_json(indent=1) + "\n", encoding="ascii")
    lines = [f"{name}={value}\n" for name, value in sorted(plan.variables.items())]
    (path / ENVIRONMENT).write_text("".join(lines), encoding="utf-8")
    pinned = [f"{package}=={version}\n" for package, version in versions.items()]
    (path / REQUIREMENTS).write_text("".join(pinned), encoding="ascii")
    (path / LOADER).write_text(loader_text(name), encoding="utf-8")


def loader_text(model_name: str) -> str:
    """The loader for a model in its folder; it imports nothing of sgxlens unless it is recorded."""
    text = files("sgxlens.optimization").joinpath(LOADER).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    (place,) = (index for index, line in enumerate(lines) if line.startswith(_IMPORT))
    functions = "\n\n".join(inspect.getsource(function) for function in _COPIED)
    del lines[place]
    # Behind the last import.
    after = next(i for i, line in enumerate(lines) if line.startswith('_mark("load")'))
    lines.insert(after, f"\n{functions}\n\n")
    text = re.sub(r" *# noqa.*", "", "".join(lines))
    return text.replace('"MODEL"', json.dumps(model_name))


def model_of(plan: Plan, folder: Path) -> Path:
    """The model of a changed program that was made in `folder`."""
    job = json.loads((folder / "job.json").read_text(encoding="ascii"))
    return Path(job["words"][0]) if plan.transformations else plan.original.model
