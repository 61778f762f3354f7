# SPDX-License-Identifier: Apache-2.0
"""The parts of a terminal report about data reuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sgxlens.report.bars import bar
from sgxlens.report.reuse_section import QUANTILES
from sgxlens.report.terminal.layout import new_table, percent, titled
from sgxlens.units import format_bytes, format_count, join_range

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from sgxlens.report.reuse_section import ReuseSection
    from sgxlens.reuse.curves import MissRatioCurve
    from sgxlens.reuse.histogram import ReuseHistogram
    from sgxlens.reuse.sampling import MissRatioEstimate

_BAR_CELLS = 17
_GRANULARITY_TITLES = {"line": "cache lines (64 B)", "page": "pages (4 KiB)"}


def reuse(section: ReuseSection, ascii_only: bool) -> RenderableType:
    """Distances, and misses of an LRU memory."""
    summary = new_table("", *_GRANULARITY_TITLES.values())
    for column in summary.columns[1:]:
        column.justify = "right"
    histograms = section.histograms
    followed = "accesses" if section.estimates is None else "accesses to sampled blocks"
    summary.add_row(followed, *(format_count(h.total) for h in histograms.values()))
    summary.add_row(
        "cold misses (first accesses)",
        *(f"{format_count(h.cold_count)} ({_share(h.cold_count, h)})" for h in histograms.values()),
    )
    for fraction in QUANTILES:
        name = "median" if fraction == 0.5 else f"{100 * fraction:g} %"
        summary.add_row(f"distance, {name}", *(_quantile(h, fraction) for h in histograms.values()))
    return Group(
        titled("Data reuse", summary),
        titled(
            "Accesses by reuse distance (distinct other blocks in between)",
            _histogram(section, ascii_only=ascii_only),
        ),
        titled("Misses of an LRU memory by its capacity", _curve(section)),
    )


def _histogram(section: ReuseSection, ascii_only: bool) -> RenderableType:
    histograms = section.histograms
    if not any(h.total for h in histograms.values()):
        return Text("No accesses.")
    table = new_table("blocks", *_share_headings())
    table.columns[0].justify = "right"
    rows = [(_span(r.distance_min_blocks, r.distance_end_blocks), r.counts) for r in section.rows]
    rows.append(("cold", {name: h.cold_count for name, h in histograms.items()}))
    longest = max(
        counts[name] / max(h.total, 1) for _, counts in rows for name, h in histograms.items()
    )
    for label, counts in rows:
        cells = []
        for name, histogram in histograms.items():
            share = counts[name] / max(histogram.total, 1)
            length = share / longest if longest else 0.0
            cells += [
                _share(counts[name], histogram),
                bar(length, _BAR_CELLS, ascii_only=ascii_only),
            ]
        table.add_row(label, *cells)
    _align_shares(table)
    return table


def _curve(section: ReuseSection) -> RenderableType:
    histograms = section.histograms
    if not any(h.total for h in histograms.values()):
        return Text("No accesses.")
    if section.estimates is not None:
        return _estimated_curve(section, section.estimates)
    table = new_table("capacity", *_curve_headings("misses"))
    for column in table.columns:
        column.justify = "right"
    last = len(section.capacity_bytes) - 1
    for index, capacity in enumerate(section.capacity_bytes):
        label = _capacity(section, capacity)
        is_final = all(
            int(curve.miss_count[index]) == histograms[name].cold_count
            for name, curve in section.curves.items()
        )
        if index == last and is_final:
            label += " or more"
        cells = []
        for curve in section.curves.values():
            cells += [_ratio(curve, index), format_count(int(curve.miss_count[index]))]
        table.add_row(label, *cells)
    return table


def _share_headings() -> list[str]:
    return [text for title in ("lines", "pages") for text in (title, "")]


def _estimated_curve(
    section: ReuseSection, estimates: dict[str, MissRatioEstimate]
) -> RenderableType:
    table = new_table("capacity", *_curve_headings("within, %"))
    for column in table.columns:
        column.justify = "right"
    for index, capacity in enumerate(section.capacity_bytes):
        cells = []
        for estimate in estimates.values():
            low, high = estimate.miss_ratio_low[index], estimate.miss_ratio_high[index]
            cells += [
                percent(float(estimate.miss_ratio[index])),
                " to ".join(percent(float(r)).removesuffix(" %") for r in (low, high)),
            ]
        table.add_row(_capacity(section, capacity), *cells)
    return table


def _capacity(section: ReuseSection, capacity: int) -> str:
    return f"{'>' if capacity == section.at_bytes else ''}{format_bytes(capacity)}"


def _curve_headings(second: str) -> list[str]:
    return [text for title in ("line", "page") for text in (f"{title} miss ratio", second)]


def _align_shares(table: Table) -> None:
    for index in (1, 3):
        table.columns[index].justify = "right"
        table.columns[index].min_width = 8


def _ratio(curve: MissRatioCurve, index: int) -> str:
    high = percent(float(curve.miss_ratio[index]))
    if curve.is_exact[index]:
        return high
    return join_range(percent(float(curve.miss_ratio_low[index])), high)


def _share(count: int, histogram: ReuseHistogram) -> str:
    return percent(count / histogram.total) if histogram.total else "-"


def _quantile(histogram: ReuseHistogram, fraction: float) -> str:
    if histogram.total == 0:
        return "-"
    span = histogram.quantile_blocks(fraction)
    if span is None:
        return "cold"
    low, high = span
    return f"{join_range(format_count(low), format_count(high))} blocks"


def _span(start: int, end: int) -> str:
    if end - start <= 1:
        return str(start)
    if start < 1024:
        return f"{start:,} to {end - 1:,}"
    return f"{_binary(start)} to {_binary(end)}"


def _binary(count: int) -> str:
    return format_bytes(count).removesuffix("B").removesuffix("i").replace(" ", "") + "i"
