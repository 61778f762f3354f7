# SPDX-License-Identifier: Apache-2.0
"""Reads the profile that ONNX Runtime writes: which nodes ran, when, on which thread.

The file is an array of events in JSON, one event a line, as ONNX Runtime has written it since its
first release. It is read line by line: a profile can be larger than memory, and one that was cut
short is good up to there.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from sgxlens.errors import RecordingError

#: ONNX Runtime keeps no more events than these; what comes later it drops.
EVENT_COUNT_MAX = 1_000_000
# A node with hundreds of inputs has some ten thousand characters.
_LINE_BYTES_MAX = 1 << 20
_NODE_SUFFIX = "_kernel_time"
# 73 years: added to a clock's value in nanoseconds it stays within 64 bits.
_MICROSECONDS_MAX = 2**61 // 1000


class ProfileError(RecordingError):
    """A profile of operators cannot be used; the recording itself is not concerned."""


@dataclass(frozen=True)
class Node:
    """What a profile tells of one execution of a node; None: not told."""

    name: str
    type: str
    provider: str
    input_shapes: str
    output_shapes: str
    parameter_bytes: int | None
    activation_bytes: int | None
    output_bytes: int | None


@dataclass(frozen=True)
class Event:
    """One event: times in whole microseconds, its start since the profiling started.

    `thread_id` is the kernel's; `node` is None for what is no execution of a node.
    """

    thread_id: int
    start_us: int
    duration_us: int
    node: Node | None


@dataclass(frozen=True)
class Profile:
    """The events of one session of ONNX Runtime.

    `start_ns`: the clock's value when the profiling started; None: unknown. `notes` say what of the
    file could not be used.
    """

    path: Path
    pid: int
    events: tuple[Event, ...]
    start_ns: int | None = None
    notes: tuple[str, ...] = ()


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, defer_build=True)
    cat: str
    pid: int
    tid: int
    dur: int = Field(ge=-_MICROSECONDS_MAX, le=_MICROSECONDS_MAX)
    ts: int = Field(ge=-_MICROSECONDS_MAX, le=_MICROSECONDS_MAX)
    ph: str
    name: str
    args: dict[str, JsonValue] = {}


def read_profile(path: Path, start_ns: int | None = None) -> Profile:
    """Read the profile `path`; `start_ns` as in `Profile`.

    Raises:
        ProfileError: it cannot be read, or is no profile of ONNX Runtime.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ProfileError(f"{path} is not a regular file, and no profile of ONNX Runtime")
        with path.open("rb") as file:
            return _read(file, path, start_ns)
    except FileNotFoundError as error:
        raise ProfileError(f"the profile {path} does not exist") from error
    except OSError as error:
        raise ProfileError(f"cannot read the profile {path}: {error.strerror}") from error


def _read(file: IO[bytes], path: Path, start_ns: int | None) -> Profile:
    head = file.readline(_LINE_BYTES_MAX)
    if not head:
        raise ProfileError(
            f"the profile {path} is empty: ONNX Runtime writes it when the session ends profiling"
        )
    if head.strip() != b"[":
        raise ProfileError(f"{path} is not a profile of ONNX Runtime: it does not start with a [")
    lines = _Lines(file)
    events: list[Event] = []
    pids: set[int] = set()
    for line in lines:
        if len(events) == EVENT_COUNT_MAX:
            break
        pids.add(line.pid)
        events.append(_event(line))
    if not events:
        what = (
            f"line {lines.first_bad} is no event of one" if lines.bad_count else "it has no event"
        )
        raise ProfileError(f"{path} is not a profile of ONNX Runtime: {what}")
    if len(pids) > 1:
        raise ProfileError(f"the profile {path} mixes {len(pids)} processes")
    notes = _notes(path.name, lines, is_full=len(events) == EVENT_COUNT_MAX)
    return Profile(path, pids.pop(), tuple(events), start_ns, notes)


class _Lines:
    """The events of a profile, and what was wrong about its lines."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bad_count = 0
        self.first_bad = 0
        self.is_whole = False

    def __iter__(self) -> Iterator[_Line]:
        number = 1
        while line := self._file.readline(_LINE_BYTES_MAX):
            number += 1
            text = line.strip()
            if text == b"]":
                self.is_whole = True
                return
            if not text:
                continue
            try:
                yield _Line.model_validate_json(text.removesuffix(b","))
            except ValidationError:
                self.bad_count += 1
                self.first_bad = self.first_bad or number
                if len(line) == _LINE_BYTES_MAX:  # its rest is not another line
                    return


def _notes(name: str, lines: _Lines, *, is_full: bool) -> tuple[str, ...]:
    notes = []
    if lines.bad_count:
        notes.append(
            f"{lines.bad_count:,} line{'s' * (lines.bad_count > 1)} of the profile {name} cannot be"
            f" read, the first is line {lines.first_bad}"
        )
    if is_full:
        notes.append(
            f"the profile {name} is full: ONNX Runtime keeps {EVENT_COUNT_MAX:,} events and drops"
            " what comes later, so that later operators are missing"
        )
    elif not lines.is_whole:
        notes.append(f"the profile {name} is cut short: later operators are missing")
    return tuple(notes)


def _event(line: _Line) -> Event:
    is_node = line.cat == "Node" and line.name.endswith(_NODE_SUFFIX)
    return Event(line.tid, line.ts, line.dur, _node(line) if is_node else None)


def _node(line: _Line) -> Node:
    args = line.args
    # The same texts come in each inference.
    return Node(
        name=sys.intern(line.name.removesuffix(_NODE_SUFFIX)),
        type=sys.intern(_text(args.get("op_name"))),
        provider=sys.intern(_text(args.get("provider"))),
        input_shapes=sys.intern(_shapes(args.get("input_type_shape"))),
        output_shapes=sys.intern(_shapes(args.get("output_type_shape"))),
        parameter_bytes=_size(args.get("parameter_size")),
        activation_bytes=_size(args.get("activation_size")),
        output_bytes=_size(args.get("output_size")),
    )


def _text(value: JsonValue | None) -> str:
    return value if isinstance(value, str) else ""


def _shapes(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list) else ""


def _size(value: JsonValue | None) -> int | None:
    """ONNX Runtime writes sizes as decimal digits in a string."""
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 19:
        return None
    size = int(value)
    return size if size < 2**63 else None
