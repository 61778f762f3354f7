# SPDX-License-Identifier: Apache-2.0
"""What a table of a recording is made of, and the columns that several tables have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from sgxlens.recording.format import BLOCK_BYTES

U32 = pa.uint32()
U64 = pa.uint64()
I64 = pa.int64()
STRING = pa.string()


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its name.
        type: its Arrow type.
        meaning: what it means and in which unit.
        nullable: whether values may be missing.
        values: all it may hold; empty: anything.
        encoding: Parquet's name of how its values are written, where that makes a smaller file
            than a dictionary; None: with a dictionary.
    """

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False
    values: tuple[str, ...] = ()
    encoding: str | None = None


@dataclass(frozen=True)
class Table:
    """One table of a recording, kept in ``NAME.parquet``."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def file_name(self) -> str:
        """The file that holds it, in the folder of the recording."""
        return f"{self.name}.parquet"

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema; a column that may not be null is declared so."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])


PROCESS = Column("process", U32, "Process, numbered from 0 in the order of their streams.")
PHASE = Column("phase", U32, "Phase of that process, as in `phases`.")
THREAD = Column("thread", U32, "Thread, as in `threads`.")
POSITION = Column(
    "position",
    U64,
    "Line accesses that the process had made before, of all classes (count).",
    encoding="DELTA_BINARY_PACKED",  # they ascend
)
CONTEXT = Column("context", U32, "Context of that process, as in `contexts`.")
REGION = Column("region", U32, "Region of that process, as in `regions`.")
GRANULARITY = Column(
    "granularity",
    STRING,
    "Size of the blocks: `line` is 64 bytes, `page` 4,096 bytes.",
    values=tuple(BLOCK_BYTES),
)
