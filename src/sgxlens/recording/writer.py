# SPDX-License-Identifier: Apache-2.0
"""Writes a recording: all of it or nothing."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sgxlens.errors import RecordingError
from sgxlens.recording import metadata as metadata_module
from sgxlens.recording.columns import Column
from sgxlens.recording.format import ACCESSES_FOLDER, METADATA_FILE, SCHEMA_NAME
from sgxlens.recording.metadata import RecordingInfo, TableInfo, printable
from sgxlens.recording.schemas import REQUIRED_TABLES, TABLES

if TYPE_CHECKING:
    from typing_extensions import Self

#: A column's values: a numpy array (masked where null), a list (None where null) or an Arrow array.
ColumnValues: TypeAlias = np.ndarray[Any, Any] | Sequence[Any] | pa.Array

#: Of zstd: files are a twentieth larger than at level 9, for half the time.
_COMPRESSION_LEVEL = 3
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2


class RecordingWriter:
    """Makes a recording at `path`.

    Everything is written into a hidden folder beside `path` and renamed into place by `finish`: a
    recording exists either whole or not at all. Used as a context manager, leaving the block
    without `finish` aborts.

    Args:
        path: the folder to be made; its parent must exist.
        force: replace a recording that is already there. Anything that is not a recording, or
            holds a file that sgxlens did not write, is never replaced.

    Raises:
        RecordingError: `path` is taken, or the folder cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], force: bool = False) -> None:
        self.path = Path(path)
        self._force = force
        self._tables: dict[str, TableInfo] = {}
        if self.path.name in ("", "..") or "\0" in str(self.path):
            raise RecordingError(f"{path} cannot be the name of a recording")
        self._refuse_taken_path()
        # Not derived from the name: that may already be as long as the file system allows.
        self._folder = self.path.parent / f".sgxlens-{secrets.token_hex(8)}.partial"
        self._is_open = True
        with self._errors_in_one_line():
            self._folder.mkdir()

    @property
    def folder(self) -> Path:
        """The hidden folder that will become the recording."""
        return self._folder

    def accesses_path(self, process: int) -> Path:
        """Where the kept stream of a process goes; the caller writes the file."""
        folder = self._folder / ACCESSES_FOLDER
        with self._errors_in_one_line():
            folder.mkdir(exist_ok=True)
        return folder / f"{process}.zst"

    def write_table(self, name: str, columns: Mapping[str, ColumnValues]) -> None:
        """Writes one table, once. Several may be written at once, in threads.

        Raises:
            RecordingError: the file cannot be written.
            ValueError: no such table, its columns are others, or a value does not fit its column.
        """
        if name in self._tables:
            raise ValueError(f"table {name} is written already")
        table = _arrow_table(name, columns)
        # Through memory: a failed write is then Python's OSError with its errno, and the digest is
        # of what should be in the file whatever the disk made of it.
        sink = pa.BufferOutputStream()
        encodings = {c.name: c.encoding for c in TABLES[name].columns}
        pq.write_table(
            table,
            sink,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=[column for column, given in encodings.items() if given is None],
            column_encoding={column: given for column, given in encodings.items() if given},
            write_page_checksum=True,
            store_schema=False,  # Parquet's own types say all: how columns come is not kept
        )
        content = sink.getvalue()
        self._write_file(TABLES[name].file_name, memoryview(content))
        self._tables[name] = TableInfo(
            row_count=table.num_rows,
            size_bytes=content.size,
            sha256=hashlib.sha256(content).hexdigest(),
        )

    def read_back(self, name: str) -> pa.Table | None:
        """A table that was written; None: it was not."""
        if name not in self._tables:
            return None
        with self._errors_in_one_line():
            return pq.read_table(self._folder / TABLES[name].file_name)

    def finish(self, metadata: RecordingInfo | Mapping[str, Any]) -> Path:
        """Writes ``recording.json`` and puts the recording in its place.

        Args:
            metadata: the fields of `RecordingInfo`. Schema, version and tables are added here.

        Returns:
            The path of the recording.

        Raises:
            RecordingError: a file cannot be written, or `path` was taken meanwhile; in that case
                the recording is kept under another name, which the message tells.
            ValueError: a required table was not written, or `metadata` is wrong.
        """
        missing = [name for name in REQUIRED_TABLES if name not in self._tables]
        if missing:
            raise ValueError(f"tables not written: {', '.join(missing)}")
        fields = metadata if isinstance(metadata, RecordingInfo) else dict(metadata)
        tables = {name: self._tables[name] for name in TABLES if name in self._tables}
        text = metadata_module.complete(fields, tables)
        self._write_file(METADATA_FILE, text.encode("ascii"))
        with self._errors_in_one_line():
            _sync_folder(self._folder)
        self._put_in_place()
        self._is_open = False
        return self.path

    def abort(self) -> None:
        """Removes everything written so far. Does nothing after `finish`."""
        if self._is_open:
            self._is_open = False
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _write_file(self, name: str, content: bytes | memoryview) -> None:
        with self._errors_in_one_line(), (self._folder / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _refuse_taken_path(self) -> None:
        try:
            with self._errors_in_one_line():
                self.path.lstat()
        except RecordingError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return
            raise
        if not self._force:
            raise RecordingError(
                f"{self.path} exists: choose another output or give --force to replace it"
            )
        reason = _why_not_replaceable(self.path)
        if reason:
            raise RecordingError(f"{self.path} is not replaced: {reason}; choose another output")

    def _put_in_place(self) -> None:
        try:
            # Again: something may have come there while the program ran.
            self._refuse_taken_path()
            with self._errors_in_one_line():
                if os.path.lexists(self.path):
                    _exchange(self._folder, self.path)
                    # The old recording now has the hidden name.
                    shutil.rmtree(self._folder, ignore_errors=True)
                else:
                    _rename_to_free_name(self._folder, self.path)
                _sync_folder(self.path.parent)
        except RecordingError as error:
            if not (self._folder / METADATA_FILE).exists():
                raise
            self._is_open = False
            kept = self._keep_elsewhere()
            raise RecordingError(f"{error.message}; the new recording is kept in {kept}") from error

    def _keep_elsewhere(self) -> Path:
        kept = self.path.with_name(f"{self.path.name}-{secrets.token_hex(4)}")
        try:
            self._folder.rename(kept)
        except OSError:
            return self._folder
        return kept

    @contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordingError(f"cannot write {self.path}: {_explain(error)}") from error


def _explain(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{os.strerror(error.errno)}: free some, or choose an output on another disk"
    if error.errno == errno.ENOENT:
        return "the folder that should hold it does not exist"
    return error.strerror or str(error)


def _why_not_replaceable(path: Path) -> str:
    """Why `path` is no recording that may be deleted; empty if it may."""
    if path.is_symlink():
        return "it is a symbolic link"
    if not path.is_dir():
        return "it is not a recording"
    try:
        marker = (path / METADATA_FILE).read_bytes()[:4096]
        entries = sorted(entry.name for entry in path.iterdir())
        kept = path / ACCESSES_FOLDER
        if kept.exists():
            entries += sorted(f"{ACCESSES_FOLDER}/{entry.name}" for entry in kept.iterdir())
    except FileNotFoundError:
        return "it is not a recording"
    except OSError as error:
        return _explain(error)
    # A recording that is damaged or of another version is still one: only its mark counts.
    if f'"{SCHEMA_NAME}"'.encode() not in marker:
        return "it is not a recording"
    ours = {METADATA_FILE, ACCESSES_FOLDER} | {table.file_name for table in TABLES.values()}
    for entry in entries:
        is_stream = entry.startswith(f"{ACCESSES_FOLDER}/") and entry.endswith(".zst")
        if entry not in ours and not is_stream:
            return f"it holds {printable(entry)!r}, which sgxlens did not write"
    return ""


def _arrow_table(name: str, columns: Mapping[str, ColumnValues]) -> pa.Table:
    if name not in TABLES:
        raise ValueError(f"no table is called {name!r}: {', '.join(TABLES)}")
    table = TABLES[name]
    expected = {column.name for column in table.columns}
    if set(columns) != expected:
        raise ValueError(
            f"table {name}: missing columns {sorted(expected - set(columns))},"
            f" unknown columns {sorted(set(columns) - expected)}"
        )
    arrays = []
    for column in table.columns:
        try:
            array = _arrow_array(column, columns[column.name])
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            raise ValueError(f"{name}.{column.name}: {error}") from error
        if array.null_count and not column.nullable:
            raise ValueError(f"{name}.{column.name}: null is not allowed")
        if column.values:
            unknown = set(array.unique().to_pylist()) - set(column.values)
            if unknown:
                raise ValueError(f"{name}.{column.name}: unknown values {sorted(unknown)}")
        arrays.append(array)
    if len({len(array) for array in arrays}) > 1:
        lengths = {c.name: len(a) for c, a in zip(table.columns, arrays, strict=True)}
        raise ValueError(f"table {name}: columns differ in length: {lengths}")
    fields = [
        pa.field(column.name, array.type, nullable=column.nullable)
        for column, array in zip(table.columns, arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _arrow_array(column: Column, values: ColumnValues) -> pa.Array | pa.ChunkedArray:
    if _is_coded(values, column.type):
        return values
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return pa.chunked_array([values] if isinstance(values, pa.Array) else values.chunks).cast(
            column.type
        )
    if pa.types.is_integer(column.type):
        # pyarrow would truncate 1.5 in a list; nothing but integers belongs here.
        if isinstance(values, np.ndarray):
            if values.dtype.kind not in "ui" and values.size:
                raise TypeError(f"integers expected, not {values.dtype}")
            if values.size == 0:
                return pa.array([], type=column.type)
        elif any(isinstance(value, (float, np.floating)) for value in values):
            raise TypeError("integers expected, not float")
        return pa.array(values, type=column.type)
    if not pa.types.is_string(column.type):
        return pa.array(values, type=column.type)
    texts = values.tolist() if isinstance(values, np.ndarray) else values
    return pa.array([_text(value) for value in texts], type=column.type)


def _is_coded(values: ColumnValues, value_type: pa.DataType) -> bool:
    """Whether these are a dictionary array of this type, which is written as it is."""
    return (
        isinstance(values, pa.DictionaryArray)
        and values.type.value_type == value_type
        and values.dictionary.null_count == 0
    )


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, str):
        return value if value is None else printable(value)
    raise TypeError(f"text expected, not {type(value).__name__}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _renameat2(source: Path, destination: Path, flags: int) -> bool:
    """Whether the kernel renamed; False where it or the file system cannot do so in this way."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library older than the call
        return False
    at_cwd = -100
    if rename(at_cwd, os.fsencode(source), at_cwd, os.fsencode(destination), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number))


def _rename_to_free_name(source: Path, destination: Path) -> None:
    if not _renameat2(source, destination, _RENAME_NOREPLACE):
        source.rename(destination)


def _exchange(new: Path, old: Path) -> None:
    """Swaps two folders, in one step where the file system can."""
    if _renameat2(new, old, _RENAME_EXCHANGE):
        return
    aside = old.with_name(f".sgxlens-{secrets.token_hex(8)}.old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)
