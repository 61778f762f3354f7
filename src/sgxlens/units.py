# SPDX-License-Identifier: Apache-2.0
"""Quantities as text."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from sgxlens.errors import UsageError

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?:([kmgtp])(?:ib)?|b)?", re.IGNORECASE)

_TIME = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(s|ms|us|\u00b5s|\u03bcs|ns)")
_TIME_UNITS = {
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "\u00b5s": Fraction(1, 10**6),  # micro sign
    "\u03bcs": Fraction(1, 10**6),  # mu
    "ns": Fraction(1, 10**9),
}


def parse_size(text: str) -> int:
    """Bytes of a size as people write it: ``92M`` and ``92 MiB`` are 92 * 2^20, ``4096`` is bytes.

    Sizes of memory are meant, so that K, M, G, T and P are powers of 1,024. ``MB`` is refused: it
    means one thing on a memory module and another on a disk.

    Raises:
        UsageError: it is not a size, or not of whole bytes.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a size: give bytes, or a number with K, M or G (92M)")
    power = "kmgtp".index(found[2].lower()) + 1 if found[2] else 0
    size = Fraction(found[1]) * 1024**power
    if size.denominator != 1:
        raise UsageError(f"{text!r} is not a whole number of bytes")
    return int(size)


def parse_seconds(text: str) -> float:
    """Seconds of a time as people write it: ``42ms``, ``1.2 s``, ``850us``, ``900 ns``.

    Raises:
        UsageError: it is not a time, has no unit, or is no time at all.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a time: give a number with s, ms, us or ns (42ms)")
    seconds = float(Fraction(found[1]) * _TIME_UNITS[found[2]])
    if seconds == 0:
        raise UsageError(f"{text!r}: a time of more than nothing is needed")
    return seconds


def format_bytes(size_bytes: float) -> str:
    """`size_bytes` in binary units and three digits: ``12.3 MiB``; ``8 GiB`` is exact."""
    return _scaled(size_bytes, 1024, _BINARY)


def format_needed_bytes(size_bytes: float) -> str:
    """As `format_bytes`, of what must not be less: 1.001 GiB is ``1.01 GiB``."""
    return _scaled(size_bytes, 1024, _BINARY, up=True)


def format_count(count: float) -> str:
    """`count` in decimal units and three digits: ``1.24 G``, ``50.0 k``; whole up to 9,999."""
    if abs(count) < 10_000 and float(count).is_integer():
        return f"{int(count):,}"
    return _scaled(count, 1000, _DECIMAL, is_exact_short=False)


def format_seconds(seconds: float) -> str:
    """`seconds` in three digits: ``85.0 us``, ``850 ms``, ``12.3 s``; ``4 min 05 s``, and ``0 s``.

    What is shorter than any event of a computer is ``<0.1 ns``.
    """
    if not seconds:
        return "0 s"
    if abs(seconds) < 9.995e-7:
        return f"{_three_digits(seconds * 1e9)} ns" if abs(seconds) >= 1e-10 else "<0.1 ns"
    if abs(seconds) < 0.0009995:
        return f"{_three_digits(seconds * 1e6)} us"
    if seconds < 0.9995:
        return f"{_three_digits(seconds * 1000)} ms"
    if seconds < 119.5:
        return f"{_three_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_signed_seconds(seconds: float) -> str:
    """A difference of times: ``+94.4 ms``, ``-1.2 s``, ``0 ms``."""
    text = format_seconds(abs(seconds))
    return text if not seconds else f"{'+' if seconds > 0 else '-'}{text}"


def format_seconds_range(low: float, high: float, *, signed: bool = False) -> str:
    """``780 to 910 ms``: the unit once where it is the same; one where both look alike.

    Differences are `signed`: ``-12 to +3 ms``.
    """
    format_one = format_signed_seconds if signed else format_seconds
    first, last = format_one(low), format_one(high)
    if first == last:
        return first
    # Nothing is nothing in any unit.
    if not high and first.count(" ") == 1:
        number, _, unit = first.rpartition(" ")
        return f"{number} to 0 {unit}"
    return f"0 to {last}" if not low else join_range(first, last)


def join_range(low: str, high: str) -> str:
    """Bounds as text, the unit once: ``4.18 to 64.2 MiB``; one of them where both look alike."""
    if low == high:
        return low
    unit = high.rpartition(" ")[2]
    is_same = low.count(" ") == high.count(" ") == 1 and low.endswith(f" {unit}")
    return f"{low.removesuffix(f' {unit}') if is_same else low} to {high}"


def format_signed_ratio(ratio: float) -> str:
    """A difference of ratios: ``+0.15``, ``-31.1``, ``0.00``."""
    text = format_ratio(abs(ratio))
    return text if text == "0.00" else f"{'+' if ratio > 0 else '-'}{text}"


def format_ratio(ratio: float) -> str:
    """`ratio` as how many times as long: ``1.07``, ``17.1``, ``120``."""
    digits = 2 if ratio < 9.995 else 1 if ratio < 99.95 else 0
    return f"{ratio:,.{digits}f}"


def _three_digits(value: float) -> str:
    """A number below a thousand: ``4.00``, ``12.3``, ``837``."""
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


def _scaled(
    value: float,
    base: int,
    units: tuple[str, ...],
    *,
    up: bool = False,
    is_exact_short: bool = True,
) -> str:
    scaled = float(value)
    index = 0
    # Three digits: 1,000 KiB is 0.98 MiB, and 999.5 k is 1 M.
    while abs(scaled) >= (base if index == 0 else 999.5) and index < len(units) - 1:
        scaled /= base
        index += 1
    is_whole = index == 0 or abs(scaled) >= 99.95 or (is_exact_short and scaled.is_integer())
    digits = 0 if is_whole else 1 if abs(scaled) >= 9.995 else 2
    if up:
        scaled = math.ceil(scaled * 10**digits) / 10**digits
    return f"{scaled:,.{digits}f} {units[index]}".rstrip()
