# SPDX-License-Identifier: Apache-2.0
"""The tables that say who makes an access, to what memory, and who made the one before."""

from __future__ import annotations

import pyarrow as pa

from sgxlens.recording.columns import (
    CONTEXT,
    GRANULARITY,
    PHASE,
    POSITION,
    PROCESS,
    REGION,
    STRING,
    THREAD,
    U32,
    U64,
    Column,
    Table,
)
from sgxlens.recording.format import (
    ACCESS_CLASSES,
    OPERATOR_SOURCES,
    REGION_KINDS,
    REGION_ROLES,
)

ATTRIBUTION_TABLES = (
    Table(
        "contexts",
        "Who makes an access. A span lasts from one boundary to the next: a mark, the start or end"
        " of an operator, a clock read that may be one. A context is what one thread does in one"
        " span; contexts of the same span may take turns.",
        (
            PROCESS,
            Column("context", U32, "Number of the context, from 0 in each process."),
            PHASE,
            Column("span", U32, "Number of the span, from 0 in each process."),
            THREAD,
            Column(
                "operator",
                U32,
                "Innermost operator, as in `operators`; null: between operators.",
                nullable=True,
            ),
            Column("start_position", U64, "Position of its first access (line accesses)."),
            Column("end_position", U64, "Position after its last access (line accesses)."),
            Column("line_access_count", U64, "Line accesses that it makes."),
            Column("page_access_count", U64, "Page accesses that it makes."),
        ),
    ),
    Table(
        "operators",
        "Executions of an operator, by their starts. They nest where `parent` says so.",
        (
            PROCESS,
            Column("operator", U32, "Number of the execution, from 0 in each process."),
            PHASE,
            Column("index", U32, "Which execution of its phase, from 0."),
            Column("parent", U32, "The operator it is a part of; null: none.", nullable=True),
            THREAD,
            Column("name", STRING, "Name in the model; module path in PyTorch."),
            Column("type", STRING, "Kind of operator, as in `Conv` or `aten::addmm`."),
            Column("start_position", U64, "Position of its first access (line accesses)."),
            Column("end_position", U64, "Position after its last access (line accesses)."),
            Column(
                "input_shapes", STRING, "Types and shapes of its inputs, as JSON; empty: unknown."
            ),
            Column(
                "output_shapes",
                STRING,
                "Types and shapes of its outputs, as JSON; empty: unknown.",
            ),
            Column(
                "parameter_bytes",
                U64,
                "Size of the weights it reads, as the framework says; null: unknown.",
                nullable=True,
            ),
            Column(
                "activation_bytes",
                U64,
                "Size of its other inputs, as the framework says; null: unknown.",
                nullable=True,
            ),
            Column(
                "output_bytes",
                U64,
                "Size of its outputs, as the framework says; null: unknown.",
                nullable=True,
            ),
            Column("source", STRING, "Who told of it.", values=OPERATOR_SOURCES),
        ),
    ),
    Table(
        "regions",
        "Kinds of memory. `extents` says where each of them is.",
        (
            PROCESS,
            Column("region", U32, "Number of the region, from 0 in each process."),
            Column(
                "kind",
                STRING,
                "What it is by its mapping; `constant`: in the inference before the first one"
                " measured only read, and written before it; `produced`: written in that"
                " inference, and used by several spans; `scratch`: written in it, and used by one"
                " span only; `declared`: the program said what it is.",
                values=REGION_KINDS,
            ),
            Column("name", STRING, "File, or name given by the program; empty: none."),
            Column(
                "first_context",
                U32,
                "Of `constant` (`produced`, `scratch`): the context that reads (writes) it first in"
                " that inference, or another of the same span; null: of other kinds.",
                nullable=True,
            ),
            Column("role", STRING, "What it is to an inference.", values=REGION_ROLES),
            Column("reason", STRING, "Why it has that role, in words; empty: by its kind alone."),
        ),
    ),
    Table(
        "extents",
        "Where regions are, by address and time. Where extents overlap, the later one holds.",
        (
            PROCESS,
            REGION,
            Column("address", U64, "Start of the range."),
            Column("size_bytes", U64, "Size of the range in bytes."),
            Column("start_position", U64, "Position from which on it is so (line accesses)."),
        ),
    ),
    Table(
        "reuse_sources",
        "The histograms of `reuse` in more detail: for each context the accesses by region and by"
        " the context in which the block was accessed before. A page is of the region of most of"
        " its lines.",
        (
            PROCESS,
            CONTEXT,
            Column(
                "source",
                U32,
                "Context of the access before to the same block; null: none, the access is cold.",
                nullable=True,
            ),
            GRANULARITY,
            REGION,
            Column("access", STRING, "Class of the access.", values=ACCESS_CLASSES),
            Column("distance_min", U64, "As in `reuse`.", nullable=True),
            Column("distance_max", U64, "As in `reuse`.", nullable=True),
            Column("count", U64, "Accesses in the bin; never 0."),
        ),
    ),
    Table(
        "page_use",
        "Pages and lines that each context accesses, one row for each of its pages.",
        (
            PROCESS,
            CONTEXT,
            Column("page", U64, "Number of the page: its address divided by 4,096."),
            Column("lines", U64, "Which of its 64 lines are accessed: bit i for line i."),
            Column("written_lines", U64, "Which of them are written, by program or kernel."),
            Column("fetched_lines", U64, "Which of them hold instructions that are executed."),
        ),
    ),
    Table(
        "line_use",
        "Bytes of lines that each context accesses, one row for each of its lines that is followed:"
        " of each group of `line_use_interval` (see `recording.json`) lines beside each other it is"
        " one, the same for all contexts, at a place drawn by a hash of the number of the group.",
        (
            PROCESS,
            CONTEXT,
            Column("line", U64, "Number of the line: its address divided by 64."),
            Column("bytes", U64, "Which of its 64 bytes are accessed: bit i for byte i."),
            Column("written_bytes", U64, "Which of them are written, by program or kernel."),
        ),
    ),
    Table(
        "page_visits",
        "Page accesses that can miss in an enclave page cache of a useful size. A visit starts with"
        " an access to a page that is not among the `visit_page_count` (see `recording.json`) pages"
        " accessed last; it ends when the page is no longer among them. In order of their starts."
        " Accesses are taken in stretches, which never reach across a change of mappings, phase or"
        " context: `position` is that of the stretch, up to about 60,000 line accesses early.",
        (
            PROCESS,
            CONTEXT,
            POSITION,
            Column(
                "page",
                U64,
                "Number of the page: its address divided by 4,096.",
                encoding="PLAIN",  # what repeats are sequences of pages, which zstd finds
            ),
            Column("access", STRING, "Class of the access that starts it.", values=ACCESS_CLASSES),
            Column("written", pa.bool_(), "Whether the page is written during the visit."),
            Column(
                "ended",
                U32,
                "How many visits before this one the visit started that ends here, when this one"
                " starts; null: none ends.",
                nullable=True,
            ),
            Column(
                "idle",
                U32,
                "How many visits, with this one, have started since the last access to the page"
                " whose visit ends here; null: none ends.",
                nullable=True,
            ),
        ),
    ),
)
