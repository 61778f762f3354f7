# SPDX-License-Identifier: Apache-2.0
"""Renders platforms for a terminal: what there is, and each constant with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from sgxlens.report.terminal.constants import any_text, constant_sections
from sgxlens.report.terminal.layout import (
    INDENT,
    fitted_table,
    named_texts,
    report_console,
    titled,
)
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from sgxlens.enclave.platform import Platform

_DRIVERS = {"linux": "Linux", "out_of_tree": "out of tree"}


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
        console.print(titled(any_text(platform.title, 200), Text(any_text(platform.description))))
    console.print(
        Text("\nEach constant with its source: sgxlens platforms NAME, or your own file.")
    )


def print_platform(platform: Platform, file: TextIO | None = None) -> None:
    """Prints one platform: every constant, and what it is from."""
    console = report_console(file)
    console.print(_header(platform))
    threads = Text("A number at the end of a name: threads that work at once.")
    for section in constant_sections(platform, console.width - INDENT, threads):
        console.print(section)


def _header(platform: Platform) -> RenderableType:
    rows = [
        ("platform", f"{platform.name}: {platform.title}"),
        ("SGX", platform.generation.upper()),
        ("features", ", ".join(platform.cpu_features) or "not known"),
        ("", platform.description),
        *(("note", note) for note in platform.notes),
        ("EPC driver", _DRIVERS[platform.epc.driver]),
        ("EPC settable", "yes" if platform.epc.is_settable else "no"),
        ("LLC ways", str(platform.cache.llc_ways)),
        ("RDTSC", platform.traps.rdtsc),
    ]
    return named_texts((name, any_text(value)) for name, value in rows)
