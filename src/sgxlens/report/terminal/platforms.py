# SPDX-License-Identifier: Apache-2.0
"""Renders platforms for a terminal: what there is, and each constant with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sgxlens.enclave.data_files import constants
from sgxlens.report.terminal.layout import INDENT, fitted_table, report_console, titled
from sgxlens.report.terminal.values import number
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.quantities import Constant

_DRIVERS = {"linux": "Linux", "out_of_tree": "out of tree"}
_TEXT_MAX = 2000


def print_platform_list(platforms: Sequence[Platform], file: TextIO | None = None) -> None:
    """Prints a line for each platform, and what each of them is."""
    console = report_console(file)
    rows = [
        [
            one_line(platform.name),
            platform.generation.upper(),
            format_bytes(platform.epc.usable_bytes.likely),
            "yes" if platform.epc.is_settable else "no",
            format_bytes(platform.cache.llc_bytes.likely),
            _DRIVERS[platform.epc.driver],
        ]
        for platform in platforms
    ]
    headings = ["platform", "SGX", "EPC", "settable", "LLC", "driver"]
    console.print(fitted_table(headings, rows, console.width, (0,), (1, 3, 5)))
    for platform in platforms:
        console.print(titled(_text(platform.title, 200), Text(_text(platform.description))))
    console.print(
        Text("\nEach constant with its source: sgxlens platforms NAME, or your own file.")
    )


def print_platform(platform: Platform, file: TextIO | None = None) -> None:
    """Prints one platform: every constant, and what it is from."""
    console = report_console(file)
    console.print(_header(platform))
    found = constants(platform)
    # Many constants are from one place.
    sources: dict[tuple[str, str, tuple[str, ...]], int] = {}
    rows = []
    for constant in found:
        key = (constant.source, constant.rule, constant.calibrated_on)
        reference = sources.setdefault(key, len(sources) + 1)
        rows.append([*_cells(constant), f"[{reference}]"])
    headings = ["constant", "low", "likely", "high", "unit", "source"]
    table = fitted_table(headings, rows, console.width - INDENT, (0,), (4,))
    threads = Text("A number at the end of a name: threads that work at once.")
    console.print(titled("Constants", Group(table, threads)))
    console.print(titled("Sources", _sources(list(sources))))


def _header(platform: Platform) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    rows = [
        ("platform", f"{platform.name}: {platform.title}"),
        ("SGX", platform.generation.upper()),
        ("", platform.description),
        *(("note", note) for note in platform.notes),
        ("EPC driver", _DRIVERS[platform.epc.driver]),
        ("EPC settable", "yes" if platform.epc.is_settable else "no"),
        ("LLC ways", str(platform.cache.llc_ways)),
        ("RDTSC", platform.traps.rdtsc),
    ]
    for name, value in rows:
        grid.add_row(name, Text(_text(value)))
    return grid


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
        parts: list[RenderableType] = [Text(_text(source))]
        if rule:
            parts.append(Text(f"rule: {_text(rule)}"))
        if rows:
            parts.append(Text(f"calibrated on: {_text(', '.join(rows))}"))
        grid.add_row(f"[{index}]", Group(*parts))
    return grid


def _text(text: str, limit: int = _TEXT_MAX) -> str:
    return one_line(text, limit)
