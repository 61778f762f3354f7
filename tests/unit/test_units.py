# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgxlens.errors import UsageError
from sgxlens.units import (
    format_bytes,
    format_count,
    format_needed_bytes,
    format_seconds,
    format_seconds_range,
    parse_seconds,
    parse_size,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.50 KiB"),
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
    [
        (0, "0 B"),
        (1 << 30, "1 GiB"),
        ((1 << 30) + 1, "1.01 GiB"),
        (12.31 * 2**20, "12.4 MiB"),
        (117.01 * 2**20, "118 MiB"),
        (999.2 * 2**20, "1,000 MiB"),
    ],
)
def test_bytes_that_are_needed_are_not_less_than_shown(value: float, text: str) -> None:
    assert format_needed_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9999, "9,999"), (10_000, "10.0 k"), (999_600, "1.00 M"), (1_240_000_000, "1.24 G")],
)
def test_counts(value: int, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (4e-11, "<0.1 ns"),
        (1e-10, "0.10 ns"),
        (12.34e-9, "12.3 ns"),
        (9.9949e-7, "999 ns"),
        (9.9951e-7, "1.00 us"),
        (12.34e-6, "12.3 us"),
        (0.00099949, "999 us"),
        (0.0009996, "1.00 ms"),
        (0.001, "1.00 ms"),
        (0.9999, "1.00 s"),
        (0.004, "4.00 ms"),
        (119.4, "119 s"),
        (12.34, "12.3 s"),
        (245, "4 min 05 s"),
        (7300, "2 h 01 min"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert format_seconds(value) == text


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("92M", 92 << 20),
        ("92 MiB", 92 << 20),
        (" 93.5m ", 93 * (1 << 20) + (1 << 19)),
        ("64K", 64 << 10),
        ("1.5GiB", 3 << 29),
        ("7 b", 7),
        ("2T", 2 << 40),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "M", "-1M", "92MB", "1e3", "nan", "inf", "0x10", "1.3", "1 2M", "٣M", "9" * 99]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a"):
        parse_size(text)


@given(st.integers(0, 1 << 60))
def test_a_number_of_bytes_is_a_size(size_bytes: int) -> None:
    assert parse_size(str(size_bytes)) == size_bytes
    assert parse_size(f"{size_bytes % 10**17}K") == size_bytes % 10**17 << 10


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("42ms", 0.042),
        ("1.2 s", 1.2),
        ("850us", 850e-6),
        ("850 \u00b5s", 850e-6),
        ("850\u03bcs", 850e-6),
        (" 900ns ", 900e-9),
    ],
)
def test_times_are_parsed(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "42", "ms", "-1s", "1m", "1h", "1e3s", "nan s", "0ms", "1 S"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="time"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("low", "high", "signed", "text"),
    [
        (0.78, 0.91, False, "780 to 910 ms"),
        (0.5, 1.5, False, "500 ms to 1.50 s"),
        (0.5, 0.5, False, "500 ms"),
        (-0.012, 0.003, True, "-12.0 to +3.00 ms"),
        (-31.0, -2.0, True, "-31.0 to -2.00 s"),
        (0.0, 0.0, True, "0 s"),
        (0.0, 77.5e-6, False, "0 to 77.5 us"),
        (-77.5e-6, 0.0, True, "-77.5 to 0 us"),
        (0.0, 245, False, "0 to 4 min 05 s"),
        (70.0, 130.0, False, "70.0 s to 2 min 10 s"),
    ],
)
def test_ranges_of_seconds(low: float, high: float, signed: bool, text: str) -> None:
    assert format_seconds_range(low, high, signed=signed) == text
