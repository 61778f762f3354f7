# SPDX-License-Identifier: Apache-2.0
"""The size of the enclave: a power of two, enough, and not far too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.values import size_text
from sgxlens.enclave.memory import power_of_two
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.units import format_bytes, format_count, format_needed_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "sgx.enclave_size"
#: So many times what is needed is worth a word.
_FAR_TOO_LARGE = 4


def find(subject: Subject) -> Iterator[Finding]:
    """A size that is refused, too small for the recorded program, or far too large."""
    size = subject.size_bytes(KEY)
    if size is None:  # EDMM without a size, a variable that is not known, or not a size at all
        return
    observed = subject.observed
    needs = None if observed is None else observed.needs
    suggested = power_of_two(max(size, needs.total_bytes.high if needs else 0))
    if size == 0 or size & (size - 1):
        yield subject.found(
            "error",
            KEY,
            f"{size_text(size)} is not a power of two",
            "gramine-sgx-sign refuses it: the addresses of an enclave are a power of two.",
            "Give the next one" + (" that the recorded program fits." if needs else "."),
            f'{KEY} = "{size_text(suggested)}"',
        )
    if needs is None:
        return
    total = needs.total_bytes
    likely, most = format_needed_bytes(total.likely), format_needed_bytes(total.high)
    value = f'{KEY} = "{size_text(power_of_two(total.high))}"'
    given = (
        size_text(size)
        if subject.document.get(KEY) is not None
        else f"{size_text(size)}, the default,"
    )
    if size < total.likely:
        yield subject.found(
            "error",
            KEY,
            f"{given} is less than the recorded program needs: {likely}, at most {most}",
            "It runs out of memory: mmap fails with ENOMEM, or the enclave stops.",
            "Give what it needs at most, as a power of two.",
            value,
        )
    elif size < total.high:
        yield subject.found(
            "warning",
            KEY,
            f"{given} is likely enough ({likely}), and not surely: {most} at most",
            "It may run out of memory.",
            "Give what it needs at most, as a power of two.",
            value,
        )
    elif not subject.is_dynamic and size >= _FAR_TOO_LARGE * power_of_two(total.high):
        pages = (size - power_of_two(total.high)) // PAGE_BYTES
        yield subject.found(
            "note",
            KEY,
            f"{given} is far more than the recorded program needs: {format_bytes(total.high)}",
            f"{format_count(pages)} pages more are added and measured before it starts"
            + _seconds(subject, pages)
            + ", and each child process takes as much again.",
            "Give what it needs at most, as a power of two.",
            value,
        )


def _seconds(subject: Subject, pages: int) -> str:
    if subject.platform is None:
        return ""
    cost = subject.platform.startup.add_page_ns.range.scaled(pages * 1e-9)
    return f" (about {format_seconds(cost.likely)} on {subject.platform.title})"


CHECK = Check("enclave_size", "a size that is refused, too small or too large", ("gramine",), find)
