# SPDX-License-Identifier: Apache-2.0
"""Where each key and element of a TOML or JSON file stands, which their parsers do not tell.

Only texts that a parser took are scanned, so that nothing is checked again here.
"""

from __future__ import annotations

import json
import re

#: A key or an index for each level.
Place = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]+|#[^\n]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL
)


def toml_places(text: str) -> dict[Place, int]:
    """Offsets into a TOML text by place; of a table, where it is named first.

    Raises:
        RecursionError: it is nested too deep.
        ValueError: it is no TOML.
    """
    return _Toml(text).places


def json_places(text: str) -> dict[Place, int]:
    """The same of a JSON text.

    Raises:
        RecursionError: it is nested too deep.
        ValueError: it is no JSON.
    """
    scanner = _Scanner(text)
    scanner.value(())
    return scanner.places


class _Scanner:
    """Values of both languages: what differs, the other's parser refuses before."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[Place, int] = {}

    def skip_blank(self) -> None:
        while (found := _BLANK.match(self.text, self.at)) is not None:
            self.at = found.end()

    def peek(self) -> str:
        self.skip_blank()
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None or not found[0]:
            raise ValueError(f"nothing known at offset {self.at}")
        self.at = found.end()
        return found[0]

    def value(self, place: Place) -> None:
        first = self.peek()
        if first in ('"', "'"):
            self.take(_STRING)
        elif first == "[":
            self._array(place)
        elif first == "{":
            self._table(place)
        else:
            self.take(_SCALAR)

    def _array(self, place: Place) -> None:
        self.at += 1
        index = 0
        while self.peek() not in ("]", ""):
            self.places[(*place, index)] = self.at
            self.value((*place, index))
            index += 1
            if self.peek() == ",":
                self.at += 1
        self.at += 1

    def _table(self, place: Place) -> None:
        self.at += 1
        while self.peek() not in ("}", ""):
            self.pair(place)
            if self.peek() == ",":
                self.at += 1
        self.at += 1

    def pair(self, table: Place) -> None:
        """A key, ``=`` or ``:``, and a value."""
        start = self.at
        place = table
        for key in self.keys():
            place = (*place, key)
            self.places.setdefault(place, start)
        self.peek()
        self.at += 1
        self.value(place)

    def keys(self) -> list[str]:
        """A key, or several with dots between."""
        found = [self._key()]
        while self.peek() == ".":
            self.at += 1
            found.append(self._key())
        return found

    def _key(self) -> str:
        first = self.peek()
        if first == "'":
            return self.take(_STRING)[1:-1]
        if first == '"':
            # The strings of one line are JSON's, but for \U and \e.
            raw = self.take(_STRING)
            return str(json.loads(re.sub(r"\\U([0-9a-fA-F]{8})", _unicode, raw), strict=False))
        return self.take(_BARE)


def _unicode(found: re.Match[str]) -> str:
    return json.dumps(chr(int(found[1], 16)))[1:-1]


class _Toml(_Scanner):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._last: dict[Place, int] = {}  # of lists of tables, the index of the last one
        table: Place = ()
        while self.peek():
            if self.peek() == "[":
                table = self._header()
            else:
                self.pair(table)

    def _header(self) -> Place:
        start = self.at
        is_list = self.text.startswith("[[", self.at)
        self.at += 1 + is_list
        keys = self.keys()
        self.peek()
        self.at += 1 + is_list
        place: Place = ()
        for key in keys:
            place = (*place, key)
            self.places.setdefault(place, start)
            if is_list and len(place) - sum(isinstance(p, int) for p in place) == len(keys):
                self._last[place] = self._last.get(place, -1) + 1
            if place in self._last:
                place = (*place, self._last[place])
                self.places.setdefault(place, start)
        return place
