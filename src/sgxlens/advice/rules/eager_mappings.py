# SPDX-License-Identifier: Apache-2.0
"""Eager mappings: memory that is mapped whole and hardly used.

Linux gives a mapping its pages as they are touched. A library OS reads a file that is mapped whole,
and clears, or adds to the enclave, all of what is mapped without one. The recording is predicted
again with mappings of what is used only.

Stacks and arenas of the allocator are the matter of other rules, and libraries, which the loader
maps, can hardly be mapped in part. OpenBLAS maps a buffer for each of its threads
(blas_memory_alloc() in OpenMathLib/OpenBLAS:driver/others/memory.c), 32 MiB on x86-64: one is
needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.registry import Rule
from sgxlens.advice.rules.clock_reads import mapped_openblas
from sgxlens.advice.steps import environment_step
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.stacks import inside_address_space
from sgxlens.recording.format import MAPPING_KINDS, PAGE_BYTES
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sgxlens.advice.advice import Gain
    from sgxlens.advice.situation import Situation
    from sgxlens.prediction.evaluation import Evaluation
    from sgxlens.recording.reader import Recording

#: Mappings that are smaller, or of which more is used, are left alone.
_SIZE_MIN_BYTES = 1 << 20
_USED_SHARE_MAX = 0.5
_SHOWN_MAX = 4
_OPENBLAS_BUFFER_BYTES = 32 << 20


@dataclass(frozen=True)
class _Mapping:
    """A mapping of which little is used.

    Attributes:
        position, address: where it is in the tables ``mappings`` and ``syscalls``.
        path: the file; empty: none.
        mapped_bytes: its size.
        used_bytes: pages that the program accesses while it is there.
    """

    position: int
    address: int
    path: str
    mapped_bytes: int
    used_bytes: int


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Data files that are mapped for a part of them, and memory that is mapped in reserve."""
    mappings = _hardly_used(situation)
    if not mappings:
        return Declined("no data file or block of memory is mapped of which less than half is used")
    advice = []
    share = 0.0
    for has_file in (True, False):
        chosen = [mapping for mapping in mappings if bool(mapping.path) == has_file]
        if not chosen:
            continue
        after = situation.again(recording=_shrunk(situation.recording, chosen))
        startup = situation.startup_gain(after.startup)
        share = max(share, startup.share)
        gains = situation.footprint_gains(after)
        if situation.is_worth(startup):
            advice.append(_advice(situation, chosen, after, gains))
    if advice:
        return tuple(advice)
    unused = sum(mapping.mapped_bytes - mapping.used_bytes for mapping in mappings)
    return Declined(
        f"{format_bytes(unused)} that are mapped and not used are {max(share, 0):.1%} of the start"
    )


RULE = Rule("eager_mappings", "memory and data files that are mapped whole and hardly used", find)


def _hardly_used(situation: Situation) -> list[_Mapping]:
    """Mappings made until the first result; those with most unused come first."""
    recording, process = situation.recording, situation.phase.process
    if not recording.has_table("mappings"):
        return []
    names = set(situation.prediction.startup.phases)
    end = max((
        phase.end_position
        for phase in recording.phases
        if phase.process == process and phase.name in names
    ), default=0)  # fmt: skip
    rows = [row for row in recording.table("mappings").to_pylist() if row["process"] == process]
    libraries = {row["name"] for row in rows if "x" in row["protection"]}
    paths = {
        (row["position"], row["address"]): row["name"]
        for row in rows
        if row["event"] == "map" and row["name"] not in libraries - {""}
    }
    found = []
    for change in inside_address_space(recording, process, situation.runtime.memory).changes:
        event = change.event
        place = event.position, event.address
        kind = MAPPING_KINDS[event.state.kind]
        if (
            event.action != "map"
            or not 0 < event.position < end
            or place not in paths
            or kind not in ("file", "anonymous")
            or not event.state.is_accessible
            or change.touched_page_count is None
        ):
            continue
        used = change.touched_page_count * PAGE_BYTES
        if event.size_bytes >= _SIZE_MIN_BYTES and used < _USED_SHARE_MAX * event.size_bytes:
            found.append(_Mapping(*place, paths[place], event.size_bytes, used))
    buffers = [m for m in found if not m.path and m.mapped_bytes == _OPENBLAS_BUFFER_BYTES]
    if buffers and mapped_openblas(situation) is not None:
        found.remove(buffers[0])
    return sorted(found, key=lambda mapping: mapping.used_bytes - mapping.mapped_bytes)


