# SPDX-License-Identifier: Apache-2.0
"""Sizes of Occlum.json that are too small for the recorded program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.occlum_keys import parse_size
from sgxlens.units import format_bytes, format_needed_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_MEBIBYTE = 1 << 20
_FIRST, _MOST = "resource_limits.user_space_size", "resource_limits.user_space_max_size"


def user_space_key(subject: Subject) -> str:
    """Which key limits the memory of the program: the other is what it starts with."""
    return _FIRST if subject.document.get(_MOST) is None else _MOST


def size_bytes(subject: Subject, key: str) -> int | None:
    """A size of Occlum.json; None: there is none, or it is none."""
    value = subject.document.get(key)
    return parse_size(value) if isinstance(value, str) else None


def find(subject: Subject) -> Iterator[Finding]:
    """Sizes below what the recording shows, and a start that is larger than the end."""
    first, most = size_bytes(subject, _FIRST), size_bytes(subject, _MOST)
    if first is not None and most is not None and first > most:
        yield subject.found(
            "error",
            _FIRST,
            f"user_space_size ({format_bytes(first)}) is above user_space_max_size"
            f" ({format_bytes(most)})",
            "occlum build refuses it.",
            "Start with less, or let it grow further.",
        )
    for setting in subject.observed.needs.settings if subject.observed is not None else ():
        key = setting.name
        if key in (_FIRST, _MOST):
            key = user_space_key(subject)
        given = size_bytes(subject, key)
        if setting.unit != "bytes" or given is None or given >= setting.value:
            continue
        megabytes = f"{-(-setting.value // _MEBIBYTE)}MB"
        yield subject.found(
            "error",
            key,
            f"{key} holds {format_bytes(given)}; the recorded program needs"
            f" {format_needed_bytes(setting.value)}: {setting.reason}",
            "mmap fails with ENOMEM.",
            "Give what it needs.",
            f'"{key.rpartition(".")[2]}": "{megabytes}"',
        )


CHECK = Check("occlum_sizes", "sizes that are too small", ("occlum",), find)
