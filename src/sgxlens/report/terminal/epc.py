# SPDX-License-Identifier: Apache-2.0
"""The part of a terminal report of a prediction about the size of the EPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sgxlens.report.bars import bar
from sgxlens.report.terminal.layout import fitted_table
from sgxlens.report.terminal.values import of_native, seconds_range, value_range
from sgxlens.report.titles import POLICY_TITLES
from sgxlens.units import format_bytes, format_count, format_needed_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from sgxlens.prediction.paging import CurvePoint, EpcNeeds
    from sgxlens.prediction.result import Prediction

_POINTS_MAX = 10
_BAR_CELLS = 24


def epc_needs(prediction: Prediction, width: int, *, ascii_only: bool) -> RenderableType:
    """What the steady inference asks of the EPC, the paging curve, and other policies."""
    needs = prediction.epc
    native = prediction.steady.native.median_seconds
    parts: list[RenderableType] = [_sizes(needs, width)]
    if any(point.load_count for point in needs.curve):
        parts += [
            Text("\nPaging by size of the EPC (>: as predicted)"),
            _curve(needs, prediction, width, ascii_only=ascii_only),
        ]
    used = next((row.load_count for row in needs.policies if row.is_used), 0)
    if used:
        epc = format_bytes(prediction.deployment.epc_bytes.likely)
        parts.append(Text(f"\nPaging if other pages left the EPC of {epc} (>: as predicted)"))
        if all(row.load_count == used for row in needs.policies):
            parts.append(Text(f"All orders of eviction load {format_count(used)} pages."))
        else:
            parts.append(_policies(needs, native, width))
    return Group(*parts)


def _sizes(needs: EpcNeeds, width: int) -> RenderableType:
    rows = [
        ["pages that it accesses", format_bytes(needs.footprint_bytes)],
        ["kept for the runtime and for metadata of pages", format_bytes(needs.reserved_bytes)],
    ]
    rows += [
        [
            f"EPC for paging of at most {row.overhead_percent:g} % of the native time",
            value_range(row.epc_bytes, format_needed_bytes),
        ]
        for row in needs.for_overhead
    ]
    if needs.cliff_bytes is not None:
        what = "the cliff: EPC below which a tenth of its pages is loaded each time"
        rows.append([what, format_needed_bytes(needs.cliff_bytes)])
    rows.append(
        [
            "EPC in which everything fits, so that no page is loaded twice",
            format_needed_bytes(needs.fitting_bytes),
        ]
    )
    return fitted_table(["what", "size"], rows, width, (0,))


def _curve(
    needs: EpcNeeds, prediction: Prediction, width: int, *, ascii_only: bool
) -> RenderableType:
    own = int(prediction.deployment.epc_bytes.likely)
    most = max(point.load_count for point in needs.curve)
    rows = [
        [
            f"{'>' if point.epc_bytes == own else ''}{format_bytes(point.epc_bytes)}",
            format_count(point.load_count),
            format_seconds(point.added_seconds.likely),
            bar(point.load_count / most, _BAR_CELLS, ascii_only),
        ]
        for point in _some(needs.curve, own)
    ]
    return fitted_table(["EPC", "pages loaded", "adds", ""], rows, width, (), whole=(3,))


def _some(curve: Iterable[CurvePoint], own_bytes: int) -> list[CurvePoint]:
    """Few enough points to be read: evenly spaced, with the platform's own and both ends."""
    points = list(curve)
    if len(points) <= _POINTS_MAX:
        return points
    step = (len(points) - 1) / (_POINTS_MAX - 1)
    chosen = {round(index * step) for index in range(_POINTS_MAX)}
    chosen |= {i for i, point in enumerate(points) if point.epc_bytes == own_bytes}
    return [points[index] for index in sorted(chosen)]


def _policies(needs: EpcNeeds, native_seconds: float, width: int) -> RenderableType:
    rows = [
        [
            f"{'>' if row.is_used else ''}{POLICY_TITLES[row.policy]}",
            format_count(row.load_count),
            format_seconds(row.added_seconds.likely),
            seconds_range(row.added_seconds),
            of_native(row.added_seconds.likely, native_seconds),
        ]
        for row in needs.policies
    ]
    headings = ["policy", "pages loaded", "adds", "range", "of native\ntime"]
    return fitted_table(headings, rows, width, (0,), spare=(4, 3))
