# SPDX-License-Identifier: Apache-2.0
"""Values of another type than their key takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.keys import visited
from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.reading.document import is_known, key_name
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

#: What other checks say better.
_ELSEWHERE = {("loader.entrypoint", str)}
_CONSEQUENCES = {
    "size": "It cannot be parsed: gramine-sgx-sign or the start of the enclave fails.",
    "uri": "The file cannot be found, and the signing or the start fails.",
}


def find(subject: Subject) -> Iterator[Finding]:
    """Values that their keys do not take."""
    for one in visited(subject.document):
        name = key_name(one.place)
        if one.is_unknown or _is_said_elsewhere(name, one.value):
            continue
        if isinstance(one.value, str) and not is_known(one.value):
            continue
        wanted = one.wanted or (one.key.problem(one.value) if one.key is not None else None)
        if not wanted:
            continue
        kind = one.key.type if one.key is not None else ""
        yield subject.found(
            "error",
            one.place,
            f"{one_line(name, 60)} = {_shown(one.value)} should be {wanted}",
            _CONSEQUENCES.get(kind, "gramine-manifest refuses the manifest."),
            f"Give {wanted}.",
        )


def _is_said_elsewhere(name: str, value: object) -> bool:
    if name == "sgx.remote_attestation":
        return value == "epid"
    return (name, type(value)) in _ELSEWHERE


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "{ ... }"
    if isinstance(value, list):
        return "[ ... ]"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return one_line(f'"{value}"' if isinstance(value, str) else text, 60)


CHECK = Check("value_type", "values of another type than their key takes", ("gramine",), find)
