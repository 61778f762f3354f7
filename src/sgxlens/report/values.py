# SPDX-License-Identifier: Apache-2.0
"""Values that are known within bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CountRange:
    """A count between two bounds, both included; exact where they are equal."""

    low: int
    high: int


@dataclass(frozen=True)
class RatioRange:
    """A ratio between two bounds, both included; exact where they are equal."""

    low: float
    high: float
