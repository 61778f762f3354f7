# SPDX-License-Identifier: Apache-2.0
"""What a prediction leaves out, and what one must know of its numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sgxlens.enclave.transition_counts import LOOP_CLOCK_READS
from sgxlens.recording.syscalls import has_children
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.enclave.transitions import TransitionCounts
    from sgxlens.prediction.model import PhaseTime
    from sgxlens.recording.reader import Recording


def not_modelled(
    recording: Recording, platform: Platform, threads: int, replicas: int
) -> tuple[str, ...]:
    """What is left out for this recording, one sentence each; what matters most comes first."""
    found = list(_left_out(recording, threads, replicas))
    if platform.traps.rdtsc == "traps":
        found = [*_clock_loops(recording), *found]
    return tuple(found)


def warnings(recording: Recording, platform: Platform, steady: PhaseTime) -> tuple[str, ...]:
    """What one must know before one trusts predictions of this recording, one sentence each."""
    metadata = recording.metadata
    outcome = metadata.outcome
    found = []
    if not outcome.is_clean:
        found.append(f"The recording is not of a clean run: {outcome.message or outcome.status}.")
    native = metadata.native
    if native is not None and steady.native.source == "recorded":
        found.append(
            f"Native times are of {native.host.cpu}. For {platform.title}, take them there"
            " (sgxlens time) and give them: --native-time."
        )
        found += native.notes
    return tuple(map(_sentence, found))


def notes(platform: Platform, runtime: Runtime, counts: TransitionCounts) -> tuple[str, ...]:
    """What else one must keep in mind, one sentence each."""
    return tuple(map(_sentence, (*counts.notes, *platform.notes, *runtime.notes)))


def _sentence(text: str) -> str:
    """`text`, which may be a note that somebody wrote, as a sentence."""
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:]


def _left_out(recording: Recording, threads: int, replicas: int) -> Iterator[str]:
    metadata = recording.metadata
    if len(metadata.processes) > 1:
        yield (
            f"Other processes: {len(metadata.processes)} were recorded, one is predicted. Each"
            " needs an enclave of its own."
        )
    elif not metadata.settings.follow_children and _has_children(recording):
        yield "Child processes: they were not recorded (--follow-children)."
    if threads > 1:
        yield (
            "Threads that hinder each other: the recording has them take turns. Their parallel"
            " regions and the paging of several threads are priced as measured, locks are not."
        )
    if replicas > 1:
        yield (
            f"What {replicas} replicas share beside the EPC: processors, last-level cache, memory"
            " bandwidth."
        )
    yield (
        "Pages of the runtime itself: beside version arrays, all of the EPC is the program's, and"
        " the accesses of the runtime's code are not in its caches."
    )
    yield (
        "Address translation: misses of the TLB cost more inside, and every exit empties it; only"
        " as far as measured constants contain it."
    )
    yield (
        "Hardware prefetching, and misses that overlap: constants are of streams and of single"
        " accesses, the program is between."
    )
    yield (
        f"Other kernels: accesses are those of the instruction set shown under the tracer"
        f" ({metadata.tracer.isa}); natively libraries may choose kernels that block otherwise."
    )
    yield (
        "Behaviour that depends on time: a program that polls, or waits for a time, does so"
        " differently inside."
    )
    yield "The host: other load, its scheduler, its swapping, devices and network."


def _clock_loops(recording: Recording) -> Iterator[str]:
    """Phases that read the time stamp counter so often that they wait for a time, or measure it."""
    if not recording.has_table("traps"):
        return
    counts: Counter[tuple[int, int]] = Counter()
    for row in recording.table("traps").to_pylist():
        if row["kind"] in ("rdtsc", "rdtscp"):
            counts[row["process"], row["phase"]] += row["count"]
    names = {(phase.process, phase.index): phase.name for phase in recording.phases}
    many = [(key, count) for key, count in counts.items() if count >= LOOP_CLOCK_READS]
    for key, count in sorted(many):
        yield (
            f"Loops that wait for a time: phase {names.get(key, '?')!r} executed RDTSC"
            f" {format_count(count)} times. Each traps and is charged, at the low end none: a loop"
            " that ends after a time makes fewer inside."
        )


def _has_children(recording: Recording) -> bool:
    if not recording.has_table("syscalls"):
        return False
    table = recording.table("syscalls")
    return has_children({name: table[name].to_numpy() for name in ("number", "arg0")})
