# SPDX-License-Identifier: Apache-2.0
"""Columns of a recording's tables as arrays of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Recording

#: Beyond so many pieces of a table a copy is better.
_RUNS_MAX: Final = 64


def rows_of(recording: Recording, table: str, process: int, columns: Sequence[str]) -> pa.Table:
    """Some columns of the rows of a process, as `Recording.columns` reads them."""
    found = recording.columns(table, columns)
    if len(recording.metadata.processes) == 1:
        return found
    of = recording.columns(table, ["process"])["process"]
    return found.filter(pc.equal(of, process))


class RunsByKey:
    """Where rows with the same key follow each other: they come in few runs, which take no copy.

    Args:
        rows: the rows of a table.
        columns: those that the key follows from.
        key_of: for rows of these columns a number each, at least 0.
    """

    def __init__(
        self, rows: pa.Table, columns: Sequence[str], key_of: Callable[[pa.Table], Integers]
    ) -> None:
        # Where nothing changes that the key follows from, it is not asked for.
        keys: list[Integers] = [np.zeros(0, dtype=np.int64)]
        places: list[Integers] = [np.zeros(0, dtype=np.int64)]
        start = 0
        # Batch by batch: to take rows of a table, Arrow copies all of it.
        for batch in rows.select(list(columns)).to_batches():
            changes = np.flatnonzero(_is_new(batch))
            keys.append(key_of(pa.Table.from_batches([batch.take(pa.array(changes))])))
            places.append(changes + start)
            start += batch.num_rows
        key, changes = np.concatenate(keys), np.concatenate(places)
        is_new = np.ones(key.size, dtype=bool)
        np.not_equal(key[1:], key[:-1], out=is_new[1:])
        first = changes[is_new]
        stop = np.append(first, rows.num_rows)[1:]
        self._runs: dict[int, list[tuple[int, int]]] = {}
        for value, start, end in zip(
            key[is_new].tolist(), first.tolist(), stop.tolist(), strict=True
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


def _is_new(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Of each row whether it differs from the one before; a row that does not may be said to."""
    result = np.zeros(batch.num_rows, dtype=bool)
    result[:1] = True
    for column in batch.columns:
        values = column.indices if pa.types.is_dictionary(column.type) else column
        found = values.to_numpy(zero_copy_only=False)
        result[1:] |= found[1:] != found[:-1]
    return result


def integers(column: pa.ChunkedArray, null: int = 0) -> Integers:
    """A column of integers, with `null` where it is null."""
    if null < 0 and column.null_count:
        column = column.cast(pa.int64())
    values = _filled(column, null)
    # Numbers that no program reaches would be below 0 either way.
    return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)


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
