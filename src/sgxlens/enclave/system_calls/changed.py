# SPDX-License-Identifier: Apache-2.0
"""What of the facts of system calls differs in a recording with other rows in some tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from sgxlens.enclave import linux
from sgxlens.enclave.system_calls.recorded import Threads
from sgxlens.enclave.system_calls.replay import ABOUT_THREADS, set_length, whole_pages

if TYPE_CHECKING:
    import pyarrow as pa

    from sgxlens.enclave.system_calls.expressions import Value
    from sgxlens.enclave.system_calls.replay import ReplayedCalls
    from sgxlens.recording.reader import Recording


def thread_facts(replayed: ReplayedCalls, changed: Recording) -> dict[int, dict[str, Value]]:
    """What other threads in `changed` make of the facts of calls, by the index of the call."""
    threads: dict[int, Threads] = {}
    found: dict[int, dict[str, Value]] = {}
    for index, call in enumerate(replayed.calls):
        if call.name in ABOUT_THREADS:
            if call.process not in threads:
                threads[call.process] = Threads(changed, call.process)
            mine = threads[call.process]
            facts = found[index] = {"other_threads": mine.others_at(call.position)}
            if "is_thread" in call.facts:
                facts["is_thread"] = max(call.facts["result"], 0) in mine.kernel_tids
    return found


def memory_facts(
    replayed: ReplayedCalls, before: Recording, changed: Recording
) -> dict[int, dict[str, Value]] | None:
    """What other lengths of mappings in `changed` make of the facts of calls, by their index.

    None: something else differs in the table ``syscalls``, or other addresses are of files that are
    mapped to be shared, on which later calls depend.
    """
    old, new = before.table("syscalls"), changed.table("syscalls")
    if old.num_rows != new.num_rows:
        return None
    names = [name for name in old.column_names if name != "arg1"]
    if not old.select(names).equals(new.select(names)):
        return None
    maps = pc.equal(old["name"], "mmap")
    differs = pc.not_equal(old["arg1"], new["arg1"])
    if pc.any(pc.and_(differs, pc.invert(maps))).as_py():
        return None
    if _changes_shared(old.filter(differs).to_pylist(), new.filter(differs), old.filter(maps)):
        return None
    rows = new.filter(maps).select(["process", "arg1"])
    found: dict[int, dict[str, Value]] = {}
    lengths = {
        process: iter(rows.filter(pc.equal(rows["process"], process))["arg1"].to_pylist())
        for process in pc.unique(rows["process"]).to_pylist()
    }
    for index, call in enumerate(replayed.calls):
        if call.name == "mmap":
            length = next(lengths[call.process])
            if length != call.facts["asked"]:
                facts = found[index] = {"asked": length}
                set_length(facts, length)
    return found


def _changes_shared(old: list[dict[str, Any]], new: pa.Table, maps: pa.Table) -> bool:
    """Whether changed calls of ``mmap`` (`old` is now `new`) may touch what is mapped shared."""
    of_files = [
        (row, max(row["arg1"], length))
        for row, length in zip(old, new["arg1"].to_pylist(), strict=True)
        if not row["arg3"] & linux.MAP_ANONYMOUS
    ]
    if not of_files:
        return False
    shared = [
        (row["result"], row["result"] + whole_pages(row["arg1"]))
        for row in maps.select(["arg1", "arg2", "arg3", "result"]).to_pylist()
        if _maps_shared(row)
    ]
    return any(
        _maps_shared(row)
        or any(
            row["result"] < end and start < row["result"] + whole_pages(length)
            for start, end in shared
        )
        for row, length in of_files
        if row["result"] is not None
    )


def _maps_shared(row: dict[str, Any]) -> bool:
    flags = row["arg3"]
    return bool(
        row["result"] is not None
        and flags & linux.MAP_TYPE in linux.MAP_SHARED_TYPES
        and row["arg2"] & linux.PROT_WRITE
        and not flags & linux.MAP_ANONYMOUS
    )
