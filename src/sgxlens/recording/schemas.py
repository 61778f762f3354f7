# SPDX-License-Identifier: Apache-2.0
"""The tables of a recording: the one truth about their columns.

Writer, reader and ``docs/recording-format.md`` follow the definitions in this module. Any change
of a table raises ``SCHEMA_VERSION`` (see ``metadata.py``, which describes ``recording.json``).
"""

from __future__ import annotations

import pyarrow as pa

from sgxlens.recording.attribution_schemas import ATTRIBUTION_TABLES
from sgxlens.recording.columns import (
    GRANULARITY,
    I64,
    PHASE,
    POSITION,
    PROCESS,
    STRING,
    THREAD,
    U32,
    U64,
    Column,
    Table,
)
from sgxlens.recording.format import (
    ACCESS_CLASSES,
    ANNOTATION_KINDS,
    ANY_ACCESS,
    MAPPING_EVENTS,
    MAPPING_KINDS,
    TRAP_KINDS,
)

_TABLES = (
    Table(
        "phases",
        "A phase lasts from one mark to the next; phase 0 is `start`. Each mark starts a new phase,"
        " so that a name may occur more than once.",
        (
            PROCESS,
            Column("phase", U32, "Number of the phase, from 0 in each process."),
            Column("name", STRING, "Name given by the mark."),
            Column("start_position", U64, "Position of its first access (line accesses)."),
            Column("end_position", U64, "Position after its last access (line accesses)."),
            Column(
                "start_ns",
                U64,
                "Start, in nanoseconds since the recording started. The clock is the host's: under"
                " the tracer a program is slower than natively.",
            ),
            Column("end_ns", U64, "End, in nanoseconds since the recording started."),
            Column("instruction_count", U64, "Instructions that the phase executed."),
        ),
    ),
    Table(
        "reuse",
        "Exact reuse-distance histograms. Each granularity has one LRU stack for all classes of"
        " access together; an access is counted under the phase and class in which it is made."
        " Bins that counted nothing are left out.",
        (
            PROCESS,
            PHASE,
            GRANULARITY,
            Column("access", STRING, "Class of the access.", values=ACCESS_CLASSES),
            Column(
                "distance_min",
                U64,
                "Smallest reuse distance of the bin (distinct other blocks, count); null: cold, the"
                " process accesses the block for the first time.",
                nullable=True,
            ),
            Column(
                "distance_max",
                U64,
                "Largest reuse distance of the bin, inclusive (count); null: cold.",
                nullable=True,
            ),
            Column("count", U64, "Accesses in the bin; never 0."),
        ),
    ),
    Table(
        "footprints",
        "Accesses and distinct blocks accessed in a phase, and in the whole recording.",
        (
            PROCESS,
            Column("phase", U32, "Phase; null: the whole recording of the process.", nullable=True),
            GRANULARITY,
            Column(
                "access",
                STRING,
                "Class of the access; `any`: all classes together (a block accessed in two classes"
                " counts once).",
                values=(*ACCESS_CLASSES, ANY_ACCESS),
            ),
            Column(
                "access_count",
                U64,
                "Accesses of the class, also those to blocks that a sampled recording does not"
                " follow.",
            ),
            Column("block_count", U64, "Distinct blocks accessed; of those that are followed."),
            Column(
                "first_touch_count",
                U64,
                "Of these, the blocks that the process had never accessed before; given for `any`"
                " only, else null.",
                nullable=True,
            ),
        ),
    ),
    Table(
        "syscalls",
        "System calls, one row each, in the order in which they were made in each process.",
        (
            PROCESS,
            PHASE,
            THREAD,
            POSITION,
            Column("number", U32, "Number of the system call on x86-64."),
            Column("name", STRING, "Its name; `syscall_N` where it has none here."),
            Column(
                "caller",
                STRING,
                "Object file that holds the instruction which made the call; empty: unknown.",
            ),
            *(
                Column(f"arg{i}", U64, f"Argument {i}, the whole register as passed.")
                for i in range(6)
            ),
            Column(
                "result",
                I64,
                "Result, the negated errno on failure; null: the call did not return.",
                nullable=True,
            ),
            Column("kernel_read_bytes", U64, "Bytes of the program's memory the kernel read."),
            Column("kernel_write_bytes", U64, "Bytes of the program's memory the kernel wrote."),
            Column("path", STRING, "Path passed to the call; null: none.", nullable=True),
        ),
    ),
    Table(
        "traps",
        "Instructions that leave an enclave by an exception, counted.",
        (
            PROCESS,
            PHASE,
            Column("kind", STRING, "Instruction.", values=TRAP_KINDS),
            Column("leaf", U32, "CPUID leaf (EAX); null for the others.", nullable=True),
            Column("subleaf", U32, "CPUID subleaf (ECX); null for the others.", nullable=True),
            Column("count", U64, "Executions."),
        ),
    ),
    Table(
        "clocks",
        "Clocks read by system call, with the value that the program was given.",
        (
            PROCESS,
            THREAD,
            POSITION,
            Column("clock", U32, "Clock as in clock_gettime(2)."),
            Column("seconds", I64, "Seconds of the value."),
            Column("nanoseconds", I64, "Nanoseconds of the value, below a second."),
        ),
    ),
    Table(
        "mappings",
        "Changes of the address space, in order.",
        (
            PROCESS,
            POSITION,
            Column("event", STRING, "What happened to the range.", values=MAPPING_EVENTS),
            Column("address", U64, "Start of the range."),
            Column("size_bytes", U64, "Size of the range in bytes."),
            Column(
                "protection",
                STRING,
                "Permissions from here on, as in `r-x`; empty where the event has none.",
            ),
            Column(
                "kind",
                STRING,
                "What is mapped; empty where the event does not tell.",
                values=(*MAPPING_KINDS, ""),
            ),
            Column("name", STRING, "File mapped; empty: none."),
            Column("file_offset", U64, "Offset of the mapping in its file in bytes."),
            Column("from_address", U64, "Old start of a `remap`; else null.", nullable=True),
        ),
    ),
    Table(
        "threads",
        "Threads, with the share of the recording in which they lived.",
        (
            PROCESS,
            Column("thread", U32, "Number of the thread; numbers of ended threads return."),
            Column("kernel_tid", U32, "Thread id of the kernel."),
            Column("creator", U32, "Thread that made it; null: the first thread.", nullable=True),
            Column("stack_pointer", U64, "Stack pointer at its start."),
            Column("start_position", U64, "Position of its start (line accesses)."),
            Column(
                "end_position",
                U64,
                "Position of its end (line accesses); null: it lived until the process ended.",
                nullable=True,
            ),
        ),
    ),
    Table(
        "signals",
        "Signals delivered to a handler of the program.",
        (
            PROCESS,
            THREAD,
            POSITION,
            Column("signal", U32, "Number of the signal."),
            Column("name", STRING, "Its name, as in `SIGTERM`."),
        ),
    ),
    Table(
        "annotations",
        "What the program said of itself, in order: operators that begin and end, and ranges of"
        " memory. An `operator_note` is about the operator that ended last in its thread.",
        (
            PROCESS,
            THREAD,
            POSITION,
            Column("kind", STRING, "What is said.", values=ANNOTATION_KINDS),
            Column("address", U64, "Start of the range; 0 for operators."),
            Column("size_bytes", U64, "Size of the range in bytes; 0 for operators."),
            Column("text", STRING, "Name, or a JSON object with more; empty: none."),
        ),
    ),
    *ATTRIBUTION_TABLES,
    Table(
        "native_times",
        "Times of the same program run without the tracer. Inferences may be more than recorded."
        " `native` in `recording.json` says where, when, and in which runs operators were timed.",
        (
            Column("run", U32, "Number of the run, from 0."),
            Column("phase", STRING, "Name of the phase."),
            Column("occurrence", U32, "Which phase of that name of the first process, from 0."),
            Column(
                "operator_index",
                U32,
                "Which operator of the phase, as `operators.index`; null: the whole phase.",
                nullable=True,
            ),
            Column("operator_name", STRING, "Its name; null: the whole phase.", nullable=True),
            Column("seconds", pa.float64(), "Time it took, in seconds."),
        ),
    ),
)

#: All tables by name, in the order in which the documentation has them.
TABLES = {table.name: table for table in _TABLES}
#: The tables without which there is no recording.
REQUIRED_TABLES = ("phases", "reuse", "footprints")


def markdown_tables() -> str:
    """The section of ``docs/recording-format.md`` that describes the tables."""
    parts = []
    for table in TABLES.values():
        need = "" if table.name in REQUIRED_TABLES else " (optional)"
        lines = [f"### `{table.file_name}`{need}", "", table.meaning, ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        for column in table.columns:
            kind = f"{column.type}, null" if column.nullable else str(column.type)
            meaning = column.meaning
            if column.values:
                meaning += " One of " + ", ".join(f"`{v}`" if v else "empty" for v in column.values)
                meaning += "."
            lines.append(f"| `{column.name}` | {kind} | {meaning} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
