# SPDX-License-Identifier: Apache-2.0
"""How large the enclave must be, as plain data: three sizes that are never mixed.

What Linux holds for the program natively (resident), what the enclave must hold for it (committed),
and what the steady inference touches, which is what it can use of the EPC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.enclave.memory import Setting, memory_needs, power_of_two
from sgxlens.enclave.quantities import Range
from sgxlens.errors import UsageError
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.enclave.memory import MemoryNeeds
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.recording.reader import Phase, Recording


@dataclass(frozen=True)
class PhaseSize:
    """Memory of one phase, at its most.

    Attributes:
        phase: index of the phase.
        name: its name.
        resident_bytes: what Linux holds for the program natively; None: not known.
        committed_bytes: what the enclave must hold for what the program maps.
        footprint_bytes: pages that the phase touches.
    """

    phase: int
    name: str
    resident_bytes: int | None
    committed_bytes: int
    footprint_bytes: int


@dataclass(frozen=True)
class Sizing:
    """How large the enclave must be.

    Attributes:
        resident_bytes: the most memory that Linux holds for the program natively; None: not known.
        committed_bytes: the most memory that the enclave must hold for what the program maps.
        committed_phase: name of the phase in which that is.
        kind_bytes: what it consists of, by kind of mapping; only kinds that occur.
        inaccessible_bytes: what of it the program reserved without access.
        own_bytes: memory of the runtime itself.
        threads_bytes: memory of the runtime for all threads.
        added_threads_bytes: stacks and heaps of threads beyond those recorded.
        total_bytes: all that must fit into the enclave.
        max_threads: threads that must be set: the program's and the runtime's own.
        enclave_bytes: size of the enclave: as given, else as suggested; None: the runtime sets it
            itself, and what must fit is what counts.
        is_given: whether it was given.
        built_bytes: pages that are added before the program starts.
        settings: what to set in the manifest of the runtime.
        phases: memory by phase.
    """

    resident_bytes: int | None
    committed_bytes: int
    committed_phase: str
    kind_bytes: dict[str, int]
    inaccessible_bytes: int
    own_bytes: Range
    threads_bytes: Range
    added_threads_bytes: Range
    total_bytes: Range
    max_threads: int
    enclave_bytes: int | None
    is_given: bool
    built_bytes: int
    settings: tuple[Setting, ...]
    phases: tuple[PhaseSize, ...]

    @property
    def added_page_bytes(self) -> int:
        """Pages that the enclave gets in its life: each needs a place in a version array."""
        return max(self.built_bytes, int(self.total_bytes.likely))


def sizing(
    recording: Recording, phase: Phase, runtime: Runtime, threads: int, enclave_bytes: int | None
) -> Sizing:
    """How large an enclave must be in which `threads` threads work.

    Args:
        recording: the recording.
        phase: the steady inference; its process is what is sized.
        runtime: the runtime.
        threads: threads that work at once.
        enclave_bytes: size that the user gives; None: the least that is enough.

    Raises:
        UsageError: the program does not fit the size given, or the runtime takes no such size.
        RecordingError: the recording holds no mappings, or is damaged.
    """
    needs = memory_needs(recording, runtime, threads=threads, process=phase.process)
    name = runtime.memory.settings.enclave
    suggested = next((setting.value for setting in needs.settings if setting.name == name), None)
    built = needs.built_bytes
    if enclave_bytes is not None:
        _check(enclave_bytes, needs, runtime)
        if runtime.memory.commits == "at_build":
            built = enclave_bytes
    return Sizing(
        resident_bytes=needs.resident_bytes,
        committed_bytes=needs.committed_bytes,
        committed_phase=needs.committed_phase.name,
        kind_bytes={kind: size for kind, size in needs.kind_bytes.items() if size},
        inaccessible_bytes=needs.inaccessible_bytes,
        own_bytes=needs.own_bytes,
        threads_bytes=needs.threads_bytes,
        added_threads_bytes=needs.added_threads_bytes,
        total_bytes=needs.total_bytes,
        max_threads=needs.max_threads,
        enclave_bytes=suggested if enclave_bytes is None else enclave_bytes,
        is_given=enclave_bytes is not None,
        built_bytes=built,
        settings=needs.settings,
        phases=tuple(
            PhaseSize(
                row.phase.index,
                row.phase.name,
                row.resident_bytes,
                row.committed_bytes,
                row.footprint_bytes,
            )
            for row in needs.phases
        ),
    )


def _check(enclave_bytes: int, needs: MemoryNeeds, runtime: Runtime) -> None:
    if not runtime.memory.settings.enclave:
        raise UsageError(
            f"{runtime.title} has no setting for the size of the enclave: leave it out"
        )
    least = needs.total_bytes.low
    if enclave_bytes < least:
        raise UsageError(
            f"an enclave of {format_bytes(enclave_bytes)} is too small: under {runtime.title} the"
            f" program takes at least {format_bytes(least)}, of which"
            f" {format_bytes(needs.committed_bytes)} are what it maps; give at least"
            f" {format_bytes(power_of_two(least))}"
        )
    if enclave_bytes & (enclave_bytes - 1):
        raise UsageError(
            f"an enclave of {format_bytes(enclave_bytes)}: its size must be a power of two, such as"
            f" {format_bytes(power_of_two(enclave_bytes))}"
        )
