# SPDX-License-Identifier: Apache-2.0
"""Sums of charges, and how far each constant and each uncertain count moves them.

A charge is a count times a constant. What the sum is if one constant or one count is at its low
(high) value and all others are likely is exact. The sum itself gets the likely values, and a range
for which those swings are taken as independent: the root of the sum of their squares. A constant
that prices several charges moves all of them at once; so do the counts of the same thing in several
operators, since what makes them uncertain is the same.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.enclave.quantities import Range
from sgxlens.prediction.model import Swing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sgxlens.enclave.charges import Cause, Charge

_SECONDS_PER_NS = 1e-9


@dataclass
class _Lever:
    """A constant or count, and what all charges that hang on it sum to beyond the likely sum."""

    causes: set[Cause]
    value: Range
    source: str
    below_ns: float = 0.0
    above_ns: float = 0.0


def added_seconds(charges: Iterable[Charge]) -> Range:
    """What the charges add, in seconds.

    The low value is never below the sum with everything at its low value.
    """
    found = tuple(charges)
    return _range(found, _levers(found).values())


def likely_seconds(charges: Iterable[Charge]) -> float:
    """The likely value of `added_seconds`."""
    return _likely_ns(charges) * _SECONDS_PER_NS


def swings(charges: Sequence[Charge], base_seconds: float) -> tuple[Swing, ...]:
    """What moves a time of `base_seconds` and the `charges`, the widest swing first.

    Constants and counts that move nothing are left out.
    """
    likely = base_seconds + likely_seconds(charges)
    found = [
        Swing(
            kind="constant" if is_constant else "count",
            name=name,
            cause=next(iter(lever.causes)) if len(lever.causes) == 1 else None,
            value=lever.value,
            source=lever.source,
            low_seconds=likely - lever.below_ns * _SECONDS_PER_NS,
            high_seconds=likely + lever.above_ns * _SECONDS_PER_NS,
        )
        for (is_constant, name, _), lever in _levers(charges).items()
        if lever.below_ns or lever.above_ns
    ]
    return tuple(sorted(found, key=lambda swing: (-swing.swing_seconds, swing.name)))


def _levers(charges: Iterable[Charge]) -> dict[tuple[bool, str, str], _Lever]:
    """Constants by their name, and counts by what is counted under which cause."""
    levers: dict[tuple[bool, str, str], _Lever] = {}
    counts: defaultdict[tuple[bool, str, str], list[Range]] = defaultdict(list)
    for charge in charges:
        constant, count = charge.constant, charge.count
        # One without a name stands for itself.
        name = constant.name or f"{charge.what}: {constant.source}"
        of_constant, of_count = (True, name, ""), (False, charge.what, charge.cause)
        # There are many charges and few constants: setdefault() would make a range for each.
        if of_constant not in levers:
            levers[of_constant] = _Lever(set(), constant.range, constant.source)
        if of_count not in levers:
            levers[of_count] = _Lever({charge.cause}, count, "")
        lever = levers[of_constant]
        lever.causes.add(charge.cause)
        lever.below_ns += (constant.likely - constant.low) * count.likely
        lever.above_ns += (constant.high - constant.likely) * count.likely
        lever = levers[of_count]
        lever.below_ns += (count.likely - count.low) * constant.likely
        lever.above_ns += (count.high - count.likely) * constant.likely
        counts[of_count].append(count)
    for key, found in counts.items():
        levers[key].value = total(found)
    return levers


def _range(charges: Sequence[Charge], levers: Iterable[_Lever]) -> Range:
    likely = _likely_ns(charges)
    lowest = math.fsum(c.constant.low * c.count.low for c in charges)
    below, above = 0.0, 0.0
    for lever in levers:
        below += lever.below_ns**2
        above += lever.above_ns**2
    low = max(likely - math.sqrt(below), lowest)
    # What is left of a difference of equals is no time.
    low = min(low if low - lowest > 1e-12 * likely else lowest, likely)
    return Range(low, likely, likely + math.sqrt(above)).scaled(_SECONDS_PER_NS)


def _likely_ns(charges: Iterable[Charge]) -> float:
    return math.fsum(c.constant.likely * c.count.likely for c in charges)


def total(ranges: Iterable[Range]) -> Range:
    """The sum of ranges that are low (likely, high) together; 0 of none."""
    found = tuple(ranges)
    return Range(
        math.fsum(r.low for r in found),
        math.fsum(r.likely for r in found),
        math.fsum(r.high for r in found),
    )
