# SPDX-License-Identifier: Apache-2.0
"""Arenas of glibc's allocator: 64 MiB of addresses for each thread that allocates.

Linux reserves them and holds what is used. A runtime that adds all pages before the start holds,
and some clear, all of it. The recording is predicted again with mappings of what is used only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.steps import environment_step
from sgxlens.enclave.mappings.arenas import KEPT_BYTES, arena_heaps, without_reserves
from sgxlens.enclave.quantities import Range
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

_VARIABLE, _VALUE = "MALLOC_ARENA_MAX", "1"
_ORIGIN = "table mappings of the recording"


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """One arena for all threads, where the others make the enclave larger."""
    recording = situation.recording
    heaps = arena_heaps(recording, situation.phase.process)
    if not heaps:
        return Declined("no thread has an arena of the allocator of its own")
    after = situation.again(recording=without_reserves(recording, heaps))
    used_bytes = sum(heap.accessible_bytes for heap in heaps)
    # It may find room in what the first thread has freed.
    gains = situation.footprint_gains(
        after, more_bytes=used_bytes + KEPT_BYTES, less_bytes=KEPT_BYTES
    )
    mapped_bytes = sum(heap.mapped_bytes for heap in heaps)
    if not gains:
        return Declined(
            f"{situation.runtime.title} holds little of the {format_bytes(mapped_bytes)} that the"
            " allocator reserves for threads"
        )
    return (
        Advice(
            title="Let all threads allocate from one arena",
            finding=(
                f"glibc maps {format_bytes(mapped_bytes)} for arenas of {len(heaps)} threads, which"
                f" use {format_bytes(used_bytes)} of it: the enclave holds all of it."
            ),
            evidence=(
                Evidence("arenas of threads", Range.exact(len(heaps)), "count", _ORIGIN),
                Evidence("mapped for them", Range.exact(mapped_bytes), "bytes", _ORIGIN),
                Evidence("used of that", Range.exact(used_bytes), "bytes", _ORIGIN),
                *situation.size_evidence(after),
            ),
            changes="program",
            gains=gains,
            costs=(
                Cost(
                    "latency",
                    "threads that allocate at once wait for each other, and each wait is an exit;"
                    " those of an operator hardly allocate",
                ),
            ),
            steps=(environment_step(situation.runtime, _VARIABLE, _VALUE),),
            assumptions=("The C library is glibc, and what threads allocate stays the same.",),
            modification=Modification(environment={_VARIABLE: _VALUE}),
        ),
    )


RULE = Rule("allocator_arenas", "memory that the allocator reserves for each thread", find)
