# SPDX-License-Identifier: Apache-2.0
"""Operators that the program told of itself, by annotations where they begin and end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sgxlens.recording.format import OPERATOR_SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

_SIZE_MAX = 2**63


@dataclass(frozen=True)
class Operator:
    """One execution; None and the empty string: not known."""

    thread: int
    start_position: int
    end_position: int
    name: str
    type: str = ""
    input_shapes: str = ""
    output_shapes: str = ""
    parameter_bytes: int | None = None
    activation_bytes: int | None = None
    output_bytes: int | None = None
    source: str = "annotation"


def annotated_operators(
    annotations: Mapping[str, Sequence[Any]], phase_ends: npt.NDArray[np.int64]
) -> tuple[list[Operator], list[str]]:
    """The operators that annotations tell of, and notes about what does not nest.

    An end closes the innermost operator of its thread; one with a text that of this name. One that
    never ends lasts until its phase does, or the one around it. A note adds to what was told at the
    beginning of the operator that ended last.

    Args:
        annotations: columns of the table `annotations`, in order of position.
        phase_ends: the position at which each phase ends, ascending.
    """
    pairing = _Pairing(phase_ends)
    for thread, position, kind, text in zip(
        annotations["thread"],
        annotations["position"],
        annotations["kind"],
        annotations["text"],
        strict=True,
    ):
        if kind == "operator_begin":
            pairing.begin(int(thread), int(position), text)
        elif kind == "operator_end":
            pairing.end(int(thread), int(position), text)
        elif kind == "operator_note":
            pairing.note(int(thread), text)
    return pairing.finish()


@dataclass
class _Begun:
    position: int
    fields: dict[str, Any]
    last_inner_end: int


class _Pairing:
    def __init__(self, phase_ends: npt.NDArray[np.int64]) -> None:
        self._phase_ends = phase_ends
        self._open: dict[int, list[_Begun]] = {}
        self._found: list[Operator] = []
        self._last_ended: dict[int, int] = {}
        self._problems: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def begin(self, thread: int, position: int, text: str) -> None:
        begun = _Begun(position, self._fields(text), position)
        self._open.setdefault(thread, []).append(begun)

    def end(self, thread: int, position: int, text: str) -> None:
        stack = self._open.get(thread, [])
        name = self._fields(text)["name"] if text else ""
        if not stack or (name and all(begun.fields["name"] != name for begun in stack)):
            self._problem("ended without having begun", name)
            return
        while name and stack[-1].fields["name"] != name:
            self._close(thread, position, is_ended=False)
        self._close(thread, position, is_ended=True)

    def note(self, thread: int, text: str) -> None:
        """Add to the operator of `thread` that ended last what `text` tells."""
        number = self._last_ended.get(thread)
        if number is None:
            self._problem("were told of before they ended", text)
            return
        told = {key: value for key, value in self._fields(text).items() if value not in ("", None)}
        if told.get("source") == "annotation":  # said by nobody
            del told["source"]
        self._found[number] = replace(self._found[number], **told)

    def finish(self) -> tuple[list[Operator], list[str]]:
        for thread, stack in self._open.items():
            while stack:
                begun = stack[-1]
                phase = int(np.searchsorted(self._phase_ends, begun.position, side="right"))
                ends = [int(end) for end in self._phase_ends[phase : phase + 1]]
                self._close(thread, max([begun.last_inner_end, *ends]), is_ended=False)
        notes = [
            f"{count:,} annotated operator{'s' if count > 1 else ''} {problem}"
            + (f" (the first is {self._examples[problem]!r})" if self._examples[problem] else "")
            for problem, count in self._problems.items()
        ]
        return self._found, notes

    def _close(self, thread: int, position: int, *, is_ended: bool) -> None:
        stack = self._open[thread]
        begun = stack.pop()
        if stack:
            stack[-1].last_inner_end = position
        if not is_ended:
            self._problem("never ended", begun.fields["name"])
        self._last_ended[thread] = len(self._found)
        self._found.append(Operator(thread, begun.position, position, **begun.fields))

    def _problem(self, what: str, name: str) -> None:
        self._problems[what] += 1
        self._examples.setdefault(what, name[:60])

    def _fields(self, text: str) -> dict[str, Any]:
        if not text.startswith("{"):
            return {"name": text}
        try:
            return _fields_of(json.loads(text, parse_constant=_refuse))
        except (ValueError, RecursionError):
            self._problem("told of themselves in damaged JSON", text)
            return {"name": text}


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and infinities are no JSON


def _fields_of(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of an `Operator`; what has the wrong type counts as not given."""
    fields: dict[str, Any] = {}
    for key in ("name", "type"):
        value = content.get(key, "")
        # JSON may escape halves of characters, which are no text by themselves.
        is_text = isinstance(value, str)
        fields[key] = value.encode("utf-8", "backslashreplace").decode() if is_text else ""
    for key, column in (("inputs", "input_shapes"), ("outputs", "output_shapes")):
        value = content.get(key)
        is_given = isinstance(value, list)
        fields[column] = json.dumps(value, separators=(",", ":")) if is_given else ""
    for key in ("parameter_bytes", "activation_bytes", "output_bytes"):
        value = content.get(key)
        is_size = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _SIZE_MAX
        fields[key] = value if is_size else None
    source = content.get("source")
    fields["source"] = source if source in OPERATOR_SOURCES else "annotation"
    return fields
