# SPDX-License-Identifier: Apache-2.0
"""Columns of a recording's tables as arrays of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import numpy.typing as npt

    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Recording

#: Beyond so many pieces of a table a copy is better.
_RUNS_MAX: Final = 64
_LONGEST = "reuse_sources"


def rows_of(recording: Recording, table: str, process: int) -> pa.Table:
    """The rows of a process."""
    found = recording.coded_table(table) if table == _LONGEST else recording.table(table)
    if len(recording.metadata.processes) == 1:
        return found
    return found.filter(pc.equal(found["process"], process))


class RunsByKey:
    """Where rows with the same key follow each other: they come in few runs, which take no copy.

    Args:
        key: a number for each row, at least 0.
    """

    def __init__(self, key: Integers) -> None:
        is_new = np.ones(key.size, dtype=bool)
        np.not_equal(key[1:], key[:-1], out=is_new[1:])
        first = np.flatnonzero(is_new)
        stop = np.append(first, key.size)[1:]
        self._runs: dict[int, list[tuple[int, int]]] = {}
        for value, start, end in zip(
            key[first].tolist(), first.tolist(), stop.tolist(), strict=True
        ):
            self._runs.setdefault(value, []).append((start, end))

    def rows(self, table: pa.Table, key: int) -> pa.Table:
        """The rows of a table that have a key, in their order."""
        runs = self._runs.get(key, [])
        if len(runs) > _RUNS_MAX:
            return table.take(np.concatenate([np.arange(start, end) for start, end in runs]))
        return pa.concat_tables(
            [table.slice(0, 0), *(table.slice(start, end - start) for start, end in runs)]
        )


def distinct(column: pa.ChunkedArray | Integers) -> tuple[npt.NDArray[np.uint64], Integers]:
    """The distinct values, ascending, and for each row the index of its own.

    The index of null comes after that of the last of them. Faster than `numpy.unique` where few
    values are distinct.
    """
    if isinstance(column, np.ndarray):
        column = pa.chunked_array([column])
    encoded = column.combine_chunks().dictionary_encode()
    found = unsigned(encoded.dictionary)
    order = np.argsort(found)
    rank = np.empty(order.size + 1, dtype=np.int64)
    rank[order] = np.arange(order.size)
    rank[order.size] = order.size
    indices = pc.fill_null(encoded.indices, order.size)
    return found[order], rank[indices.to_numpy()]


def integers(column: pa.ChunkedArray, null: int = 0) -> Integers:
    """A column of integers, with `null` where it is null."""
    if null < 0 and column.null_count:
        column = column.cast(pa.int64())
    return _filled(column, null).astype(np.int64)


def unsigned(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A column of integers that are at least 0, with 0 where it is null."""
    return _filled(column, 0).astype(np.uint64, copy=False)


def _filled(column: pa.ChunkedArray, null: int) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = (
        pc.fill_null(column, null) if column.null_count else column
    ).to_numpy()
    return values


def codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> Integers:
    """For each row the index of its text in `names`."""
    known = pa.array(names, pa.string())
    if not pa.types.is_dictionary(column.type):
        return integers(pc.index_in(column, known))
    parts = [
        integers(pc.index_in(chunk.dictionary, known))[chunk.indices.to_numpy()]
        for chunk in column.chunks
    ]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
