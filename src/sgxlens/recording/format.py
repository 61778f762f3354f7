# SPDX-License-Identifier: Apache-2.0
"""The tables of a recording: the one truth about their columns.

Writer, reader and ``docs/recording-format.md`` follow the definitions in this module. Any change
of a table raises ``SCHEMA_VERSION`` (see ``metadata.py``, which describes ``recording.json``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

SCHEMA_NAME = "sgxlens-recording"
SCHEMA_VERSION = 3
METADATA_FILE = "recording.json"
ACCESSES_FOLDER = "accesses"

#: The classes of access, in the order of their numbers.
ACCESS_CLASSES = ("fetch", "load", "store", "kernel_read", "kernel_write")
#: All classes together, where a count of distinct blocks cannot be summed over classes.
ANY_ACCESS = "any"
#: Bytes of a block of each granularity.
LINE_BYTES, PAGE_BYTES = 64, 4096
BLOCK_BYTES = {"line": LINE_BYTES, "page": PAGE_BYTES}

TRAP_KINDS = ("cpuid", "rdtsc", "rdtscp")
MAPPING_EVENTS = ("map", "unmap", "protect", "remap", "break_grow", "break_shrink")
MAPPING_KINDS = ("file", "anonymous", "heap", "stack", "shared_memory")
#: What a region is by its mapping, by how the program used it, or by what the program said.
REGION_KINDS = (
    "code",
    *MAPPING_KINDS,
    "constant",
    "produced",
    "scratch",
    "declared",
    "unmapped",
)
#: What a region is to an inference.
REGION_ROLES = (
    "weights",
    "activations",
    "input",
    "output",
    "scratch",
    "runtime",
    "code",
    "stack",
    "file",
    "unclassified",
)
#: In the order of their numbers, from 1.
ANNOTATION_KINDS = ("operator_begin", "operator_end", "region", "region_end", "operator_note")
OPERATOR_SOURCES = ("onnxruntime_profile", "torch", "annotation")

_U32 = pa.uint32()
_U64 = pa.uint64()
_I64 = pa.int64()
_STRING = pa.string()


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


_PROCESS = Column("process", _U32, "Process, numbered from 0 in the order of their streams.")
_PHASE = Column("phase", _U32, "Phase of that process, as in `phases`.")
_THREAD = Column("thread", _U32, "Thread, as in `threads`.")
_POSITION = Column(
    "position",
    _U64,
    "Line accesses that the process had made before, of all classes (count).",
    encoding="DELTA_BINARY_PACKED",  # they ascend
)
_CONTEXT = Column("context", _U32, "Context of that process, as in `contexts`.")
_REGION = Column("region", _U32, "Region of that process, as in `regions`.")
_GRANULARITY = Column(
    "granularity",
    _STRING,
    "Size of the blocks: `line` is 64 bytes, `page` 4,096 bytes.",
    values=tuple(BLOCK_BYTES),
)

_TABLES = (
    Table(
        "phases",
        "A phase lasts from one mark to the next; phase 0 is `start`. Each mark starts a new phase,"
        " so that a name may occur more than once.",
        (
            _PROCESS,
            Column("phase", _U32, "Number of the phase, from 0 in each process."),
            Column("name", _STRING, "Name given by the mark."),
            Column("start_position", _U64, "Position of its first access (line accesses)."),
            Column("end_position", _U64, "Position after its last access (line accesses)."),
            Column(
                "start_ns",
                _U64,
                "Start, in nanoseconds since the recording started. The clock is the host's: under"
                " the tracer a program is slower than natively.",
            ),
            Column("end_ns", _U64, "End, in nanoseconds since the recording started."),
            Column("instruction_count", _U64, "Instructions that the phase executed."),
        ),
    ),
    Table(
        "reuse",
        "Exact reuse-distance histograms. Each granularity has one LRU stack for all classes of"
        " access together; an access is counted under the phase and class in which it is made."
        " Bins that counted nothing are left out.",
        (
            _PROCESS,
            _PHASE,
            _GRANULARITY,
            Column("access", _STRING, "Class of the access.", values=ACCESS_CLASSES),
            Column(
                "distance_min",
                _U64,
                "Smallest reuse distance of the bin (distinct other blocks, count); null: cold, the"
                " process accesses the block for the first time.",
                nullable=True,
            ),
            Column(
                "distance_max",
                _U64,
                "Largest reuse distance of the bin, inclusive (count); null: cold.",
                nullable=True,
            ),
            Column("count", _U64, "Accesses in the bin; never 0."),
        ),
    ),
    Table(
        "footprints",
        "Accesses and distinct blocks accessed in a phase, and in the whole recording.",
        (
            _PROCESS,
            Column(
                "phase", _U32, "Phase; null: the whole recording of the process.", nullable=True
            ),
            _GRANULARITY,
            Column(
                "access",
                _STRING,
                "Class of the access; `any`: all classes together (a block accessed in two classes"
                " counts once).",
                values=(*ACCESS_CLASSES, ANY_ACCESS),
            ),
            Column(
                "access_count",
                _U64,
                "Accesses of the class, also those to blocks that a sampled recording does not"
                " follow.",
            ),
            Column("block_count", _U64, "Distinct blocks accessed; of those that are followed."),
            Column(
                "first_touch_count",
                _U64,
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
            _PROCESS,
            _PHASE,
            _THREAD,
            _POSITION,
            Column("number", _U32, "Number of the system call on x86-64."),
            Column("name", _STRING, "Its name; `syscall_N` where it has none here."),
            Column(
                "caller",
                _STRING,
                "Object file that holds the instruction which made the call; empty: unknown.",
            ),
            *(
                Column(f"arg{i}", _U64, f"Argument {i}, the whole register as passed.")
                for i in range(6)
            ),
            Column(
                "result",
                _I64,
                "Result, the negated errno on failure; null: the call did not return.",
                nullable=True,
            ),
            Column("kernel_read_bytes", _U64, "Bytes of the program's memory the kernel read."),
            Column("kernel_write_bytes", _U64, "Bytes of the program's memory the kernel wrote."),
            Column("path", _STRING, "Path passed to the call; null: none.", nullable=True),
        ),
    ),
    Table(
        "traps",
        "Instructions that leave an enclave by an exception, counted.",
        (
            _PROCESS,
            _PHASE,
            Column("kind", _STRING, "Instruction.", values=TRAP_KINDS),
            Column("leaf", _U32, "CPUID leaf (EAX); null for the others.", nullable=True),
            Column("subleaf", _U32, "CPUID subleaf (ECX); null for the others.", nullable=True),
            Column("count", _U64, "Executions."),
        ),
    ),
    Table(
        "clocks",
        "Clocks read by system call, with the value that the program was given.",
        (
            _PROCESS,
            _THREAD,
            _POSITION,
            Column("clock", _U32, "Clock as in clock_gettime(2)."),
            Column("seconds", _I64, "Seconds of the value."),
            Column("nanoseconds", _I64, "Nanoseconds of the value, below a second."),
        ),
    ),
    Table(
        "mappings",
        "Changes of the address space, in order.",
        (
            _PROCESS,
            _POSITION,
            Column("event", _STRING, "What happened to the range.", values=MAPPING_EVENTS),
            Column("address", _U64, "Start of the range."),
            Column("size_bytes", _U64, "Size of the range in bytes."),
            Column(
                "protection",
                _STRING,
                "Permissions from here on, as in `r-x`; empty where the event has none.",
            ),
            Column(
                "kind",
                _STRING,
                "What is mapped; empty where the event does not tell.",
                values=(*MAPPING_KINDS, ""),
            ),
            Column("name", _STRING, "File mapped; empty: none."),
            Column("file_offset", _U64, "Offset of the mapping in its file in bytes."),
            Column("from_address", _U64, "Old start of a `remap`; else null.", nullable=True),
        ),
    ),
    Table(
        "threads",
        "Threads, with the share of the recording in which they lived.",
        (
            _PROCESS,
            Column("thread", _U32, "Number of the thread; numbers of ended threads return."),
            Column("kernel_tid", _U32, "Thread id of the kernel."),
            Column("creator", _U32, "Thread that made it; null: the first thread.", nullable=True),
            Column("stack_pointer", _U64, "Stack pointer at its start."),
            Column("start_position", _U64, "Position of its start (line accesses)."),
            Column(
                "end_position",
                _U64,
                "Position of its end (line accesses); null: it lived until the process ended.",
                nullable=True,
            ),
        ),
    ),
    Table(
        "signals",
        "Signals delivered to a handler of the program.",
        (
            _PROCESS,
            _THREAD,
            _POSITION,
            Column("signal", _U32, "Number of the signal."),
            Column("name", _STRING, "Its name, as in `SIGTERM`."),
        ),
    ),
    Table(
        "annotations",
        "What the program said of itself, in order: operators that begin and end, and ranges of"
        " memory. An `operator_note` is about the operator that ended last in its thread.",
        (
            _PROCESS,
            _THREAD,
            _POSITION,
            Column("kind", _STRING, "What is said.", values=ANNOTATION_KINDS),
            Column("address", _U64, "Start of the range; 0 for operators."),
            Column("size_bytes", _U64, "Size of the range in bytes; 0 for operators."),
            Column("text", _STRING, "Name, or a JSON object with more; empty: none."),
        ),
    ),
    Table(
        "contexts",
        "Who makes an access. A span lasts from one boundary to the next: a mark, the start or end"
        " of an operator, a clock read that may be one. A context is what one thread does in one"
        " span; contexts of the same span may take turns.",
        (
            _PROCESS,
            Column("context", _U32, "Number of the context, from 0 in each process."),
            _PHASE,
            Column("span", _U32, "Number of the span, from 0 in each process."),
            _THREAD,
            Column(
                "operator",
                _U32,
                "Innermost operator, as in `operators`; null: between operators.",
                nullable=True,
            ),
            Column("start_position", _U64, "Position of its first access (line accesses)."),
            Column("end_position", _U64, "Position after its last access (line accesses)."),
            Column("line_access_count", _U64, "Line accesses that it makes."),
            Column("page_access_count", _U64, "Page accesses that it makes."),
        ),
    ),
    Table(
        "operators",
        "Executions of an operator, by their starts. They nest where `parent` says so.",
        (
            _PROCESS,
            Column("operator", _U32, "Number of the execution, from 0 in each process."),
            _PHASE,
            Column("index", _U32, "Which execution of its phase, from 0."),
            Column("parent", _U32, "The operator it is a part of; null: none.", nullable=True),
            _THREAD,
            Column("name", _STRING, "Name in the model; module path in PyTorch."),
            Column("type", _STRING, "Kind of operator, as in `Conv` or `aten::addmm`."),
            Column("start_position", _U64, "Position of its first access (line accesses)."),
            Column("end_position", _U64, "Position after its last access (line accesses)."),
            Column(
                "input_shapes", _STRING, "Types and shapes of its inputs, as JSON; empty: unknown."
            ),
            Column(
                "output_shapes",
                _STRING,
                "Types and shapes of its outputs, as JSON; empty: unknown.",
            ),
            Column(
                "parameter_bytes",
                _U64,
                "Size of the weights it reads, as the framework says; null: unknown.",
                nullable=True,
            ),
            Column(
                "activation_bytes",
                _U64,
                "Size of its other inputs, as the framework says; null: unknown.",
                nullable=True,
            ),
            Column(
                "output_bytes",
                _U64,
                "Size of its outputs, as the framework says; null: unknown.",
                nullable=True,
            ),
            Column("source", _STRING, "Who told of it.", values=OPERATOR_SOURCES),
        ),
    ),
    Table(
        "regions",
        "Kinds of memory. `extents` says where each of them is.",
        (
            _PROCESS,
            Column("region", _U32, "Number of the region, from 0 in each process."),
            Column(
                "kind",
                _STRING,
                "What it is by its mapping; `constant`: in the inference before the first one"
                " measured only read, and written before it; `produced`: written in that"
                " inference, and used by several spans; `scratch`: written in it, and used by one"
                " span only; `declared`: the program said what it is.",
                values=REGION_KINDS,
            ),
            Column("name", _STRING, "File, or name given by the program; empty: none."),
            Column(
                "first_context",
                _U32,
                "Of `constant` (`produced`, `scratch`): the context that reads (writes) it first in"
                " that inference, or another of the same span; null: of other kinds.",
                nullable=True,
            ),
            Column("role", _STRING, "What it is to an inference.", values=REGION_ROLES),
            Column("reason", _STRING, "Why it has that role, in words; empty: by its kind alone."),
        ),
    ),
    Table(
        "extents",
        "Where regions are, by address and time. Where extents overlap, the later one holds.",
        (
            _PROCESS,
            _REGION,
            Column("address", _U64, "Start of the range."),
            Column("size_bytes", _U64, "Size of the range in bytes."),
            Column("start_position", _U64, "Position from which on it is so (line accesses)."),
        ),
    ),
    Table(
        "reuse_sources",
        "The histograms of `reuse` in more detail: for each context the accesses by region and by"
        " the context in which the block was accessed before. A page is of the region of most of"
        " its lines.",
        (
            _PROCESS,
            _CONTEXT,
            Column(
                "source",
                _U32,
                "Context of the access before to the same block; null: none, the access is cold.",
                nullable=True,
            ),
            _GRANULARITY,
            _REGION,
            Column("access", _STRING, "Class of the access.", values=ACCESS_CLASSES),
            Column("distance_min", _U64, "As in `reuse`.", nullable=True),
            Column("distance_max", _U64, "As in `reuse`.", nullable=True),
            Column("count", _U64, "Accesses in the bin; never 0."),
        ),
    ),
    Table(
        "page_use",
        "Pages and lines that each context accesses, one row for each of its pages.",
        (
            _PROCESS,
            _CONTEXT,
            Column("page", _U64, "Number of the page: its address divided by 4,096."),
            Column("lines", _U64, "Which of its 64 lines are accessed: bit i for line i."),
            Column("written_lines", _U64, "Which of them are written, by program or kernel."),
            Column("fetched_lines", _U64, "Which of them hold instructions that are executed."),
        ),
    ),
    Table(
        "line_use",
        "Bytes of lines that each context accesses, one row for each of its lines that is followed:"
        " of each group of `line_use_interval` (see `recording.json`) lines beside each other it is"
        " one, the same for all contexts, at a place drawn by a hash of the number of the group.",
        (
            _PROCESS,
            _CONTEXT,
            Column("line", _U64, "Number of the line: its address divided by 64."),
            Column("bytes", _U64, "Which of its 64 bytes are accessed: bit i for byte i."),
            Column("written_bytes", _U64, "Which of them are written, by program or kernel."),
        ),
    ),
    Table(
        "page_visits",
        "Page accesses that can miss in an enclave page cache of a useful size. A visit starts with"
        " an access to a page that is not among the `visit_page_count` (see `recording.json`) pages"
        " accessed last; it ends when the page is no longer among them. In order of their starts.",
        (
            _PROCESS,
            _CONTEXT,
            _POSITION,
            Column(
                "page",
                _U64,
                "Number of the page: its address divided by 4,096.",
                encoding="PLAIN",  # what repeats are sequences of pages, which zstd finds
            ),
            Column("access", _STRING, "Class of the access that starts it.", values=ACCESS_CLASSES),
            Column("written", pa.bool_(), "Whether the page is written during the visit."),
            Column(
                "ended",
                _U32,
                "How many visits before this one the visit started that ends here, when this one"
                " starts; null: none ends.",
                nullable=True,
            ),
            Column(
                "idle",
                _U32,
                "How many visits, with this one, have started since the last access to the page"
                " whose visit ends here; null: none ends.",
                nullable=True,
            ),
        ),
    ),
    Table(
        "native_times",
        "Times of the same program run without the tracer. Inferences may be more than recorded."
        " `native` in `recording.json` says where, when, and in which runs operators were timed.",
        (
            Column("run", _U32, "Number of the run, from 0."),
            Column("phase", _STRING, "Name of the phase."),
            Column("occurrence", _U32, "Which phase of that name of the first process, from 0."),
            Column(
                "operator_index",
                _U32,
                "Which operator of the phase, as `operators.index`; null: the whole phase.",
                nullable=True,
            ),
            Column("operator_name", _STRING, "Its name; null: the whole phase.", nullable=True),
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
