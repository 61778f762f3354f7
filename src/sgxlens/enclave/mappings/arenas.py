# SPDX-License-Identifier: Apache-2.0
"""Heaps that glibc's allocator reserves for threads, and a recording without them.

A thread that finds the main arena taken gets one of its own: a heap of 64 MiB (HEAP_MAX_SIZE) of
address space without access, aligned to its size, of which the start is made accessible as it is
needed. If the kernel's choice is not aligned, twice as much is mapped, and what is too much is
unmapped (glibc 2.36: malloc/arena.c, new_heap() and grow_heap()).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from sgxlens.recording.schemas import TABLES

if TYPE_CHECKING:
    from sgxlens.recording.reader import Recording

ARENA_BYTES = 64 << 20
#: A block below the threshold of mmap lies in an arena, and what is freed of one stays mapped for
#: as long as something above it is in use. The threshold follows the largest block that was freed,
#: up to this size (glibc 2.36: malloc/malloc.c, DEFAULT_MMAP_THRESHOLD_MAX). In which order threads
#: allocate decides whether such a block stays: recordings of one program differed by up to 19 MiB.
KEPT_BYTES = 32 << 20


class ArenaHeap(NamedTuple):
    """A heap of an arena.

    Attributes:
        row: where in table ``mappings`` it is mapped.
        address: its start, aligned.
        mapped_bytes: what is mapped for it at first.
        accessible_bytes: what the program comes to have access to.
    """

    row: int
    address: int
    mapped_bytes: int
    accessible_bytes: int


def arena_heaps(recording: Recording, process: int) -> list[ArenaHeap]:
    """The heaps of arenas beside the main one, in the order in which they were mapped.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    open_heaps: dict[int, ArenaHeap] = {}
    found: list[ArenaHeap] = []
    for number, row in enumerate(recording.table("mappings").to_pylist()):
        if row["process"] != process:
            continue
        if _is_reserved(row):
            base = -(-row["address"] // ARENA_BYTES) * ARENA_BYTES
            _close(open_heaps, base, found)
            open_heaps[base] = ArenaHeap(number, base, row["size_bytes"], 0)
        elif row["event"] == "protect" and "w" in row["protection"]:
            base = row["address"] // ARENA_BYTES * ARENA_BYTES
            heap = open_heaps.get(base)
            end = row["address"] + row["size_bytes"] - base
            if heap is not None and end <= ARENA_BYTES:
                open_heaps[base] = heap._replace(accessible_bytes=max(heap.accessible_bytes, end))
    for base in list(open_heaps):
        _close(open_heaps, base, found)
    return sorted(found)


def without_reserves(recording: Recording, heaps: list[ArenaHeap]) -> Recording:
    """The recording as if of these heaps only what the program has access to were mapped.

    What threads allocate stays where it is: in the main arena it takes as much.
    """
    table = recording.table("mappings")
    rows = table.to_pylist()
    for heap in heaps:
        rows[heap.row] |= {
            "address": heap.address,
            "size_bytes": heap.accessible_bytes,
            "protection": "rw-",
        }
    return recording.with_tables(mappings=pa.Table.from_pylist(rows, TABLES["mappings"].schema))


def _is_reserved(row: dict[str, Any]) -> bool:
    return (
        row["event"] == "map"
        and row["kind"] == "anonymous"
        and row["size_bytes"] in (ARENA_BYTES, 2 * ARENA_BYTES)
        and not any(letter in row["protection"] for letter in "rwx")
    )


def _close(open_heaps: dict[int, ArenaHeap], base: int, found: list[ArenaHeap]) -> None:
    heap = open_heaps.pop(base, None)
    # Memory of others is not made accessible from its aligned start on.
    if heap is not None and heap.accessible_bytes:
        found.append(heap)
