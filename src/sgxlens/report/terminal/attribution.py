# SPDX-License-Identifier: Apache-2.0
"""The parts of a terminal report about operators, regions and reuse sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sgxlens.report.ordering import ordered
from sgxlens.report.terminal.layout import fitted_table, share, titled, with_rest
from sgxlens.report.terminal.memory import memory
from sgxlens.report.titles import SOURCE_TITLES
from sgxlens.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from sgxlens.report.attribution_section import (
        AttributionSection,
        Granularity,
        MemoryUse,
        OperatorEntry,
        OperatorSection,
        RegionEntry,
        RegionSection,
        SourceSection,
        Tensor,
    )
    from sgxlens.report.document import Document
    from sgxlens.report.values import CountRange

#: From this width on there is room for shapes.
_WIDE = 96
_FLOWS_MAX = 5
#: The columns of the table of operators' sources: what they count together.
_SOURCE_COLUMNS = {
    "same\nop.": ("same_operator",),
    "earlier\nop.": ("earlier_operator",),
    "prev.\ninf.": ("previous_inference",),
    "other": ("outside_operators", "warm_up", "load", "other_phase"),
    "cold": ("cold",),
}


def attribution(
    document: Document,
    section: AttributionSection,
    width: int,
    top: int,
    order: str,
    *,
    ascii_only: bool,
) -> Iterable[RenderableType]:
    """Who accesses what: `top` rows of each table, in an order of `sgxlens.report.ordering`."""
    at_bytes = document.reuse.at_bytes
    size = f" at {format_bytes(at_bytes)}" if at_bytes is not None else ""
    by = order.replace("-", " ") + (size if "misses" in order else "")
    operators = section.operators
    if operators is None:
        yield titled("Operators", Text("None: nothing told of any (a model or annotations do)."))
    else:
        rows = ordered(operators.rows, order)
        yield titled(f"Operators by {by}", _operators(operators, rows[:top], width))
        yield titled(
            "Where their lines were accessed before" + (f", and misses{size}" if size else ""),
            _operator_sources(operators, rows[:top], width),
        )
        if any(row.native_time for row in operators.rows):
            yield titled("Native time of operators", _operator_times(operators, rows, width, top))
    # Nobody knows the time of a region.
    by = "footprint" if order == "time" else by
    yield titled(
        f"Memory by role, and regions by {by}",
        _regions(section.regions, operators, width, top, order),
    )
    yield titled(
        f"Accesses{f' and misses{size}' if size else ''} by where the block was accessed before",
        _sources(section.sources, operators, width, ascii_only=ascii_only),
    )
    yield from memory(document, section, width, ascii_only=ascii_only)


def _operators(
    section: OperatorSection, rows: Sequence[OperatorEntry], width: int
) -> RenderableType:
    is_wide = width >= _WIDE
    total = section.total["line"].access_count
    headings = ["#", "operator", "type", *(["output"] if is_wide else [])]
    headings += ["accesses", "lines", "pages", "weights", "activ."]

    def cells(use: Mapping[Granularity, MemoryUse]) -> list[str]:
        return [
            share(use["line"].access_count, total),
            format_bytes(use["line"].footprint_bytes),
            format_bytes(use["page"].footprint_bytes),
        ]

    table = [
        [
            str(row.index),
            row.name,
            row.type,
            *([_shapes(row.outputs)] if is_wide else []),
            *cells(row.use),
            *(_role_bytes(row, role) for role in ("weights", "activations")),
        ]
        for row in rows
    ]
    blank = [""] * (2 if is_wide else 1)
    table.append(["", "(no operator)", *blank, *cells(section.between), "", ""])
    table.append(["", "(all)", *blank, *cells(section.total), "", ""])
    text = (1, 2, 3) if is_wide else (1, 2)
    shown = fitted_table(headings, table, width, text)
    return with_rest(shown, len(section.rows) - len(rows), "operators")


def _operator_sources(
    section: OperatorSection, rows: Sequence[OperatorEntry], width: int
) -> RenderableType:
    headings = ["#", "operator", *_SOURCE_COLUMNS, *_miss_headings(section.total)]

    def cells(use: Mapping[Granularity, MemoryUse]) -> list[str]:
        counts = use["line"].access_counts_by_source
        total = use["line"].access_count
        shares = [
            share(sum(counts[kind] for kind in kinds), total) for kinds in _SOURCE_COLUMNS.values()
        ]
        return [*shares, *_misses(use)]

    table = [[str(row.index), row.name, *cells(row.use)] for row in rows]
    table.append(["", "(no operator)", *cells(section.between)])
    table.append(["", "(all)", *cells(section.total)])
    return fitted_table(headings, table, width, (1,))


def _operator_times(
    section: OperatorSection, rows: Sequence[OperatorEntry], width: int, top: int
) -> RenderableType:
    timed = sorted(
        (row for row in rows if row.native_time is not None),
        key=lambda row: -(row.native_time.median_seconds if row.native_time else 0),
    )
    total = sum(row.native_time.median_seconds for row in timed if row.native_time)
    table = []
    for row in timed[:top]:
        time = row.native_time
        if time is None:
            continue
        table.append(
            [
                str(row.index),
                row.name,
                row.type,
                format_seconds(time.median_seconds),
                share(time.median_seconds, total),
                format_seconds(time.min_seconds),
                format_seconds(time.max_seconds),
                format_count(time.sample_count),
            ]
        )
    headings = ("#", "operator", "type", "median", "share", "least", "most", "times")
    shown = fitted_table(headings, table, width, (1, 2))
    untimed = len(section.rows) - len(timed)
    parts = [with_rest(shown, len(timed) - top, "operators")]
    if untimed:
        parts.append(Text(f"Not timed natively: {untimed:,} operators."))
    return Group(*parts)


def _regions(
    section: RegionSection, operators: OperatorSection | None, width: int, top: int, order: str
) -> RenderableType:
    total = sum(row.use["line"].access_count for row in section.roles)
    misses = _miss_headings(section.roles[0].use) if section.roles else []

    def cells(use: Mapping[Granularity, MemoryUse]) -> list[str]:
        return [
            share(use["line"].access_count, total),
            format_bytes(use["line"].footprint_bytes),
            format_bytes(use["page"].footprint_bytes),
        ]

    headings = ["accesses", "lines", "pages"]
    roles = fitted_table(
        ["role", *headings, "written", *misses],
        [
            [row.role, *cells(row.use), _written(row.use["line"]), *_misses(row.use)]
            for row in section.roles
        ],
        width,
        (),
        whole=(0,),
    )
    names = {row.index: row.name for row in operators.rows} if operators is not None else {}
    rows = ordered(section.rows, order)
    # Misses take the room of what is written.
    regions = fitted_table(
        ["role", "region", *headings, *(misses or ["written"])],
        [
            [
                row.role,
                _region_name(row, names),
                *cells(row.use),
                *(_misses(row.use) if misses else [_written(row.use["line"])]),
            ]
            for row in rows[:top]
        ],
        width,
        (1,),
        whole=(0,),
    )
    unclassified = share(section.unclassified_ratio, 1)
    return Group(
        roles,
        Text(f"Unclassified: {unclassified} of the lines.\n"),
        with_rest(regions, len(rows) - top, "regions"),
    )


def _region_name(row: RegionEntry, operators: Mapping[int, str]) -> str:
    """What the role does not tell: its file, or the operator that reads or writes most of it."""
    kind = "" if row.kind == row.role else row.kind
    if row.name:
        # Of a file the last part tells most.
        return f"{kind} {row.name.rsplit('/', 1)[-1] or row.name}"
    if row.kind not in ("constant", "produced"):
        return row.kind
    users = [
        operators[user.operator_index]
        for user in row.users
        if user.operator_index is not None
        and (user.written_line_count if row.kind == "produced" else user.read_line_count)
    ]
    if not users:
        return row.kind
    return f"by {users[0]}{f' +{len(users) - 1}' if len(users) > 1 else ''}"


def _written(use: MemoryUse) -> str:
    return share(use.written_block_count, use.block_count)


def _sources(
    section: SourceSection, operators: OperatorSection | None, width: int, ascii_only: bool
) -> RenderableType:
    names: tuple[Granularity, ...] = ("line", "page")
    totals = {name: sum(row.counts[name].access_count for row in section.rows) for name in names}
    has_misses = section.rows[0].counts["line"].miss_count is not None
    headings = ["accessed before in", "line\naccesses", "page\naccesses"]
    if has_misses:
        headings += ["line\nmisses", "page\nmisses"]
    table = []
    for row in section.rows:
        if not any(row.counts[name].access_count for name in names):
            continue
        shares = [share(row.counts[name].access_count, totals[name]) for name in names]
        misses = [_range(row.counts[name].miss_count) for name in names] if has_misses else []
        table.append([SOURCE_TITLES.get(row.source, row.source), *shares, *misses])
    parts: list[RenderableType] = [fitted_table(headings, table, width, (0,))]
    flows = sorted(
        section.flows["line"],
        key=lambda flow: (-(flow.miss_count.high if flow.miss_count else 0), -flow.access_count),
    )[:_FLOWS_MAX]
    if operators is not None and flows:
        by_index = {row.index: row.name for row in operators.rows}
        shown = []
        for flow in flows:
            misses = [_range(flow.miss_count)] if has_misses else []
            shown.append(
                [
                    by_index[flow.producer_index],
                    by_index[flow.consumer_index],
                    format_count(flow.access_count),
                    share(flow.access_count, totals["line"]),
                    *misses,
                ]
            )
        arrow = "then" if ascii_only else "→ operator"
        headings = [
            "from operator",
            arrow,
            "accesses",
            "share",
            *(["misses"] if has_misses else []),
        ]
        what = "misses" if has_misses else "accesses"
        parts.append(Text(f"\nMost line {what} from one operator to a later one"))
        parts.append(
            with_rest(
                fitted_table(headings, shown, width, (0, 1)),
                len(section.flows["line"]) - len(flows),
                "pairs",
            )
        )
    return Group(*parts)


def _miss_headings(use: Mapping[Granularity, MemoryUse]) -> list[str]:
    return ["line\nmisses", "page\nmisses"] if use["line"].miss_count is not None else []


def _misses(use: Mapping[Granularity, MemoryUse]) -> list[str]:
    if use["line"].miss_count is None:
        return []
    return [_range(use["line"].miss_count), _range(use["page"].miss_count)]


def _range(count: CountRange | None) -> str:
    if count is None:
        return ""
    high = format_count(count.high)
    if count.low == count.high:
        return high
    low = format_count(count.low)
    # The unit once: 1.2-1.4 M.
    if " " in high and low.endswith(high[high.index(" ") :]):
        low = low[: low.index(" ")]
    return f"{low}-{high}"


def _role_bytes(row: OperatorEntry, role: str) -> str:
    size = row.footprint_bytes_by_role.get(role, 0)
    return format_bytes(size) if size else "-"


def _shapes(tensors: Sequence[Tensor] | None) -> str:
    if not tensors:
        return ""
    return ", ".join("x".join(map(str, tensor.dimension_counts)) or "scalar" for tensor in tensors)
