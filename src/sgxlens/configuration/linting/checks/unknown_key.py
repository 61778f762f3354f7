# SPDX-License-Identifier: Apache-2.0
"""Keys that Gramine does not have: it ignores them, or refuses the manifest."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from sgxlens.configuration.gramine_keys import GONE, KEYS, VERSION
from sgxlens.configuration.linting.keys import visited
from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.reading.document import key_name
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """Keys that are not in the table, with those that are like them."""
    for one in visited(subject.document):
        if not one.is_unknown:
            continue
        name = key_name(one.place)
        yield subject.found(
            "error",
            one.place,
            f"Gramine {VERSION} has no key {one_line(name, 80)}",
            "gramine-manifest refuses the manifest; what the key should set is not set.",
            _remedy(name, str(one.place[-1]), one.known),
        )


def _remedy(name: str, last: str, known: tuple[str, ...]) -> str:
    like = get_close_matches(last, known, n=1, cutoff=0.6)
    if like:
        parent = name.rpartition(".")[0]
        return f"Did you mean {f'{parent}.' if parent else ''}{like[0]}?"
    # The right name in the wrong table.
    elsewhere = [key for key in (*KEYS, *GONE) if key.rpartition(".")[2] == last]
    if elsewhere:
        return f"It is {elsewhere[0]}."
    there = f": there are {', '.join(known)}" if known else ""
    return f"Remove it{there}."


CHECK = Check("unknown_key", "keys that Gramine does not have", ("gramine",), find)
