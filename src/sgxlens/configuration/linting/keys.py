# SPDX-License-Identifier: Apache-2.0
"""Walks a manifest along the table of keys: what several checks look at."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sgxlens.configuration.gramine_keys import GONE, KEYS, KeyType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.reading.document import Document
    from sgxlens.configuration.reading.positions import Place

_ELEMENT, _ANY_NAME = "[]", "*"


class Visited(NamedTuple):
    """A place of a manifest.

    Attributes:
        place, value: what stands there.
        key: what the table says; None: nothing.
        is_unknown: there is no such key.
        wanted: what should stand there, in words, where that is of another kind; else empty.
        known: names that could stand there.
    """

    place: Place
    value: Any
    key: KeyType | None
    is_unknown: bool = False
    wanted: str = ""
    known: tuple[str, ...] = ()


def visited(document: Document) -> Iterator[Visited]:
    """All values of a manifest, and all keys that there are not; not those that are gone."""
    yield from _visited((), document.values, ())


def pattern_of(place: Place) -> str:
    """A place as `GONE` names it: without indices."""
    return ".".join(part for part in place if isinstance(part, str))


def _visited(place: Place, value: Any, pattern: tuple[str, ...]) -> Iterator[Visited]:
    below = _below().get(pattern, frozenset())
    key = KEYS.get(_name(pattern))
    if pattern_of(place) in GONE or (key is not None and key.type == "any"):
        return
    if isinstance(value, dict):
        names = tuple(sorted(below - {_ELEMENT, _ANY_NAME}))
        if not names and _ANY_NAME not in below:
            yield Visited(place, value, key, wanted=_wanted(below, key))
            return
        for name, item in value.items():
            step = name if name in names else _ANY_NAME
            if step in below:
                yield from _visited((*place, name), item, (*pattern, step))
            elif pattern_of((*place, name)) not in GONE:
                yield Visited((*place, name), item, None, is_unknown=True, known=names)
    elif isinstance(value, list):
        if _ELEMENT not in below:
            yield Visited(place, value, key, wanted=_wanted(below, key))
            return
        for index, item in enumerate(value):
            yield from _visited((*place, index), item, (*pattern, _ELEMENT))
    else:
        yield Visited(place, value, key, wanted="" if key else _wanted(below, key))


def _wanted(below: frozenset[str], key: KeyType | None) -> str:
    if _ELEMENT in below:
        return "a list in [ ]"
    if key is not None:
        return key.problem(object()) or "a value"
    return f"a table with {', '.join(sorted(below - {_ANY_NAME})) or 'names and values'}"


def _name(pattern: tuple[str, ...]) -> str:
    return ".".join(pattern).replace(f".{_ELEMENT}", _ELEMENT)


@cache
def _below() -> dict[tuple[str, ...], frozenset[str]]:
    """What can stand below each place of the table."""
    found: dict[tuple[str, ...], set[str]] = {}
    for name in KEYS:
        parts = tuple(name.replace(_ELEMENT, f".{_ELEMENT}").split("."))
        for depth, part in enumerate(parts):
            found.setdefault(parts[:depth], set()).add(part)
    return {pattern: frozenset(names) for pattern, names in found.items()}
