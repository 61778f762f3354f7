# SPDX-License-Identifier: Apache-2.0
"""Numbers that are known within bounds, as text for narrow columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.report.terminal.layout import percent
from sgxlens.units import format_count, format_seconds_range, join_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgxlens.enclave.quantities import Range


def number(value: float) -> str:
    """A number in three digits, never in powers of ten: ``1,230``, ``12.3``, ``0.05``."""
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.0001 else f"{value:.1g}"


def expected_count(count: float) -> str:
    """A count that may be an average: ``<0.01``, ``0.41``, ``4.1``, ``12``, ``1.24 M``."""
    if count >= 9.95 or count == round(count):
        return format_count(round(count))
    if count < 0.01:
        return "<0.01"
    return f"{count:.{3 if count < 0.0995 else 2 if count < 0.995 else 1}f}"


def value_range(value: Range, format_one: Callable[[float], str]) -> str:
    """``12 to 14``, or one of them where they look alike."""
    return join_range(format_one(value.low), format_one(value.high))


def seconds_range(seconds: Range) -> str:
    """``780 to 910 ms``."""
    return format_seconds_range(seconds.low, seconds.high)


def signed_range(seconds: Range) -> str:
    """``-12 to +3 ms``, of a difference."""
    return format_seconds_range(seconds.low, seconds.high, signed=True)


def signed_count(value: float) -> str:
    """A difference of counts: ``+1.2 k``, ``-3``, ``0``."""
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{format_count(abs(value))}"


def of_native(added_seconds: float, native_seconds: float) -> str:
    """What is added, in percent of a native time: ``870 %``, ``3.20 %``."""
    value = added_seconds / native_seconds
    return percent(value) if value < 0.9995 else f"{100 * value:,.0f} %"
