# SPDX-License-Identifier: Apache-2.0
"""How large stacks are in a runtime, and the address space of a program with them.

A library OS gives the limit of stacks (RLIMIT_STACK) that its configuration says, so that the C
library maps stacks of that size for threads, and the stack of the first thread has it at once:

- Gramine: ``sys.stack.size`` (gramineproject/gramine@ff71d7af: libos/src/libos_init.c,
  init_stack(); Documentation/devel/features.md: all threads have stacks of one size);
- Occlum: ``process.default_stack_size`` (occlum/occlum@690d5dbf: src/libos/src/misc/rlimit.rs).

The SDK has no such limit: each thread that is set has a stack of its own (``StackMaxSize``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.enclave.mappings.events import address_space, recorded_stacks
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from sgxlens.enclave.mappings.history import AddressSpaceHistory
    from sgxlens.enclave.memory_rules import Memory
    from sgxlens.recording.reader import Recording

_UNIT_BYTES = 64 << 10
# Beyond what was seen: another input, and a frame for a signal with all vector registers, which is
# up to 11 KiB (state of AMX; Intel SDM, volume 1, chapter 13).
_SPARE_BYTES = 32 << 10


def roomy_stack_bytes(used_bytes: int) -> int:
    """What to give stacks of which so much was used; 0: that is not known."""
    return -(-(used_bytes + _SPARE_BYTES) // _UNIT_BYTES) * _UNIT_BYTES if used_bytes else 0


def stack_bytes(
    recording: Recording, process: int, memory: Memory, given_bytes: int | None = None
) -> int:
    """The size of stacks in a runtime: as given, unless more was used, else what surely does.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    used_bytes = recorded_stacks(recording, process).deepest_bytes
    if given_bytes is not None and given_bytes >= used_bytes:
        return given_bytes
    return max(int(memory.stack_bytes.likely), roomy_stack_bytes(used_bytes))


def mapped_stack_bytes(
    recording: Recording, process: int, memory: Memory, given_bytes: int | None = None
) -> int:
    """What the C library maps for a thread: its stack, and the page that guards it.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    if memory.thread_stacks == "set":
        return 0
    return stack_bytes(recording, process, memory, given_bytes) + PAGE_BYTES


def mapped_stack_lengths(
    recording: Recording, memory: Memory
) -> tuple[tuple[tuple[int, int], int], ...]:
    """What calls of ``mmap`` for stacks ask for: processes and positions of calls, and bytes.

    Raises:
        RecordingError: the recording is damaged.
    """
    if not recording.has_table("mappings") or memory.thread_stacks == "set":
        return ()
    return tuple(
        ((info.process, stack.position), mapped_stack_bytes(recording, info.process, memory))
        for info in recording.metadata.processes
        for stack in recorded_stacks(recording, info.process).threads
    )


def inside_address_space(
    recording: Recording, process: int, memory: Memory, given_bytes: int | None = None
) -> AddressSpaceHistory:
    """What a process has mapped and accesses over time, with stacks as the runtime gives them.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    size = mapped_stack_bytes(recording, process, memory, given_bytes)
    return address_space(recording, process, size)
