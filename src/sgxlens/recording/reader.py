# SPDX-License-Identifier: Apache-2.0
"""Reads a recording, and refuses one that is not whole."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording import metadata as metadata_module
from sgxlens.recording.format import (
    ACCESS_CLASSES,
    ACCESSES_FOLDER,
    ANY_ACCESS,
    BLOCK_BYTES,
    METADATA_FILE,
)
from sgxlens.recording.native_times.summary import NativeSummary, phase_keys
from sgxlens.recording.phase_names import is_inference
from sgxlens.recording.schemas import REQUIRED_TABLES, TABLES
from sgxlens.recording.table_file import TableFile
from sgxlens.reuse.histogram import ReuseHistogram

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from sgxlens.recording.metadata import RecordingMetadata

_Derived = TypeVar("_Derived")


@dataclass(frozen=True)
class Phase:
    """A phase of one process: from one mark to the next.

    Positions count line accesses from the start of the process; times are nanoseconds of the host
    since the recording started.
    """

    process: int
    index: int
    name: str
    start_position: int
    end_position: int
    start_ns: int
    end_ns: int
    instruction_count: int

    @property
    def line_access_count(self) -> int:
        """Line accesses made in the phase, of all classes."""
        return self.end_position - self.start_position

    @property
    def elapsed_seconds(self) -> float:
        """Time of the host under the tracer, not the program's native time."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class Operator:
    """One execution of an operator: a row of the table ``operators``, which says what it means."""

    process: int
    number: int
    phase: int
    index: int
    parent: int | None
    thread: int
    name: str
    type: str
    start_position: int
    end_position: int
    input_shapes: str
    output_shapes: str
    parameter_bytes: int | None
    activation_bytes: int | None
    output_bytes: int | None
    source: str


@dataclass(frozen=True)
class Region:
    """A kind of memory: a row of the table ``regions``, which says what it means."""

    process: int
    number: int
    kind: str
    name: str
    first_context: int | None
    role: str
    reason: str


def default_phase(phases: Sequence[Phase]) -> Phase:
    """The last phase called ``inference``, with or without a number; else the longest.

    What comes before the first mark is the start-up of the program: it counts only where nothing
    else was recorded.
    """
    inferences = [p for p in phases if is_inference(p.name)]
    if inferences:
        return inferences[-1]
    marked = [p for p in phases if p.index > 0 and p.line_access_count > 0]
    return max(marked or phases, key=lambda p: p.line_access_count)


def open_recording(path: str | os.PathLike[str]) -> Recording:
    """Opens a recording.

    Tables are read when they are asked for; each is checked then against the checksum that was
    kept when it was written.

    Raises:
        RecordingError: there is no recording at `path`, or it is incomplete, corrupted or made by
            a newer version of sgxlens.
    """
    folder = Path(path)
    metadata = metadata_module.parse(_read_metadata(folder), str(folder))
    for name in REQUIRED_TABLES:
        if name not in metadata.tables:
            raise RecordingError(f"{folder} is corrupted: {METADATA_FILE} lists no table {name}")
    for name, info in metadata.tables.items():
        if name not in TABLES:
            raise RecordingError(f"{folder} is corrupted: it lists an unknown table {name!r}")
        file = folder / TABLES[name].file_name
        try:
            size = file.stat().st_size
        except FileNotFoundError as error:
            raise RecordingError(f"{folder} is incomplete: {file.name} is missing") from error
        except OSError as error:
            raise RecordingError(f"cannot read {file}: {error.strerror}") from error
        if size != info.size_bytes:
            raise RecordingError(
                f"{folder} is corrupted: {file.name} has {size} bytes instead of {info.size_bytes}"
            )
    return Recording(folder, metadata)


def _read_metadata(folder: Path) -> bytes:
    try:
        if not folder.is_dir():
            problem = "is not a folder" if os.path.lexists(folder) else "does not exist"
            raise RecordingError(f"{folder} {problem}: a recording is a folder")
        if not (folder / METADATA_FILE).is_file():
            raise RecordingError(
                f"{folder} is not a complete recording: it has no {METADATA_FILE}, which is"
                " written last"
            )
        return (folder / METADATA_FILE).read_bytes()
    except (OSError, ValueError) as error:
        raise RecordingError(f"cannot read {folder}: {error}") from error


