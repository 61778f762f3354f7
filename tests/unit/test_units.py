# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from sgxlens.units import format_bytes, format_count, format_seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (999 * 1024, "999 KiB"),
        (1000 * 1024, "0.98 MiB"),
        (123_456_789, "118 MiB"),
        (1 << 60, "1 EiB"),
    ],
)
def test_bytes(value: int, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9999, "9,999"), (10_000, "10 k"), (999_600, "1 M"), (1_240_000_000, "1.24 G")],
)
def test_counts(value: int, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.001, "1 ms"),
        (0.9999, "1.0 s"),
        (12.34, "12.3 s"),
        (245, "4 min 05 s"),
        (7300, "2 h 01 min"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert format_seconds(value) == text
