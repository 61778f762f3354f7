# SPDX-License-Identifier: Apache-2.0
"""Native times as data: what is measured, and the JSON file that carries it between machines.

``docs/native-times.md`` describes the file for those who write one by hand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sgxlens.errors import UsageError, first_problem
from sgxlens.recording.metadata import HostInfo, NativeInfo, NativeRunInfo

SCHEMA_NAME: Literal["sgxlens-native-times"] = "sgxlens-native-times"
SCHEMA_VERSION: Literal[1] = 1


class _Model(BaseModel):
    """Unknown fields are refused: they are mistyped."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class OperatorTime(_Model):
    """One operator of a phase, in the order of their starts."""

    name: str
    type: str = ""
    seconds: float = Field(ge=0, strict=True)


class PhaseTime(_Model):
    """One phase, in the order in which they ran; ``operators`` only in a profiled run."""

    name: str
    seconds: float = Field(ge=0, strict=True)
    operators: list[OperatorTime] = []


class NativeRun(_Model):
    """One run of the program. A profiled one times the operators, which itself takes time."""

    seconds: float = Field(ge=0, strict=True)
    profiled: bool = Field(default=False, strict=True)
    phases: list[PhaseTime] = []


class NativeTimes(_Model):
    """The native times of a program on one machine."""

    model_config = ConfigDict(populate_by_name=True)

    schema_name: Literal["sgxlens-native-times"] = Field(default=SCHEMA_NAME, alias="schema")
    schema_version: Literal[1] = SCHEMA_VERSION
    sgxlens_version: str | None = None
    created: AwareDatetime | None = None
    host: HostInfo
    command: list[str] = []
    #: As in ``recording.json``; empty: unknown.
    target: dict[str, Any] = {}
    #: Threads of an operator; null: unknown, or up to the program.
    threads: int | None = Field(default=None, ge=1, strict=True)
    runs: list[NativeRun] = Field(min_length=1)
    notes: list[str] = []

    def info(self, source: str | None) -> NativeInfo:
        """What ``recording.json`` says of them; `source` is where they came from, None: here."""
        return NativeInfo(
            source=source,
            sgxlens_version=self.sgxlens_version,
            created=self.created,
            host=self.host,
            command=self.command,
            target=self.target,
            threads=self.threads,
            runs=[NativeRunInfo(seconds=r.seconds, profiled=r.profiled) for r in self.runs],
            notes=self.notes,
        )


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before there is anything to lose.

    Raises:
        UsageError: it cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}")


def write_times(times: NativeTimes, path: str | os.PathLike[str]) -> None:
    """Write the JSON file.

    Raises:
        UsageError: it cannot be written.
    """
    content = times.model_dump(mode="json", by_alias=True)
    head = {"schema": content.pop("schema"), "schema_version": content.pop("schema_version")}
    text = json.dumps(head | content, indent=1, allow_nan=False) + "\n"
    try:
        Path(path).write_text(text, encoding="ascii")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def load_times(path: str | os.PathLike[str]) -> NativeTimes:
    """Read native times from a JSON file, or from a recording that has some.

    Raises:
        UsageError: there are none at `path`, or the file is not as it should be; the message names
            the field.
        RecordingError: `path` is a recording that is damaged.
    """
    if Path(path).is_dir():
        return _of_recording(path)
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is neither a recording nor JSON: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA_NAME:
        raise UsageError(f"{path} has no native times: its field schema is not {SCHEMA_NAME!r}")
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(f"{path} was made by a newer sgxlens (schema_version {version}): upgrade")
    try:
        return NativeTimes.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error)}") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deep") from error


def _of_recording(path: str | os.PathLike[str]) -> NativeTimes:
    from sgxlens.recording.reader import open_recording

    recording = open_recording(path)
    info = recording.metadata.native
    if info is None:
        raise UsageError(f"{path} has no native times: it was recorded with --no-native")
    phases: list[dict[tuple[str, int], PhaseTime]] = [{} for _ in info.runs]
    for row in recording.table("native_times").to_pylist():
        if row["run"] >= len(phases):
            continue
        of_run = phases[row["run"]]
        key = (row["phase"], row["occurrence"])
        if row["operator_index"] is None:
            of_run[key] = PhaseTime(name=row["phase"], seconds=row["seconds"])
        elif key in of_run:
            of_run[key].operators.append(
                OperatorTime(name=row["operator_name"] or "", seconds=row["seconds"])
            )
    return NativeTimes(
        sgxlens_version=info.sgxlens_version,
        created=info.created,
        host=info.host,
        command=info.command,
        target=info.target,
        threads=info.threads,
        runs=[
            NativeRun(seconds=run.seconds, profiled=run.profiled, phases=list(found.values()))
            for run, found in zip(info.runs, phases, strict=True)
        ],
        notes=info.notes,
    )
