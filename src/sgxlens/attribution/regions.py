# SPDX-License-Identifier: Apache-2.0
"""What kinds of memory a phase uses, and which operators use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.attribution.facts import FACT_TABLES, NO_OPERATOR, facts_of
from sgxlens.attribution.usage import Usage, blocks_by, check_memory, usages
from sgxlens.recording.bitmaps import popcount, total_by, union

if TYPE_CHECKING:
    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Operator, Phase, Recording, Region


@dataclass(frozen=True)
class RegionRow:
    """One region, or all of a role.

    Attributes:
        region: what the table ``regions`` says of it; None: a role, or lines that no region has.
        role: its role.
        line, page: its accesses. Pages that lie in several regions count in each of them in the
            footprints; in the accesses a page is of one region in each context.
    """

    region: Region | None
    role: str
    line: Usage
    page: Usage


@dataclass(frozen=True, eq=False)
class RegionUses:
    """Which operators use which regions: arrays of one length, by operator and region.

    Attributes:
        operator: index into `RegionTable.operators`; -1: between operators.
        region: index into `RegionTable.regions`; -1: no region is known.
        line_count: distinct lines accessed.
        read_line_count: those of them that the operator never writes: it surely reads (or
            executes) them. Lines that it both reads and writes count as written.
        written_line_count: those of them that it writes.
    """

    operator: Integers
    region: Integers
    line_count: Integers
    read_line_count: Integers
    written_line_count: Integers


@dataclass(frozen=True)
class RegionTable:
    """The regions that a phase uses.

    Accesses, misses and sources of `rows` add up to those of the phase, and so do those of
    `roles`. Footprints of lines do, too, unless a line changes its region during the phase.

    Attributes:
        phase: the phase.
        memory_bytes: size of the memory that the misses are of; None: none was asked for.
        operators: the operators of the phase, in the order of their starts.
        regions: all regions of the process.
        rows: regions that the phase accesses, the largest line footprint first.
        roles: the same by role.
        uses: which operators use which regions.
    """

    phase: Phase
    memory_bytes: int | None
    operators: tuple[Operator, ...]
    regions: tuple[Region, ...]
    rows: tuple[RegionRow, ...]
    roles: tuple[RegionRow, ...]
    uses: RegionUses

    @property
    def unclassified_share(self) -> float:
        """Share of the line footprint whose role is not known, 0 to 1; 0 of no footprint."""
        lines = {row.role: row.line.block_count for row in self.roles}
        total = sum(lines.values())
        return lines.get("unclassified", 0) / total if total else 0.0

    def bytes_by_operator(self, role: str) -> Integers:
        """For each operator, and last between them, the bytes of the lines of a role it uses."""
        has_role = np.array([*(r.role == role for r in self.regions), role == "unclassified"])
        chosen = has_role[self.uses.region]
        count = len(self.operators) + 1
        operator = self.uses.operator[chosen] % count
        return total_by(operator, self.uses.line_count[chosen] * 64, count)


def region_table(
    recording: Recording,
    phase: Phase | int | str,
    memory_bytes: int | None = None,
    process: int | None = None,
) -> RegionTable:
    """Accesses, footprints, misses and reuse of each region in a phase, and who uses it.

    Arguments and errors are those of `operator_table`.
    """
    check_memory(memory_bytes)
    facts = facts_of(recording, phase, process)
    return recording.derived(
        (region_table, facts.phase, memory_bytes),
        lambda: _region_table(facts, memory_bytes),
        FACT_TABLES,
    )


def _region_table(facts: PhaseFacts, memory_bytes: int | None) -> RegionTable:
    regions = len(facts.regions)
    roles, role_of = facts.roles
    # The last group is of the lines that no region has.
    by_region = _usages(facts, np.arange(regions + 1), memory_bytes)
    by_role = _usages(facts, role_of, memory_bytes)
    rows = [
        RegionRow(
            region=facts.regions[i] if i < regions else None,
            role=roles[role_of[i]],
            line=line,
            page=page,
        )
        for i, (line, page) in enumerate(by_region)
    ]
    role_rows = [
        RegionRow(None, role, line, page) for role, (line, page) in zip(roles, by_role, strict=True)
    ]
    return RegionTable(
        phase=facts.phase,
        memory_bytes=memory_bytes,
        operators=facts.operators,
        regions=facts.regions,
        rows=_largest_first(rows),
        roles=_largest_first(role_rows),
        uses=_uses(facts),
    )


def _usages(
    facts: PhaseFacts, group_of: Integers, memory_bytes: int | None
) -> list[tuple[Usage, Usage]]:
    """Usage by group; `group_of` has the group of each region, and last of `NO_REGION`."""
    pieces = facts.use_pieces
    count = int(group_of.max()) + 1
    blocks = blocks_by(
        facts,
        group_of[pieces.region],
        count,
        page=facts.uses.page[pieces.use],
        lines=pieces.lines,
        written=pieces.written,
    )
    line, page = (
        usages(facts.reuse[name], group_of[facts.reuse[name].region], blocks[name], memory_bytes)
        for name in ("line", "page")
    )
    return list(zip(line, page, strict=True))


def _largest_first(rows: list[RegionRow]) -> tuple[RegionRow, ...]:
    # A page may be of a region none of whose lines on it are accessed.
    used = [r for r in rows if r.line.block_count or r.line.access_count or r.page.access_count]
    return tuple(sorted(used, key=lambda row: -row.line.block_count))


def _uses(facts: PhaseFacts) -> RegionUses:
    uses, pieces = facts.uses, facts.use_pieces
    operators, regions = len(facts.operators) + 1, len(facts.regions) + 1
    pages = max(facts.pages.size, 1)
    operator = facts.contexts.operator[uses.context[pieces.use]] % operators
    pair = operator * regions + pieces.region % regions
    key, lines, written = union(pair * pages + uses.page[pieces.use], pieces.lines, pieces.written)
    pairs, of_key = np.unique(key // pages, return_inverse=True)
    line_count, written_count = (
        total_by(of_key, popcount(bitmap), pairs.size) for bitmap in (lines, written)
    )
    operator, region = pairs // regions, pairs % regions
    return RegionUses(
        operator=np.where(operator == operators - 1, NO_OPERATOR, operator),
        region=np.where(region == regions - 1, -1, region),
        line_count=line_count,
        read_line_count=line_count - written_count,
        written_line_count=written_count,
    )
