# SPDX-License-Identifier: Apache-2.0
"""Sums of charges, and how far each constant and each uncertain count moves them.

A charge is a count times a constant. What the sum is if one constant or one count is at its low
(high) value and all others are likely is exact. The sum itself gets the likely values, and a range
for which those swings are taken as independent: the root of the sum of their squares. A constant
that prices several charges moves all of them at once; so do counts that one thing makes uncertain:
those of the same thing in several operators; of paging, all (the size of the EPC); of encryption,
all (the size of the last-level cache).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.enclave.quantities import Range
from sgxlens.prediction.model import Swing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sgxlens.enclave.charges import Cause, Charge

    #: Charges that are added (their weight is positive) and taken away.
    _Weighted = Sequence[tuple[float, Charge]]

_SECONDS_PER_NS = 1e-9
_ROUNDING = 1e-14
#: What is counted under causes of which all counts move together, in words.
_COUNTED_TOGETHER: dict[Cause, str] = {
    "paging": "pages loaded",
    "encryption": "lines that miss the cache",
}


@dataclass
class _Lever:
    """A constant or count, and how far its ends move the sum of all charges that hang on it."""

    causes: set[Cause]
    value: Range
    source: str
    low_ns: float = 0.0
    high_ns: float = 0.0


def added_seconds(charges: Iterable[Charge]) -> Range:
    """What the charges add, in seconds.

    The low value is never below the sum with everything at its low value.
    """
    return _range(tuple((1.0, charge) for charge in charges))


def likely_seconds(charges: Iterable[Charge]) -> float:
    """The likely value of `added_seconds`."""
    return math.fsum(c.constant.likely * c.count.likely for c in charges) * _SECONDS_PER_NS


def difference_seconds(
    before: Iterable[Charge],
    after: Iterable[Charge],
    *,
    before_weight: float = 1.0,
    after_weight: float = 1.0,
    measured: Range | None = None,
) -> Range:
    """What `after` adds beyond what `before` adds, in seconds, as a range of the difference.

    A constant prices both sides, so that its error counts once, for the difference of the counts;
    what makes the counts of the same thing uncertain is taken as the same on both sides, too. The
    range is therefore narrower than that of two sums whose errors are independent.

    Args:
        before: the charges that are taken away.
        after: the charges that are added.
        before_weight: what `before` counts for, as 1 / the number of its samples.
        after_weight: what `after` counts for.
        measured: a difference in seconds, of measurements, that is added; its error is independent.
    """
    if before_weight == after_weight:
        before, after = _differing(before, after)
    weighted = _difference(before, after, before_weight, after_weight)
    return _range(weighted, measured)


def difference_swings(
    before: Iterable[Charge], after: Iterable[Charge], base_seconds: float = 0.0
) -> tuple[Swing, ...]:
    """What moves a difference of `base_seconds` and what the charges add, the widest swing first.

    The ``value`` of a count is how much more often `after` has it, in the order of its ends.
    """
    return _swings(_difference(before, after, 1.0, 1.0), base_seconds)


def swings(charges: Iterable[Charge], base_seconds: float) -> tuple[Swing, ...]:
    """What moves a time of `base_seconds` and the `charges`, the widest swing first.

    Constants and counts that move nothing are left out.
    """
    return _swings(tuple((1.0, charge) for charge in charges), base_seconds)


def _difference(
    before: Iterable[Charge], after: Iterable[Charge], before_weight: float, after_weight: float
) -> _Weighted:
    return (
        *((-before_weight, charge) for charge in before),
        *((after_weight, charge) for charge in after),
    )


def _differing(
    before: Iterable[Charge], after: Iterable[Charge]
) -> tuple[list[Charge], list[Charge]]:
    """Both without the charges that are the same objects, which take away what they add."""
    one, other = list(before), list(after)
    common = Counter(map(id, one)) & Counter(map(id, other))
    return _without(one, common), _without(other, common)


def _without(charges: Iterable[Charge], common: Mapping[int, int]) -> list[Charge]:
    left = Counter(common)
    kept = []
    for charge in charges:
        if left[id(charge)]:
            left[id(charge)] -= 1
        else:
            kept.append(charge)
    return kept


def _swings(weighted: _Weighted, base_seconds: float) -> tuple[Swing, ...]:
    likely = base_seconds + _likely_ns(weighted) * _SECONDS_PER_NS
    # What is left of a difference of equals is nothing.
    least = _ROUNDING * math.fsum(
        abs(w) * max(c.constant.high * c.count.likely, c.constant.likely * c.count.high)
        for w, c in weighted
    )
    values = _count_values(weighted)
    found = [
        Swing(
            kind="constant" if is_constant else "count",
            name=name,
            cause=next(iter(lever.causes)) if len(lever.causes) == 1 else None,
            value=values.get((is_constant, name, cause), lever.value),
            source=lever.source,
            low_seconds=likely + lever.low_ns * _SECONDS_PER_NS,
            high_seconds=likely + lever.high_ns * _SECONDS_PER_NS,
        )
        for (is_constant, name, cause), lever in _levers(weighted).items()
        if max(abs(lever.low_ns), abs(lever.high_ns)) > least
    ]
    return tuple(sorted(found, key=lambda swing: (-abs(swing.swing_seconds), swing.name)))


def _levers(weighted: _Weighted) -> dict[tuple[bool, str, str], _Lever]:
    """Constants by their name, and counts that move together by what is counted.

    The value of a count is that of the first charge; `_count_values` has that of all.
    """
    levers: dict[tuple[bool, str, str], _Lever] = {}
    for weight, charge in weighted:
        constant, count = charge.constant, charge.count
        of_constant, of_count = (True, _constant_name(charge), ""), _count_key(charge)
        # There are many charges and few constants: setdefault() would make a range for each.
        if of_constant not in levers:
            levers[of_constant] = _Lever(set(), constant.range, constant.source)
        if of_count not in levers:
            levers[of_count] = _Lever({charge.cause}, count, "")
        lever = levers[of_constant]
        lever.causes.add(charge.cause)
        lever.low_ns += weight * (constant.low - constant.likely) * count.likely
        lever.high_ns += weight * (constant.high - constant.likely) * count.likely
        lever = levers[of_count]
        lever.low_ns += weight * (count.low - count.likely) * constant.likely
        lever.high_ns += weight * (count.high - count.likely) * constant.likely
    return levers


def _count_values(weighted: _Weighted) -> dict[tuple[bool, str, str], Range]:
    """Of the counts of `_levers`, their weighted sums."""
    counts: defaultdict[tuple[bool, str, str], list[tuple[float, Range]]] = defaultdict(list)
    for weight, charge in weighted:
        counts[_count_key(charge)].append((weight, charge.count))
    found = {}
    for key, values in counts.items():
        ends = _ends(values)
        found[key] = Range(min(ends), ends[1], max(ends))
    return found


def _count_key(charge: Charge) -> tuple[bool, str, str]:
    return False, _COUNTED_TOGETHER.get(charge.cause, charge.what), charge.cause


def _constant_name(charge: Charge) -> str:
    # One without a name stands for itself.
    return charge.constant.name or f"{charge.what}: {charge.constant.source}"


def _range(weighted: _Weighted, measured: Range | None = None) -> Range:
    likely, lowest, highest, moved = _summed(weighted)
    below, above = 0.0, 0.0
    for low_ns, high_ns in moved:
        below += min(low_ns, high_ns, 0.0) ** 2
        above += max(low_ns, high_ns, 0.0) ** 2
    low = likely - math.sqrt(below)
    # What is left of a difference of equals is no time.
    low = min(low if low - lowest > 1e-12 * abs(likely) else lowest, likely)
    high = max(min(likely + math.sqrt(above), highest), likely)
    found = Range(low, likely, high).scaled(_SECONDS_PER_NS)
    if measured is None:
        return found
    sum_likely = found.likely + measured.likely
    return Range(
        sum_likely - math.hypot(found.likely - found.low, measured.likely - measured.low),
        sum_likely,
        sum_likely + math.hypot(found.high - found.likely, measured.high - measured.likely),
    )


def _summed(weighted: _Weighted) -> tuple[float, float, float, Iterable[Sequence[float]]]:
    """The likely sum, its bounds, and ``low_ns`` and ``high_ns`` of those `_levers` that move it.

    In one pass: predictions make thousands of sums. The bounds are the least and the most that the
    sum can be, whatever each constant and each count is.
    """
    likely, lowest, highest = [], [], []
    moved: dict[object, list[float]] = {}
    is_taken_away = False
    for weight, charge in weighted:
        constant, count = charge.constant, charge.count
        low, price, high = constant.low, constant.likely, constant.high
        least, number, most = count.low, count.likely, count.high
        likely.append(weight * price * number)
        lowest.append(weight * low * least)
        highest.append(weight * high * most)
        is_taken_away |= weight <= 0
        if low != high:
            lever = moved.setdefault(constant.name or _constant_name(charge), [0.0, 0.0])
            lever[0] += weight * (low - price) * number
            lever[1] += weight * (high - price) * number
        if least != most:
            lever = moved.setdefault(_count_key(charge), [0.0, 0.0])
            lever[0] += weight * (least - number) * price
            lever[1] += weight * (most - number) * price
    bounds = math.fsum(lowest), math.fsum(highest)
    if is_taken_away:
        bounds = _bounds_ns(weighted)
    return math.fsum(likely), *bounds, moved.values()


def _bounds_ns(weighted: _Weighted) -> tuple[float, float]:
    """The bounds where some charges are taken away, which may be for the same as others."""
    groups: defaultdict[tuple[float, float, str, str, str], list[tuple[float, Range]]]
    groups = defaultdict(list)
    for weight, charge in weighted:
        price = charge.constant
        key = (price.low, price.high, _constant_name(charge), charge.what, charge.cause)
        groups[key].append((weight, charge.count))
    lowest, highest = [], []
    for (low, high, *_), counts in groups.items():
        corners = [end * cost for end in _ends(counts) for cost in (low, high)]
        lowest.append(min(corners))
        highest.append(max(corners))
    return math.fsum(lowest), math.fsum(highest)


def _ends(counts: Sequence[tuple[float, Range]]) -> tuple[float, float, float]:
    """The weighted sum with all counts low, likely and high; not in order where some are taken."""
    return (
        math.fsum(weight * count.low for weight, count in counts),
        math.fsum(weight * count.likely for weight, count in counts),
        math.fsum(weight * count.high for weight, count in counts),
    )


def _likely_ns(weighted: _Weighted) -> float:
    return math.fsum(w * c.constant.likely * c.count.likely for w, c in weighted)


def total(ranges: Iterable[Range]) -> Range:
    """The sum of ranges that are low (likely, high) together; 0 of none."""
    found = tuple(ranges)
    return Range(
        math.fsum(r.low for r in found),
        math.fsum(r.likely for r in found),
        math.fsum(r.high for r in found),
    )