def _shrunk(recording: Recording, mappings: Iterable[_Mapping]) -> Recording:
    """The recording as if of these mappings only as much was mapped as is used."""
    sizes = {(m.position, m.address): max(m.used_bytes, PAGE_BYTES) for m in mappings}
    maps = recording.table("mappings")
    tables = {"mappings": _resized(maps, pc.equal(maps["event"], "map"), sizes, "address")}
    if recording.has_table("syscalls"):
        calls = recording.table("syscalls")
        tables["syscalls"] = _resized(calls, pc.equal(calls["name"], "mmap"), sizes, "result")
    return recording.with_tables(**tables)


def _resized(
    table: pa.Table, chosen: pa.ChunkedArray, sizes: dict[tuple[int, int], int], place: str
) -> pa.Table:
    """The table with other sizes in the rows chosen, by position and `place`."""
    size = "size_bytes" if "size_bytes" in table.column_names else "arg1"
    rows = table.filter(chosen).select(["position", place, size]).to_pylist()
    found = [sizes.get((row["position"], row[place]), row[size]) for row in rows]
    number = table.schema.get_field_index(size)
    field = table.schema.field(number)
    # Arrow puts the values, in their order, where rows are chosen.
    column = pc.replace_with_mask(table[size], chosen.combine_chunks(), pa.array(found, field.type))
    return table.set_column(number, field, column)


def _advice(
    situation: Situation, mappings: list[_Mapping], after: Evaluation, gains: tuple[Gain, ...]
) -> Advice:
    mapped = sum(mapping.mapped_bytes for mapping in mappings)
    used = sum(mapping.used_bytes for mapping in mappings)
    paths = list(dict.fromkeys(one_line(m.path) for m in mappings if m.path))
    names = " and ".join(PurePath(path).name for path in paths[:2])
    more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
    return Advice(
        title=f"Read what is needed of {names}{more}, and do not map all of it"
        if paths
        else "Map no more memory than is used",
        finding=(
            f"{format_bytes(mapped)} of {names + more if paths else 'memory'} are mapped until the"
            f" first result, and {format_bytes(used)} of that are ever used:"
            f" {situation.runtime.title} takes all of it at once."
        ),
        evidence=(
            *(
                Evidence(
                    f"{what} of the mapping of"
                    f" {one_line(PurePath(m.path).name) or 'memory'} at {m.address:#x}",
                    *(Range.exact(size), "bytes", "table mappings, starts of page visits"),
                )
                for m in mappings[:_SHOWN_MAX]
                for what, size in (("size", m.mapped_bytes), ("used", m.used_bytes))
            ),
            *situation.size_evidence(after),
        ),
        changes="program",
        gains=gains,
        costs=(Cost("latency", "what is needed later must be read, or asked for, then"),),
        steps=_file_steps(paths[0]) if paths else _memory_steps(situation, mappings),
        assumptions=("What is used is in one piece at the start of the mapping.",),
    )


def _file_steps(path: str) -> tuple[Step, ...]:
    return (
        Step(
            "Read the part that is needed; in NumPy, load without mmap_mode what is needed whole.",
            "python",
            f"with open({path!r}, 'rb') as file:\n"
            "    file.seek(OFFSET)\n    part = file.read(SIZE)",
        ),
    )


def _memory_steps(situation: Situation, mappings: list[_Mapping]) -> tuple[Step, ...]:
    command = " ".join(situation.recording.metadata.command)
    openblas = mapped_openblas(situation) is not None
    return (
        *(
            (environment_step(situation.runtime, "OPENBLAS_NUM_THREADS", "1"),)
            if openblas and any(m.mapped_bytes == _OPENBLAS_BUFFER_BYTES for m in mappings)
            else ()
        ),
        Step(
            "See who maps it, and set its pool, cache or buffers smaller, or let them grow.",
            "shell",
            f"strace -f -k -e trace=mmap {one_line(command, 200)}",
        ),
    )
