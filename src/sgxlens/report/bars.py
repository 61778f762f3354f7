# SPDX-License-Identifier: Apache-2.0
"""Bars made of characters."""

from __future__ import annotations

_EIGHTHS = "▏▎▍▌▋▊▉█"


def bar(length: float, cells: int, ascii_only: bool = False) -> str:
    """A bar of `length` (0 to 1) of `cells` characters; anything above 0 shows."""
    if length <= 0:
        return ""
    if ascii_only:
        return "#" * max(1, round(length * cells))
    eighths = min(max(1, round(length * cells * 8)), cells * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest - 1] if rest else "")
