# SPDX-License-Identifier: Apache-2.0
"""Recordings of the networks, made once for each content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import sgxlens
from sgxlens.cli.progress import ProgressLine
from sgxlens.recording.format import SCHEMA_VERSION
from validation import networks

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "validation"

Framework = Literal["onnx", "torch"]
#: What runs the networks: the packages whose versions make a difference.
FRAMEWORKS: dict[Framework, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime"),
    "torch": ("torch",),
}
TITLES: dict[Framework, str] = {"onnx": "ONNX Runtime", "torch": "PyTorch"}


@dataclass(frozen=True)
class Program:
    """A network at a batch size, run by a framework."""

    network: str
    batch: int
    framework: Framework

    @property
    def name(self) -> str:
        """Its name in messages and as a folder."""
        return f"{self.network}_b{self.batch}_{self.framework}"

    @property
    def folder(self) -> Path:
        """Where its recording is."""
        return FOLDER / f"{self.name}.sgxlens"


def is_installed(framework: Framework) -> bool:
    """Whether the packages are there that run the networks in `framework`."""
    try:
        _versions(framework)
    except PackageNotFoundError:
        return False
    return True


def _versions(framework: Framework) -> dict[str, str]:
    return {package: version(package) for package in FRAMEWORKS[framework]}


def recording_of(program: Program, *, threads: int, anew: bool = False) -> sgxlens.Recording:
    """The recording of a program; made if there is none of its content, or `anew`.

    Its content is the networks' source, the framework's version, threads and the format of
    recordings; a change of the tracer or of the analysis needs `anew`.

    Raises:
        SgxlensError: it cannot be recorded, or did not end well.
    """
    content = hashlib.sha256(
        json.dumps(
            {
                "networks": Path(networks.__file__).read_text(encoding="utf-8"),
                "program": program.name,
                "versions": _versions(program.framework),
                "threads": threads,
                "schema_version": SCHEMA_VERSION,
            },
            sort_keys=True,
        ).encode()
    ).hexdigest()
    stamp = program.folder.with_suffix(".content")
    if not anew and stamp.exists() and stamp.read_text(encoding="ascii") == content:
        return sgxlens.open(program.folder)
    stamp.unlink(missing_ok=True)
    recording = _record(program, threads)
    outcome = recording.metadata.outcome
    if outcome.status != "exited" or outcome.exit_code:
        raise sgxlens.TargetError(f"{program.name} did not run to its end: {outcome.status}")
    stamp.write_text(content, encoding="ascii")
    return recording


def _record(program: Program, threads: int) -> sgxlens.Recording:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ProgressLine(quiet=False) as line:
        if program.framework == "torch":
            return sgxlens.record(
                f"validation.networks:{program.network}_b{program.batch}",
                program.folder,
                is_torch=True,
                threads=threads,
                force=True,
                on_progress=line.update,
            )
        model = FOLDER / f"{program.name}.onnx"
        networks.write_onnx(program.network, model)
        try:
            return sgxlens.record(
                model,
                program.folder,
                batch=program.batch,
                threads=threads,
                force=True,
                on_progress=line.update,
            )
        finally:
            model.unlink()
