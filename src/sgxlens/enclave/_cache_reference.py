# SPDX-License-Identifier: Apache-2.0
"""The slow twins of `sgxlens.enclave.cache` and of the split in `sgxlens.enclave.encryption`."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def miss_probability(distance: int, sets: Fraction, ways: int) -> Fraction:
    """P(Binomial(distance, 1 / sets) >= ways), exactly."""
    here = 1 / sets
    return 1 - sum(
        (
            comb(distance, k) * here**k * (1 - here) ** (distance - k)
            for k in range(min(ways, distance + 1))
        ),
        Fraction(0),
    )


def is_sequential(line: int, used: Collection[int]) -> bool:
    """Whether half of the aligned 8 lines around a line, by number, are among those used."""
    first = line // 8 * 8
    return sum(other in used for other in range(first, first + 8)) >= 4
