# SPDX-License-Identifier: Apache-2.0
"""Keys and sizes of Occlum.json."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.occlum_keys import REQUIRED, SECTIONS, SIZES, parse_size
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject
    from sgxlens.configuration.reading.positions import Place


def find(subject: Subject) -> Iterator[Finding]:
    """Keys that Occlum does not have, or must have, and sizes that are none."""
    values: dict[str, Any] = subject.document.values
    yield from _unknown(subject, (), values, SECTIONS.keys())
    for section, names in SECTIONS.items():
        value = values.get(section)
        if value is None or names is None:
            continue
        if isinstance(value, dict):
            yield from _unknown(subject, (section,), value, names)
        else:
            yield subject.found(
                "error",
                section,
                f"{section} should be an object with {', '.join(sorted(names))}",
                "occlum build refuses it.",
                "Write it as an object in { }.",
            )
    for key in REQUIRED if "mount" in values else ():
        if subject.document.get(key) is None:
            yield subject.found(
                "error",
                key,
                f"there is no {key}",
                "occlum build refuses the file.",
                "Give it, as in the Occlum.json that `occlum new` makes.",
            )
    for key in SIZES:
        value = subject.document.get(key)
        if value is not None and (not isinstance(value, str) or parse_size(value) is None):
            yield subject.found(
                "error",
                key,
                f"{key} = {one_line(str(value), 60)!r} is not a size",
                "occlum build refuses it.",
                "Give a whole number with KB, MB or GB, in quotes.",
                f'"{key.rpartition(".")[2]}": "512MB"',
            )


def _unknown(
    subject: Subject, place: Place, value: dict[str, Any], known: Collection[str]
) -> Iterator[Finding]:
    for name in value:
        if name in known:
            continue
        like = get_close_matches(name, known, n=1, cutoff=0.6)
        remedy = f"Did you mean {like[0]}?" if like else f"There are {', '.join(sorted(known))}."
        yield subject.found(
            "error",
            (*place, name),
            f"Occlum has no key {one_line('.'.join(map(str, (*place, name))), 80)}",
            "It is ignored: what it should set is not set.",
            remedy,
        )


CHECK = Check("occlum_keys", "keys and sizes that Occlum does not take", ("occlum",), find)
