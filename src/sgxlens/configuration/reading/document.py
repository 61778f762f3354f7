# SPDX-License-Identifier: Apache-2.0
"""A configuration file with its values and where each of them stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.reading.positions import Place
    from sgxlens.configuration.reading.template import Rendered

Family = Literal["gramine", "occlum"]

_ACCEPT = re.compile(r"#\s*sgxlens:\s*accept\s+([a-z_]+(?:\s*,\s*[a-z_]+)*)")
_UNKNOWN = "{{"


@dataclass(frozen=True, eq=False)
class Document:
    """A configuration file.

    Attributes:
        path: its path as it was given.
        folder: the folder that it is in, absolute.
        family: the runtime that it is of.
        source: its text as the user wrote it.
        rendered: its text without a template's instructions.
        values: what it holds.
        places: where in the rendered text each key and element stands.
    """

    path: str
    folder: str
    family: Family
    source: str
    rendered: Rendered
    values: dict[str, Any]
    places: dict[Place, int]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key with dots; `default`: there is none."""
        value: Any = self.values
        for name in key.split("."):
            if not isinstance(value, dict) or name not in value:
                return default
            value = value[name]
        return value

    def text(self, key: str) -> str | None:
        """The value of a key; None: there is none, it is no text, or it is not known."""
        value = self.get(key)
        return value if isinstance(value, str) and is_known(value) else None

    def is_true(self, key: str) -> bool:
        """Whether a key is set to true."""
        return self.get(key) is True

    def items(self, key: str) -> list[tuple[Place, Any]]:
        """The elements of a list with their places; none: there is no such list."""
        value = self.get(key)
        base = tuple(key.split("."))
        return [((*base, n), v) for n, v in enumerate(value)] if isinstance(value, list) else []

    def leaves(self) -> Iterator[tuple[Place, Any]]:
        """All values that hold no others, and empty lists and tables, in order."""
        yield from _leaves((), self.values)

    def line(self, place: Place | str) -> int:
        """The user's line of a place; of one that is not there, where it belongs.

        That is where the last key of its table is, or of the table around that, or the first line.
        """
        found: Place = tuple(place.split(".")) if isinstance(place, str) else place
        while found:
            if found in self.places:
                return self.rendered.line_at(self.places[found])
            found = found[:-1]
            within = [o for p, o in self.places.items() if p[:-1] == found]
            if found and within:
                return self.rendered.line_at(max(within))
        return 1

    @cached_property
    def accepted(self) -> dict[int, frozenset[str]]:
        """By line, the checks whose findings the user accepts there, by a comment.

        A comment of its own is of the next line.
        """
        found: dict[int, frozenset[str]] = {}
        if self.family == "occlum":
            return found
        for number, line in enumerate(self.source.split("\n"), 1):
            comment = _ACCEPT.search(line)
            if comment is not None:
                names = frozenset(re.split(r"\s*,\s*", comment[1]))
                at = number + (not line[: comment.start()].strip())
                found[at] = found.get(at, frozenset()) | names
        return found


def is_known(text: str) -> bool:
    """Whether a text has no part that depends on a variable that is not known."""
    return _UNKNOWN not in text


def key_name(place: Place) -> str:
    """A place as people write it: ``fs.mounts[2].uri``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _leaves(place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves((*place, key), item)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves((*place, index), item)
    else:
        yield place, value
