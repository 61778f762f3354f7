# SPDX-License-Identifier: Apache-2.0
"""Renders the constants of a platform or runtime, each with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sgxlens.enclave.data_files import constants
from sgxlens.report.terminal.layout import fitted_table, titled
from sgxlens.report.terminal.values import number
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel
    from rich.console import RenderableType

    from sgxlens.enclave.quantities import Constant

_TEXT_MAX = 2000


def constant_sections(
    data: BaseModel, width: int, *below: RenderableType
) -> tuple[RenderableType, RenderableType]:
    """All constants in a table, and their sources; `below` is printed below the table."""
    # Many constants are from one place.
    sources: dict[tuple[str, str, tuple[str, ...]], int] = {}
    rows = []
    for constant in constants(data):
        key = (constant.source, constant.rule, constant.calibrated_on)
        reference = sources.setdefault(key, len(sources) + 1)
        rows.append([*_cells(constant), f"[{reference}]"])
    headings = ["constant", "low", "likely", "high", "unit", "source"]
    table = fitted_table(headings, rows, width, (0,), (4,))
    return titled("Constants", Group(table, *below)), titled("Sources", _sources(list(sources)))


def any_text(text: str, limit: int = _TEXT_MAX) -> str:
    """Text that a user may have written, in one line and harmless."""
    return one_line(text, limit)


def _cells(constant: Constant) -> list[str]:
    name = constant.name.partition(".")[2]
    values = (constant.low, constant.likely, constant.high)
    if name.endswith("_bytes"):
        return [name, *map(format_bytes, values), ""]
    # A number of threads may follow.
    ending = name.rstrip(".0123456789").rpartition("_")[2].rpartition(".")[2]
    unit = {"ns": "ns", "hz": "Hz", "slowdown": "ns/ns"}.get(ending, "")
    return [name, *map(number, values), unit]


def _sources(sources: Sequence[tuple[str, str, tuple[str, ...]]]) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for index, (source, rule, rows) in enumerate(sources, 1):
        parts: list[RenderableType] = [Text(any_text(source))]
        if rule:
            parts.append(Text(f"rule: {any_text(rule)}"))
        if rows:
            parts.append(Text(f"calibrated on: {any_text(', '.join(rows))}"))
        grid.add_row(f"[{index}]", Group(*parts))
    return grid