class Recording:
    """A recording on disk; made by `open_recording`.

    Attributes:
        path: its folder.
        metadata: the content of ``recording.json``.
    """

    def __init__(self, path: Path, metadata: RecordingMetadata) -> None:
        self.path = path
        self.metadata = metadata
        self._tables: dict[str, pa.Table] = {}
        self._files: dict[str, TableFile] = {}
        self._derived: dict[Hashable, Any] = {}
        self._reading = {name: Lock() for name in metadata.tables}
        #: Of one that `with_tables` made: what it was made from, and the tables that differ.
        self._origin: Recording | None = None
        self._replaced: dict[str, pa.Table] = {}
        self._changed: WeakSet[Recording] = WeakSet()  # those made from it

    def has_table(self, name: str) -> bool:
        """Whether this kind of fact was recorded; a table may well be there and empty."""
        return name in self.metadata.tables

    def table(self, name: str) -> pa.Table:
        """One table as in ``docs/recording-format.md``, read at the first call.

        Raises:
            RecordingError: the table is damaged or was not recorded.
        """
        if name in self._replaced:
            return self._replaced[name]
        if self._origin is not None:
            return self._origin.table(name)
        if name not in self._tables:
            with self._alone(name) as file:
                self._tables[name] = file.table()
        return self._tables[name]

    def columns(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of a table; those that nothing asks for are never read.

        Columns of few values may be dictionary arrays: they are read in a tenth of the time.

        Raises:
            RecordingError: the table is damaged or was not recorded.
        """
        if name in self._replaced:
            return self._replaced[name].select(list(columns))
        if self._origin is not None:
            return self._origin.columns(name, columns)
        if name in self._tables:
            return self._tables[name].select(list(columns))
        with self._alone(name) as file:
            return file.columns(columns)

    def derived(
        self, key: Hashable, make: Callable[[], _Derived], tables: Sequence[str] | None = None
    ) -> _Derived:
        """What `make` makes of the recording, made once and kept as long as the recording is.

        Args:
            key: what it is, with all that it depends on beside the recording; begins with the
                function or class that makes it.
            make: makes it.
            tables: all tables that it follows from; None: perhaps from any. Where `with_tables` has
                not replaced one of them, it is made once for the original, too.
        """
        origin = self._origin
        if origin and tables is not None and not any(name in self._replaced for name in tables):
            return origin.derived(key, make, tables)
        if key not in self._derived:
            self._derived[key] = make()
        found: _Derived = self._derived[key]
        return found

    def with_tables(self, **tables: pa.Table) -> Recording:
        """The same recording with other rows in some tables: what a changed program would do.

        The rest is read from this one's folder. What other tables say of the rows that are gone,
        the caller answers for.

        Raises:
            UsageError: a table was not recorded, or has other columns.
        """
        for name, table in tables.items():
            if not self.has_table(name) or not table.schema.equals(TABLES[name].schema):
                raise UsageError(f"{self.path}: table {name} is not one that can be replaced so")
        found = Recording(self.path, self.metadata)
        found._origin, found._replaced = self, dict(tables)
        self._changed.add(found)
        return found

    def forget(self) -> None:
        """Lets go of all that was read, and made of it, here and in recordings made from this one.

        Most of what is made refers to its recording: without this, all of it stays until Python
        looks for such cycles. What is asked for again is read again.
        """
        for kept in (self._tables, self._files, self._derived):
            kept.clear()
        for changed in self._changed:
            changed.forget()

    @property
    def original(self) -> Recording | None:
        """What `with_tables` made this from; None: it is as it was recorded."""
        return self._origin

    def replaces(self, table: str) -> bool:
        """Whether `with_tables` gave it other rows in a table than `original` has."""
        return table in self._replaced

    def accesses_path(self, process: int) -> Path:
        """The kept accesses of a process; see `sgxlens.recording.accesses`.

        Raises:
            RecordingError: none were kept, or the file is not as it was written.
        """
        info = self.metadata.kept_streams.get(str(process))
        if info is None:
            raise RecordingError(f"{self.path} kept no accesses of process {process}")
        path = self.path / ACCESSES_FOLDER / f"{process}.zst"
        try:
            found = metadata_module.file_info(path)
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror}") from error
        if found != info:
            raise RecordingError(f"{self.path} is corrupted: {path.name} was changed or cut short")
        return path

    def verify(self) -> None:
        """Reads every table once; RecordingError names the first that is damaged."""
        for name in self.metadata.tables:
            self.table(name)

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of all processes, by process and then in their order."""
        rows = self.table("phases").to_pylist()
        phases = [
            Phase(
                process=row["process"],
                index=row["phase"],
                name=row["name"],
                start_position=row["start_position"],
                end_position=row["end_position"],
                start_ns=row["start_ns"],
                end_ns=row["end_ns"],
                instruction_count=row["instruction_count"],
            )
            for row in rows
        ]
        for phase in phases:
            if phase.end_position < phase.start_position or phase.end_ns < phase.start_ns:
                raise RecordingError(
                    f"{self.path} is corrupted: phase {phase.index} ends before it starts"
                )
        return tuple(sorted(phases, key=lambda phase: (phase.process, phase.index)))

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """The executions of operators, by process and number; none where none were recorded."""
        if not self.has_table("operators"):
            return ()
        rows = self.table("operators").to_pylist()
        found = [Operator(number=row.pop("operator"), **row) for row in rows]
        return tuple(sorted(found, key=lambda operator: (operator.process, operator.number)))

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The regions, by process and number; none where none were recorded."""
        if not self.has_table("regions"):
            return ()
        rows = self.table("regions").to_pylist()
        found = [Region(number=row.pop("region"), **row) for row in rows]
        return tuple(sorted(found, key=lambda region: (region.process, region.number)))

    def select_phases(
        self, phase: int | str | None = None, process: int | None = None
    ) -> tuple[Phase, ...]:
        """The phases with an index or a name (None: all), of one process or of all.

        ``"3"`` is the index 3 where no phase is called so.

        Raises:
            UsageError: there is none; the message lists those there are.
        """
        chosen = self.phases
        if process is not None:
            chosen = tuple(p for p in chosen if p.process == process)
            if not chosen:
                known = ", ".join(str(p) for p in sorted({p.process for p in self.phases}))
                raise UsageError(f"{self.path} has no process {process}: there is {known}")
        if phase is None:
            return chosen
        if isinstance(phase, str) and phase.isdecimal():
            phase = phase if any(p.name == phase for p in self.phases) else int(phase)
        found = tuple(p for p in chosen if phase in (p.index, p.name))
        if not found:
            names = list(dict.fromkeys(f"{p.index} ({p.name})" for p in chosen))
            more = ", ..." if len(names) > 20 else ""
            raise UsageError(
                f"{self.path} has no phase {phase!r}: there are {', '.join(names[:20])}{more}"
            )
        return found

    def reuse(
        self,
        granularity: str = "line",
        phase: int | str | None = None,
        process: int | None = None,
        access: str | Sequence[str] | None = None,
    ) -> ReuseHistogram:
        """The reuse-distance histogram of some of the accesses.

        Every process has LRU stacks of its own; over several processes or phases histograms are
        summed, so that each access keeps the distance it had.

        Args:
            granularity: ``"line"`` (64 bytes) or ``"page"`` (4,096 bytes).
            phase: index of a phase in its process, or a name (all phases of that name); None: all.
            process: None: all processes.
            access: a class of access or several of them (see `ACCESS_CLASSES`); None: all.

        Raises:
            UsageError: no such granularity, phase, process or class.
            RecordingError: the recording is damaged.
        """
        wanted = _access_classes(access)
        table = self.table("reuse")
        mask = self._rows(table, granularity, phase, process)
        if len(wanted) < len(ACCESS_CLASSES):
            mask = pc.and_(mask, pc.is_in(table["access"], pa.array(wanted, pa.string())))
        rows = table.select(["distance_min", "distance_max", "count"]).filter(mask)
        try:
            return _histogram(rows, BLOCK_BYTES[granularity])
        except ValueError as error:
            raise RecordingError(f"{self.path} is corrupted: reuse.parquet: {error}") from error

    def footprint_blocks(
        self,
        granularity: str = "line",
        phase: int | str | None = None,
        process: int | None = None,
        access: str = ANY_ACCESS,
    ) -> int:
        """Distinct blocks that were accessed, summed over processes.

        Args:
            granularity: ``"line"`` (64 bytes) or ``"page"`` (4,096 bytes).
            phase: index or name of one phase in each process; None: the whole recording.
            process: None: the sum over all processes.
            access: a class of access, or ``"any"`` for all together.

        Raises:
            UsageError: no such granularity, phase, process or class, or several phases of a
                process have that name: the distinct blocks of several phases cannot be summed.
            RecordingError: the recording is damaged.
        """
        if access != ANY_ACCESS:
            _access_classes(access)
        if phase is not None:
            found = self.select_phases(phase, process)
            if len({p.process for p in found}) < len(found):
                raise UsageError(f"{len(found)} phases are called {phase!r}: give the index of one")

        def count() -> int:
            table = self.table("footprints")
            mask = self._rows(table, granularity, phase, process)
            if phase is None:
                mask = pc.and_(mask, pc.is_null(table["phase"]))
            mask = pc.and_(mask, pc.equal(table["access"], access))
            return int(pc.sum(table["block_count"].filter(mask)).as_py() or 0)

        return self.derived(
            (Recording.footprint_blocks, granularity, phase, process, access), count
        )

    @cached_property
    def native(self) -> NativeSummary | None:
        """How long the program takes natively; None: it was not timed.

        Raises:
            RecordingError: the recording is damaged.
        """
        info = self.metadata.native
        if info is None:
            return None
        keys = phase_keys(self.phases, self.metadata.processes)
        try:
            return NativeSummary(info, self.table("native_times"), keys)
        except ValueError as error:
            raise RecordingError(
                f"{self.path} is corrupted: native_times.parquet: {error}"
            ) from error

    def _rows(
        self, table: pa.Table, granularity: str, phase: int | str | None, process: int | None
    ) -> pa.ChunkedArray:
        if granularity not in BLOCK_BYTES:
            raise UsageError(f"no granularity {granularity!r}: there is {', '.join(BLOCK_BYTES)}")
        mask = pc.equal(table["granularity"], granularity)
        if phase is None:
            if process is not None:
                self.select_phases(None, process)
                mask = pc.and_(mask, pc.equal(table["process"], process))
            return mask
        # One number a pair, so that many phases of one name take one pass.
        wanted = [(p.process << 32) | p.index for p in self.select_phases(phase, process)]
        pairs = pc.bit_wise_or(
            pc.shift_left(table["process"].cast(pa.uint64()), pa.scalar(32, pa.uint64())),
            table["phase"].cast(pa.uint64()),
        )
        return pc.and_(mask, pc.is_in(pairs, pa.array(wanted, pa.uint64())))

    @contextmanager
    def _alone(self, name: str) -> Iterator[TableFile]:
        """The file of a table, which nobody else reads meanwhile."""
        if name not in TABLES:
            raise UsageError(f"no table is called {name!r}: there are {', '.join(TABLES)}")
        if name not in self.metadata.tables:
            raise RecordingError(f"{self.path} has no table {name}: it was not recorded")
        with self._reading[name]:
            if name not in self._files:
                self._files[name] = TableFile(self.path, TABLES[name], self.metadata.tables[name])
            yield self._files[name]

    def __repr__(self) -> str:
        accesses = sum(p.line_access_count for p in self.metadata.processes)
        return (
            f"<Recording {str(self.path)!r}: {len(self.metadata.processes)} processes,"
            f" {accesses:,} line accesses, {self.metadata.outcome.status}>"
        )

    def _repr_html_(self) -> str:
        from sgxlens.recording.notebook import recording_html

        return recording_html(self)


def _access_classes(access: str | Sequence[str] | None) -> tuple[str, ...]:
    if access is None:
        return ACCESS_CLASSES
    classes = (access,) if isinstance(access, str) else tuple(dict.fromkeys(access))
    for name in classes:
        if name not in ACCESS_CLASSES:
            raise UsageError(f"no access class {name!r}: there are {', '.join(ACCESS_CLASSES)}")
    return classes


def _histogram(rows: pa.Table, block_bytes: int) -> ReuseHistogram:
    is_cold = pc.is_null(rows["distance_min"])
    if pc.any(pc.not_equal(is_cold, pc.is_null(rows["distance_max"]))).as_py():
        raise ValueError("a bin has one bound only")
    cold_count = int(pc.sum(rows["count"].filter(is_cold)).as_py() or 0)
    warm = rows.filter(pc.invert(is_cold))
    bins = warm.group_by(["distance_min", "distance_max"]).aggregate([("count", "sum")])
    bins = bins.sort_by("distance_min")
    return ReuseHistogram(
        _integers(bins["distance_min"]),
        _integers(bins["distance_max"]),
        _integers(bins["count_sum"]),
        cold_count,
        block_bytes,
    )


def _integers(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    return np.asarray(column.to_numpy(), dtype=np.uint64)
