# SPDX-License-Identifier: Apache-2.0
"""Reads one table of a recording, and refuses one that is not as it was written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sgxlens.errors import RecordingError

if TYPE_CHECKING:
    from sgxlens.recording.columns import Table
    from sgxlens.recording.metadata import TableInfo


def read_table(folder: Path, expected: Table, info: TableInfo, *, is_coded: bool) -> pa.Table:
    """The rows of the table `expected` in the recording in `folder`.

    Args:
        folder: the recording.
        expected: the table, as every recording has it.
        info: what ``recording.json`` says of its file.
        is_coded: whether columns of few values are dictionary arrays: read in a tenth of the time.

    Raises:
        RecordingError: the file is damaged, or cannot be read.
    """
    file = folder / expected.file_name
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read {file}: {error.strerror}") from error
    # Page checksums cover neither page headers nor the footer; this one covers every byte.
    if hashlib.sha256(content).hexdigest() != info.sha256:
        raise RecordingError(f"{folder} is corrupted: {file.name} was changed after it was written")
    try:
        coded = [column.name for column in expected.columns if column.values]
        table = pq.read_table(
            pa.BufferReader(content),
            page_checksum_verification=True,
            read_dictionary=coded if is_coded else None,
        )
        table.validate(full=True)
        _check(table, expected, info.row_count)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RecordingError(f"{folder} is corrupted: {file.name}: {error}") from error
    return table


def _check(table: pa.Table, expected: Table, row_count: int) -> None:
    if not _decoded(table.schema).equals(expected.schema, check_metadata=False):
        found = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        raise ValueError(f"it has other columns than it should: {found}")
    if table.num_rows != row_count:
        raise ValueError(f"it has {table.num_rows} rows instead of {row_count}")
    for column in expected.columns:
        if table[column.name].null_count and not column.nullable:
            raise ValueError(f"{column.name} holds null")
        if column.values:
            for value in pc.unique(table[column.name]).to_pylist():
                if value not in column.values:
                    raise ValueError(f"{column.name} holds {value!r}")


def _decoded(schema: pa.Schema) -> pa.Schema:
    """A schema with the values of dictionary arrays in their place."""
    for index, field in enumerate(schema):
        if pa.types.is_dictionary(field.type):
            schema = schema.set(index, field.with_type(field.type.value_type))
    return schema
