# SPDX-License-Identifier: Apache-2.0
"""Fewer threads than the program and Gramine itself have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "sgx.max_threads"
#: The first thread, and Gramine's for other processes, timers and the making of pipes.
_LEAST = 4


def find(subject: Subject) -> Iterator[Finding]:
    """Fewer slots than threads were alive at a time."""
    value = subject.integer(KEY)
    if value is None:
        return
    given = (
        f"{KEY} = {value}"
        if subject.document.get(KEY) is not None
        else f"{KEY} is {value}, the default"
    )
    needs = None if subject.observed is None else subject.observed.needs
    if needs is not None and value < needs.max_threads:
        own = needs.max_threads - needs.live_thread_count
        yield subject.found(
            "note" if subject.is_dynamic else "error",
            KEY,
            f"{given}; the recorded program has {needs.live_thread_count} threads at a time, and"
            f" {own} more are for Gramine and for threads that an operator may add",
            "Slots are made as they are needed: each takes some 90 pages that fault, and 2 OCALLs."
            if subject.is_dynamic
            else "Making a thread fails, and most programs then stop.",
            "Give as many as there are.",
            f"{KEY} = {needs.max_threads}",
        )
    elif value < _LEAST and not subject.is_dynamic:
        yield subject.found(
            "error",
            KEY,
            f"{given}; Gramine itself takes up to {_LEAST - 1} beside the first thread",
            "Making a pipe, a timer or a thread fails.",
            f"Give at least {_LEAST}, and one more for each thread of the program.",
            f"{KEY} = {_LEAST}",
        )


CHECK = Check("max_threads", "fewer threads than there are", ("gramine",), find)
