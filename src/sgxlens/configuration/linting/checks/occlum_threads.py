# SPDX-License-Identifier: Apache-2.0
"""Fewer threads than the recorded program has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "resource_limits.max_num_of_threads"


def find(subject: Subject) -> Iterator[Finding]:
    """A limit of threads that is not a number, or too small."""
    value = subject.document.get(KEY)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        yield subject.found(
            "error",
            KEY,
            f"{KEY} should be a whole number from 1 on, without quotes",
            "occlum build refuses it.",
            "Give a number.",
            '"max_num_of_threads": 32',
        )
        return
    needs = None if subject.observed is None else subject.observed.needs
    if needs is not None and value < needs.max_threads:
        yield subject.found(
            "error",
            KEY,
            f"{KEY} = {value}; the recorded program has {needs.live_thread_count} threads at a"
            f" time, and {needs.max_threads} places are needed with Occlum's own",
            "Making a thread fails, and most programs then stop.",
            "Give as many as there are.",
            f'"max_num_of_threads": {needs.max_threads}',
        )


CHECK = Check("occlum_threads", "fewer threads than there are", ("occlum",), find)
