# SPDX-License-Identifier: Apache-2.0
"""``recording.json``: its models, and how it is turned into text and back.

The file carries a checksum of its own content and one of each table, so that a damaged recording
is recognised whatever byte changed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sgxlens.errors import RecordingError, first_problem
from sgxlens.recording.format import METADATA_FILE, SCHEMA_NAME, SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

_CHECKSUM = "checksum"
_PIECE_BYTES = 1 << 20


def printable(text: str) -> str:
    r"""`text` as valid UTF-8: bytes of a name that are no UTF-8 become ``\xNN``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _printable_values(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_printable_values(key): _printable_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable_values(item) for item in value]
    return value


class _Record(BaseModel):
    """Immutable; names that the kernel allows and UTF-8 does not are made printable."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _make_printable(cls, values: object) -> object:
        return _printable_values(values)


class _Model(_Record):
    """Unknown fields are refused: a field that nobody reads is a mistake of the writer."""

    model_config = ConfigDict(extra="forbid")


class TargetInfo(_Record):
    """What was recorded; further fields depend on the kind (for ``onnx``: model, inputs, ...)."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["command", "onnx", "script", "torch"]


class HostInfo(_Model):
    """The machine that recorded.

    ``thread_stack_bytes``: what glibc gives a thread that does not ask for a size, from the limit
    of stacks (RLIMIT_STACK); null: an older sgxlens did not know.
    """

    cpu: str
    cores: int = Field(ge=1)
    kernel: str
    memory_bytes: int = Field(ge=0)
    thread_stack_bytes: int | None = Field(default=None, ge=1)


class TracerInfo(_Model):
    """The tracer and the instruction set that it showed to the program."""

    isa: str
    stream_version: int = Field(ge=1)
    valgrind: str


class Settings(_Model):
    """How the recording was made; ``sampling_rate`` is 1.0 for an exact one.

    ``attribute``: whether accesses were attributed to contexts and regions;
    ``split_at_clock_reads``: whether clock reads started spans; ``visit_page_count``: pages of the
    filter behind the table ``page_visits``; ``line_use_interval``: of one line in so many the table
    ``line_use`` tells which bytes are used, 0: of none, null: an older sgxlens did not know.
    """

    follow_children: bool
    start_at_mark: str | None
    sampling_rate: float = Field(gt=0, le=1)
    keep_accesses: bool
    attribute: bool = False
    split_at_clock_reads: bool = False
    visit_page_count: int | None = Field(default=None, ge=1)
    line_use_interval: int | None = Field(default=None, ge=0, le=64)


class Outcome(_Model):
    """How the target ended.

    ``lost``: the stream stopped before the end of the program, the recording is not whole;
    ``interrupted``: the user ended it.
    """

    status: Literal["exited", "signalled", "interrupted", "lost"]
    exit_code: int | None
    signal: str | None
    message: str

    @property
    def is_clean(self) -> bool:
        """Whether the target ended by itself with status 0."""
        return self.status == "exited" and self.exit_code == 0


class ProcessInfo(_Model):
    """One process (or program: an ``exec`` starts a new one under the same pid) of the target."""

    process: int = Field(ge=0)
    pid: int
    parent_pid: int
    program: str
    started: Literal["exec", "fork"]
    end: Literal["exited", "killed", "replaced", "running"]
    exit_code: int | None
    instruction_count: int = Field(ge=0)
    line_access_count: int = Field(ge=0)
    page_access_count: int = Field(ge=0)


class NativeRunInfo(_Model):
    """One run without the tracer: how long it took, and whether its operators were timed."""

    seconds: float = Field(ge=0)
    profiled: bool


class NativeInfo(_Model):
    """Where the native times are from, in table ``native_times``; ``runs`` has their numbers.

    ``source`` is the file or recording that they were taken from; null: measured after recording,
    by the same command (for a model: with the same settings) on the same host.
    """

    source: str | None
    sgxlens_version: str | None
    created: AwareDatetime | None
    host: HostInfo
    command: list[str]
    #: As ``target`` of the recording; empty: unknown.
    target: dict[str, Any]
    #: Threads of an operator; null: unknown, or up to the program.
    threads: int | None
    runs: list[NativeRunInfo]
    notes: list[str]


