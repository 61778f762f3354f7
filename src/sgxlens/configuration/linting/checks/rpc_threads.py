# SPDX-License-Identifier: Apache-2.0
"""Exitless: as many threads outside as inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.transition_counts import count_transitions
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "sgx.insecure__rpc_thread_num"


def find(subject: Subject) -> Iterator[Finding]:
    """RPC threads unlike the thread count."""
    outside, inside = subject.integer(KEY), subject.integer("sgx.max_threads")
    if not outside or inside is None or outside == inside:
        return
    calls = _calls(subject)
    if outside < inside:
        problem = f"{outside} threads outside serve the OCALLs of up to {inside} inside"
        consequence = (
            f"When more than {outside} wait for the host at once, the others wait for a free"
            f" thread, though they spin meanwhile.{calls}"
        )
    else:
        problem = f"{outside} threads outside serve the OCALLs of at most {inside} inside"
        consequence = (
            f"{outside - inside} of them poll for nothing, and take processors from the"
            f" program.{calls}"
        )
    yield subject.found(
        "warning",
        KEY,
        problem,
        consequence,
        "Give as many as threads inside; 0 where OCALLs are few.",
        f"{KEY} = {inside}",
    )


def _calls(subject: Subject) -> str:
    observed, platform = subject.observed, subject.platform
    if observed is None or platform is None:
        return ""
    rows = count_transitions(observed.recording, platform, subject.runtime).of_phase(observed.phase)
    count = sum((row.ocalls for row in rows), Range.exact(0)).likely
    return (
        f" Phase {observed.phase.name!r} of the recorded program makes {format_count(count)}"
        " OCALLs."
    )


CHECK = Check("rpc_threads", "exitless threads unlike the thread count", ("gramine",), find)
