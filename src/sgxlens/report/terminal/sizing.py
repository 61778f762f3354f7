# SPDX-License-Identifier: Apache-2.0
"""The part of a terminal report of a prediction about the size of the enclave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sgxlens.configuration.values import size_text
from sgxlens.report.terminal.layout import fitted_table
from sgxlens.report.terminal.values import value_range
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sgxlens.prediction.sizing import Sizing


def sizing(needs: Sizing, width: int) -> RenderableType:
    """How large the enclave must be, what that consists of, and what to set."""
    enclave = "size of the enclave, as given" if needs.is_given else "size that is enough"
    resident = needs.resident_bytes
    phase = one_line(needs.committed_phase, 20)
    rows = [
        [
            "natively resident, at its most",
            "not known" if resident is None else format_bytes(resident),
        ],
        [
            f"mapped, all of which the enclave holds (most in phase {phase})",
            format_bytes(needs.committed_bytes),
        ],
        *(
            [what, value_range(size, format_bytes)]
            for what, size in (
                ("the runtime itself", needs.own_bytes),
                (f"the runtime, for {needs.max_threads} threads", needs.threads_bytes),
                ("the program, for threads beyond those recorded", needs.added_threads_bytes),
            )
            if size.high
        ),
        ["all together", value_range(needs.total_bytes, format_bytes)],
        *(
            [[f"{enclave}, a power of two", format_bytes(needs.enclave_bytes)]]
            if needs.enclave_bytes is not None
            else []
        ),
        ["added before the program starts", format_bytes(needs.built_bytes)],
    ]
    parts: list[RenderableType] = [fitted_table(["what", "size"], rows, width, (0,))]
    if needs.settings:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(overflow="fold")
        for setting in needs.settings:
            value = size_text(setting.value) if setting.unit == "bytes" else str(setting.value)
            grid.add_row(setting.name, value, Text(setting.reason))
        parts += [Text("\nSuggested settings"), grid]
    return Group(*parts)