class FileInfo(_Model):
    """One file of the recording: what the reader checks it against."""

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def file_info(path: Path) -> FileInfo:
    """Size and hash of a file.

    Raises:
        OSError: it cannot be read.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return FileInfo(size_bytes=size_bytes, sha256=digest.hexdigest())


class TableInfo(FileInfo):
    """One table's file."""

    row_count: int = Field(ge=0)


class RecordingInfo(_Model):
    """What the maker of a recording says about it: ``recording.json`` without the bookkeeping."""

    sgxlens_version: str
    created: AwareDatetime
    command: list[str]
    target: TargetInfo
    host: HostInfo
    tracer: TracerInfo
    settings: Settings
    outcome: Outcome
    elapsed_seconds: float = Field(ge=0)
    processes: list[ProcessInfo]
    #: The files of kept accesses, by process; empty where none were kept.
    kept_streams: dict[str, FileInfo] = {}
    #: What a reader must know beyond the numbers, for people.
    notes: list[str] = []
    #: Null: the program was not timed natively; ``notes`` says why where it should have been.
    native: NativeInfo | None = None


class RecordingMetadata(RecordingInfo):
    """The whole of ``recording.json``. ``tables`` is filled in by the writer."""

    schema_name: Literal["sgxlens-recording"] = Field(default="sgxlens-recording", alias="schema")
    schema_version: int = SCHEMA_VERSION
    tables: dict[str, TableInfo]

    model_config = ConfigDict(populate_by_name=True)


def complete(info: RecordingInfo | dict[str, Any], tables: dict[str, TableInfo]) -> str:
    """The text of ``recording.json``.

    Raises:
        ValueError: `info` lacks a field or has a wrong one (pydantic's ValidationError names it).
    """
    fields = info.model_dump() if isinstance(info, RecordingInfo) else dict(info)
    for bookkeeping in ("schema", "schema_name", "schema_version", "tables", _CHECKSUM):
        fields.pop(bookkeeping, None)
    metadata = RecordingMetadata.model_validate(fields | {"tables": tables})
    content = metadata.model_dump(mode="json", by_alias=True)
    # The first two lines should tell what the file is.
    head = {"schema": content.pop("schema"), "schema_version": content.pop("schema_version")}
    content = head | content
    return json.dumps(content | {_CHECKSUM: _checksum(content)}, indent=1, allow_nan=False) + "\n"


def parse(text: bytes, where: str) -> RecordingMetadata:
    """Reads ``recording.json``; `where` names the recording in errors.

    Raises:
        RecordingError: not a recording, of a newer version, or damaged.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{where} is corrupted: {METADATA_FILE}: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA_NAME:
        raise RecordingError(f"{where} is not a sgxlens recording: {METADATA_FILE} is not of one")
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RecordingError(f"{where} is corrupted: {METADATA_FILE}: schema_version is missing")
    if version > SCHEMA_VERSION:
        raise RecordingError(
            f"{where} was made by a newer sgxlens (schema version {version}; this one reads up to"
            f" {SCHEMA_VERSION}): upgrade sgxlens"
        )
    checksum = content.pop(_CHECKSUM, None)
    try:
        is_intact = checksum == _checksum(content)
        metadata = RecordingMetadata.model_validate(content)
    except RecursionError as error:
        raise RecordingError(f"{where} is corrupted: {METADATA_FILE}: nested too deep") from error
    except ValidationError as error:
        raise RecordingError(
            f"{where} is corrupted: {METADATA_FILE}: {first_problem(error)}"
        ) from error
    if not is_intact:
        raise RecordingError(
            f"{where} is corrupted: {METADATA_FILE} was changed after it was written"
        )
    return metadata


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
