# SPDX-License-Identifier: Apache-2.0
"""Memory that is written while a model is loaded and that no inference uses.

A model file that is parsed, weights as they were before a framework rearranged them: all of it is
mapped, written, perhaps freed, and not accessed again. Where it lies, the table ``mappings`` and
the page visits tell: anonymous memory that is mapped in the phase, but for stacks and for what is
reserved without access, and of which pages are unmapped by its end, or not accessed after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sgxlens.attribution.columns import rows_of
from sgxlens.enclave.visited_pages import visited_pages
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.recording.schemas import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording


#: Linux puts programs at 0x55..., libraries at 0x7f...; Valgrind both of them far below.
_FREE_ADDRESS, _IDLE_ADDRESS = 1 << 46, 3 << 45


@dataclass(frozen=True, eq=False)
class LoadCopies:
    """What loading leaves behind.

    Attributes:
        recordings: the recording as if none of it had been mapped, but what is asked for in its
            place and what stays; page visits are as they were.
        freed_bytes: the most of it, at a time, that was mapped in the phase and unmapped in it.
        unused_bytes: what is still mapped at the end of the phase, was accessed in it, is not
            after it, and need not stay.
        used_bytes: what is, too, but accessed after it.
        visit_share: what share of the page visits of the phase is to any of it, 0 to 1.
    """

    recordings: tuple[Recording, ...]
    freed_bytes: int
    unused_bytes: int
    used_bytes: int
    visit_share: float


@dataclass
class _Block:
    """Memory mapped in the phase, in pages.

    Attributes:
        row: number of its row in table ``mappings``.
        position: since when.
        pieces: what of it is mapped still: first page and the one after the last.
        freed: what is not: the same, and until when it was.
    """

    row: int
    position: int
    pieces: list[tuple[int, int]]
    freed: list[tuple[int, int, int]]


def load_copies(
    recording: Recording,
    load: Phase,
    last: Phase,
    *,
    other_bytes: Sequence[int] = (0,),
    idle_bytes: int = 0,
) -> LoadCopies | None:
    """What the phase `load` leaves behind; None: it cannot be told.

    Args:
        recording: the recording.
        load: the phase that loads the model.
        last: the last phase that is known to use it.
        other_bytes: what is mapped in its place for as long as the phase lasts.
        idle_bytes: what, at most, is not accessed after the phase but stays: weights, say rows of
            an embedding, that only other inputs use.

    Raises:
        RecordingError: the recording is damaged.
    """
    if not recording.has_table("page_visits") or recording.metadata.settings.sampling_rate < 1:
        return None
    visited = visited_pages(recording, load.process)
    mine = rows_of(recording, "page_visits", load.process, ["position"])
    position = mine["position"].to_numpy().astype(np.int64)
    first, end, last_end = np.searchsorted(
        position, [load.start_position, load.end_position, last.end_position]
    )
    is_used = np.zeros(visited.values.size, dtype=bool)
    is_used[visited.index[end:last_end]] = True
    used = visited.values[is_used].astype(np.int64)
    rows = recording.table("mappings").to_pylist()
    blocks, events = _blocks(rows, load, _stack_pages(recording, load.process))
    index, position = visited.index[first:end], position[first:end]
    page = visited.values.astype(np.int64)[index]
    is_unused = ~is_used[index]
    is_gone = np.zeros(page.size, dtype=bool)
    unused = used_still = 0
    edits: dict[int, list[tuple[int, int]]] = {}
    for block in blocks:
        kept: list[tuple[int, int]] = []
        since = int(np.searchsorted(position, block.position))
        for start, stop, until in block.freed:
            life = slice(since, int(np.searchsorted(position, until)))
            is_gone[life] |= (page[life] >= start) & (page[life] < stop)
        for start, stop in block.pieces:
            here = (page[since:] >= start) & (page[since:] < stop) & is_unused[since:]
            is_gone[since:] |= here
            unused += int(np.count_nonzero(np.bincount(index[since:][here])))
            low, high = np.searchsorted(used, [start, stop])
            used_still += int(high - low)
            kept += _runs(used[low:high])
        edits[block.row] = kept
    edited = _edited(rows, edits)
    idle = min(_page_count(idle_bytes), unused)
    edited = _with_map(edited, load, _IDLE_ADDRESS, idle, None)
    return LoadCopies(
        recordings=tuple(_with_other(recording, edited, load, size) for size in other_bytes),
        freed_bytes=_peak(events) * PAGE_BYTES,
        unused_bytes=(unused - idle) * PAGE_BYTES,
        used_bytes=used_still * PAGE_BYTES,
        visit_share=float(is_gone.mean()) if is_gone.size else 0.0,
    )


def _blocks(
    rows: list[dict[str, Any]], load: Phase, stacks: Integers
) -> tuple[list[_Block], list[tuple[int, int]]]:
    """The blocks mapped in the phase, and by position how the pages change that are freed in it."""
    blocks: list[_Block] = []
    for number, row in enumerate(rows):
        if row["process"] != load.process or row["position"] < load.start_position:
            continue
        if row["position"] >= load.end_position:
            break
        start = row["address"] // PAGE_BYTES
        stop = -(-(row["address"] + row["size_bytes"]) // PAGE_BYTES)
        if row["event"] in ("map", "unmap"):
            _free(blocks, start, stop, row["position"])
        elif row["event"] == "remap":
            old = row["from_address"] // PAGE_BYTES
            _forget(blocks, old, old + stop - start)
        if row["event"] == "map" and _holds_data(row) and not _holds(stacks, start, stop):
            blocks.append(_Block(number, row["position"], [(start, stop)], []))
    events = [
        event
        for block in blocks
        for start, stop, until in block.freed
        for event in ((block.position, stop - start), (until, start - stop))
    ]
    return blocks, events


def _holds_data(row: dict[str, Any]) -> bool:
    return row["kind"] == "anonymous" and "w" in row["protection"] and bool(row["size_bytes"])


def _stack_pages(recording: Recording, process: int) -> Integers:
    """Pages at which stacks of threads start."""
    if not recording.has_table("threads"):
        return np.zeros(0, dtype=np.int64)
    rows = recording.table("threads").to_pylist()
    found = [(r["stack_pointer"] - 1) // PAGE_BYTES for r in rows if r["process"] == process]
    return np.array(found, dtype=np.int64)


def _holds(pages: Integers, start: int, stop: int) -> bool:
    return bool(((pages >= start) & (pages < stop)).any())


def _free(blocks: list[_Block], start: int, stop: int, position: int) -> None:
    for block in blocks:
        left: list[tuple[int, int]] = []
        for low, high in block.pieces:
            gone = (max(low, start), min(high, stop))
            if gone[0] >= gone[1]:
                left.append((low, high))
                continue
            block.freed.append((*gone, position))
            left += [(a, b) for a, b in ((low, gone[0]), (gone[1], high)) if a < b]
        block.pieces = left


def _forget(blocks: list[_Block], start: int, stop: int) -> None:
    """Leaves blocks alone that are moved elsewhere."""
    moved = [b for b in blocks if any(low < stop and start < high for low, high in b.pieces)]
    for block in moved:
        blocks.remove(block)


def _runs(pages: Integers) -> list[tuple[int, int]]:
    """Pages, ascending, as ranges."""
    if not pages.size:
        return []
    breaks = np.flatnonzero(np.diff(pages) != 1) + 1
    parts = np.split(pages, breaks)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _edited(
    rows: list[dict[str, Any]], edits: dict[int, list[tuple[int, int]]]
) -> list[dict[str, Any]]:
    found = []
    for number, row in enumerate(rows):
        if number not in edits:
            found.append(row)
            continue
        for start, stop in edits[number]:
            place = {"address": start * PAGE_BYTES, "size_bytes": (stop - start) * PAGE_BYTES}
            found.append({**row, **place})
    return found


def _with_other(
    recording: Recording, rows: list[dict[str, Any]], load: Phase, size_bytes: int
) -> Recording:
    """The recording with these mappings, and another one while the phase lasts."""
    rows = _with_map(rows, load, _FREE_ADDRESS, _page_count(size_bytes), load.end_position - 1)
    return recording.with_tables(mappings=pa.Table.from_pylist(rows, TABLES["mappings"].schema))


def _with_map(
    rows: list[dict[str, Any]], load: Phase, address: int, page_count: int, until: int | None
) -> list[dict[str, Any]]:
    """With memory mapped since the start of the phase; `until` None: it stays."""
    if not page_count:
        return rows
    other = {
        "process": load.process, "position": load.start_position, "event": "map",
        "address": address, "size_bytes": page_count * PAGE_BYTES,
        "protection": "rw-", "kind": "anonymous", "name": "", "file_offset": 0,
        "from_address": None,
    }  # fmt: skip
    added = [other]
    if until is not None:
        added.append({**other, "position": until, "event": "unmap", "protection": "", "kind": ""})
    return sorted([*rows, *added], key=lambda row: row["position"])


def _page_count(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES)


def _peak(events: list[tuple[int, int]]) -> int:
    """The most of what comes and goes; what goes at a position goes before what comes."""
    most = now = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most
