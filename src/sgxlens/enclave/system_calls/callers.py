# SPDX-License-Identifier: Apache-2.0
"""Who makes a system call: which object file, which operator, which kind of thread."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sgxlens.enclave.files import matcher
from sgxlens.recording.operators import BACKGROUND_CALLS
from sgxlens.recording.syscalls import is_libc, is_loader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sgxlens.recording.reader import Recording


class CallerClasses:
    """Which object files make system calls that trap."""

    def __init__(self, patched_objects: Iterable[str]) -> None:
        self._patched = matcher(patched_objects)
        self._are_raw: dict[str, bool] = {}

    def is_raw(self, object_file: str) -> bool:
        """Whether its SYSCALL instructions are as they were compiled, not the runtime's."""
        if object_file not in self._are_raw:
            self._are_raw[object_file] = caller_class(object_file) not in (
                "loader",
                "libc",
            ) and not self._patched.fullmatch(PurePath(object_file).name)
        return self._are_raw[object_file]


def caller_class(object_file: str) -> str:
    """The class of an object file, as of `CALLERS`."""
    if not object_file:
        return "unknown"
    if is_loader(object_file):
        return "loader"
    if is_libc(object_file):
        return "libc"
    return "libgomp" if PurePath(object_file).name.startswith("libgomp") else "other"


class OperatorFinder:
    """Finds the operator that a thread runs, by its contexts."""

    def __init__(self, recording: Recording) -> None:
        # Lists: one call after the other is looked up.
        self._spans: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        if not recording.has_table("contexts") or not recording.operators:
            return
        table = recording.table("contexts")
        process = np.asarray(table["process"].to_numpy(), dtype=np.int64)
        thread = np.asarray(table["thread"].to_numpy(), dtype=np.int64)
        start = np.asarray(table["start_position"].to_numpy(), dtype=np.int64)
        operator = np.asarray(
            pc.fill_null(table["operator"].cast(pa.int64()), -1).to_numpy(), dtype=np.int64
        )
        for key in set(zip(process.tolist(), thread.tolist(), strict=True)):
            mine = np.flatnonzero((process == key[0]) & (thread == key[1]))
            order = mine[np.argsort(start[mine], kind="stable")]
            self._spans[key] = (start[order].tolist(), operator[order].tolist())

    def at(self, process: int, thread: int, position: int) -> int | None:
        """The number of the operator at a position; None: none."""
        spans = self._spans.get((process, thread))
        if spans is None:
            return None
        index = bisect_right(spans[0], position) - 1
        operator = spans[1][index] if index >= 0 else -1
        return operator if operator >= 0 else None


def operator_finder(recording: Recording) -> OperatorFinder:
    """Finds operators of a recording; made once."""
    return recording.derived(
        operator_finder, lambda: OperatorFinder(recording), ("contexts", "operators")
    )


def background_threads(recording: Recording) -> set[tuple[int, int]]:
    """Threads, each with its process, that do something else while operators run.

    They are those that attribution leaves out of operators: they read and write files or talk to
    the network meanwhile (see `BACKGROUND_CALLS`). And those that they made, or that made them,
    unless these run operators.
    """
    tables = ("syscalls", "threads", "operators")
    return recording.derived(background_threads, lambda: _background_threads(recording), tables)


def _background_threads(recording: Recording) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    if not recording.has_table("syscalls"):
        return found
    for process in {operator.process for operator in recording.operators}:
        mine = [o for o in recording.operators if o.process == process]
        table = recording.table("syscalls")
        chosen = pc.and_(
            pc.equal(table["process"], process),
            pc.is_in(table["name"], pa.array(sorted(BACKGROUND_CALLS), pa.string())),
        )
        chosen = pc.and_(
            chosen, pc.greater_equal(table["position"], min(o.start_position for o in mine))
        )
        chosen = pc.and_(chosen, pc.less(table["position"], max(o.end_position for o in mine)))
        threads = pc.unique(table["thread"].filter(chosen)).to_pylist()
        owners = {o.thread for o in mine}
        found |= {(process, thread) for thread in threads if thread not in owners}
        pairs = [
            (row["creator"], row["thread"])
            for row in (
                recording.table("threads").to_pylist() if recording.has_table("threads") else ()
            )
            if row["process"] == process and row["creator"] is not None
        ]
        for one, other in (*pairs, *((thread, creator) for creator, thread in pairs), *pairs):
            if (process, one) in found and other not in owners:
                found.add((process, other))
    return found


#: Variables of OpenMP libraries, and what lets their threads spin for good.
SPINNING = {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "infinite", "KMP_BLOCKTIME": "infinite"}


def threads_spin(recording: Recording) -> bool | None:
    """Whether threads that have no work spin until there is some; None: not known.

    The alternative is to sleep at once. sgxlens has the threads of models sleep, unless it is told
    otherwise; how long those of other programs spin depends on their libraries.
    """
    target = recording.metadata.target
    if target.kind == "onnx":
        session = getattr(target, "session", None) or {}
        return bool(session.get("allow_spinning", False))
    environment = getattr(target, "environment", None) or {}
    for name, spins in SPINNING.items():
        if name in environment:
            return bool(environment[name].lower() == spins)
    return False if target.kind == "torch" else None


def parallel_operators(recording: Recording) -> set[tuple[int, int]]:
    """Operators that are split among threads, by process and number.

    They are those in which several threads are seen to work, in this or another execution: the
    tracer runs one thread at a time, and an operator may well be done before a second one starts.
    """
    tables = ("contexts", "operators")
    return recording.derived(parallel_operators, lambda: _parallel_operators(recording), tables)


def _parallel_operators(recording: Recording) -> set[tuple[int, int]]:
    if not recording.has_table("contexts"):
        return set()
    table = recording.table("contexts")
    table = table.filter(
        pc.and_(pc.is_valid(table["operator"]), pc.greater(table["line_access_count"], 0))
    )
    threads: Counter[tuple[int, int]] = Counter()
    for row in table.group_by(["process", "operator", "thread"]).aggregate([]).to_pylist():
        threads[row["process"], row["operator"]] += 1
    seen = {
        (o.process, o.index, o.name)
        for o in recording.operators
        if threads[o.process, o.number] > 1
    }
    return {
        (o.process, o.number) for o in recording.operators if (o.process, o.index, o.name) in seen
    }
