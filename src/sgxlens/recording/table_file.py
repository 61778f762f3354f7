# SPDX-License-Identifier: Apache-2.0
"""Reads tables of a recording, and refuses those that are not as they were written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sgxlens.errors import RecordingError

if TYPE_CHECKING:
    from sgxlens.recording.columns import Table
    from sgxlens.recording.metadata import TableInfo


class TableFile:
    """The file of a table, of which columns are read when they are first asked for.

    Args:
        folder: the recording.
        expected: the table, as every recording has it.
        info: what ``recording.json`` says of its file.

    Raises:
        RecordingError: the file cannot be read, is damaged, or holds another table.
    """

    def __init__(self, folder: Path, expected: Table, info: TableInfo) -> None:
        self._folder = folder
        self._expected = expected
        file = folder / expected.file_name
        try:
            content = _content(file)
        except OSError as error:
            raise RecordingError(f"cannot read {file}: {error.strerror}") from error
        # Page checksums cover neither page headers nor the footer; this one covers every byte.
        if hashlib.sha256(content).hexdigest() != info.sha256:
            raise RecordingError(
                f"{folder} is corrupted: {file.name} was changed after it was written"
            )
        self._content = content
        self._columns: dict[str, pa.ChunkedArray] = {}
        with self._refusing():
            coded = [column.name for column in expected.columns if column.values]
            try:
                self._file = pq.ParquetFile(self._content, read_dictionary=coded)
            except KeyError as error:  # of a column that is asked for
                raise ValueError("it lacks a column that it should have") from error
            _check_shape(self._file, expected, info.row_count)

    def table(self) -> pa.Table:
        """All columns.

        Raises:
            RecordingError: the file is damaged.
        """
        with self._refusing():
            table = pq.ParquetFile(self._content).read()
            self._check(table)
        return table

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns; those of few values are dictionary arrays: read in a tenth of the time.

        Raises:
            RecordingError: the file is damaged.
        """
        missing = [name for name in names if name not in self._columns]
        if missing:
            with self._refusing():
                table = self._read(missing)
                self._check(table)
            self._columns.update(zip(table.column_names, table.columns, strict=True))
        return pa.table({name: self._columns[name] for name in names})

    def _read(self, names: list[str]) -> pa.Table:
        # One group of rows after the other: what decoding takes is used again for the next, where
        # clearing it for all of them at once takes the kernel several times as long as decoding.
        count = self._file.num_row_groups
        if not count:
            return self._file.read(columns=names)
        return pa.concat_tables(
            [self._file.read_row_group(number, columns=names) for number in range(count)]
        )

    def _check(self, table: pa.Table) -> None:
        table.validate(full=True)
        for column in self._expected.columns:
            if column.name not in table.column_names:
                continue
            found = table[column.name]
            if found.null_count and not column.nullable:
                raise ValueError(f"{column.name} holds null")
            if column.values:
                if pa.types.is_dictionary(found.type):  # which have all values of their rows
                    coded = [chunk.dictionary for chunk in found.chunks]
                    found = pa.chunked_array(coded, found.type.value_type)
                for value in pc.unique(found).to_pylist():
                    if value not in column.values:
                        raise ValueError(f"{column.name} holds {value!r}")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:
            raise RecordingError(
                f"{self._folder} is corrupted: {self._expected.file_name}: {error}"
            ) from error


def _content(file: Path) -> pa.Buffer:
    """All of a file, in Arrow's memory: its threads may let go of it after Python has ended."""
    with file.open("rb") as stream:
        content = pa.allocate_buffer(os.fstat(stream.fileno()).st_size)
        return content.slice(0, stream.readinto(content))


def _check_shape(file: pq.ParquetFile, expected: Table, row_count: int) -> None:
    schema = _decoded(file.schema_arrow)
    if not schema.equals(expected.schema, check_metadata=False):
        found = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise ValueError(f"it has other columns than it should: {found}")
    if file.metadata.num_rows != row_count:
        raise ValueError(f"it has {file.metadata.num_rows} rows instead of {row_count}")


def _decoded(schema: pa.Schema) -> pa.Schema:
    """A schema with the values of dictionary arrays in their place."""
    for index, field in enumerate(schema):
        if pa.types.is_dictionary(field.type):
            schema = schema.set(index, field.with_type(field.type.value_type))
    return schema
