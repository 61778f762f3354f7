# SPDX-License-Identifier: Apache-2.0
"""Puts a native time and charges together to the time of a phase inside an enclave."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable
from typing import TYPE_CHECKING, TypeVar

from sgxlens.enclave.charges import CAUSES, Cause, Charge
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.model import CauseTime, Item, OperatorTime, PhaseTime, RoleTime
from sgxlens.prediction.ranges import added_seconds, likely_seconds, swings, total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sgxlens.enclave.quantities import Constant
    from sgxlens.prediction.model import NativeBasis
    from sgxlens.recording.reader import Operator, Phase

Key = TypeVar("Key", bound=Hashable)

_NS_PER_SECOND = 1e9
_ROUNDING = 1e-9
COMPUTE = "nanoseconds of instructions"


def compute_charges(
    slowdown: Constant, native: NativeBasis, of_operators: Mapping[int, float]
) -> list[Charge]:
    """What the program's own instructions take longer: `slowdown` for each native nanosecond."""
    rest = _left(native.median_seconds, of_operators.values())
    parts: list[tuple[int | None, float]] = [*of_operators.items(), (None, rest)]
    return [
        Charge("compute", COMPUTE, slowdown, Range.exact(seconds * _NS_PER_SECOND), operator=number)
        for number, seconds in parts
        if seconds > 0
    ]


def compose(
    phase: Phase,
    native: NativeBasis,
    charges: Sequence[Charge],
    operators: Sequence[Operator] = (),
    native_of_operators: Mapping[int, float] | None = None,
) -> PhaseTime:
    """The time of a phase inside an enclave.

    Args:
        phase: the phase.
        native: its native time.
        charges: all that the enclave adds, ``compute`` too.
        operators: the operators of the phase.
        native_of_operators: their native seconds by their number; of those that were timed.
    """
    base = native.median_seconds
    added = added_seconds(charges)
    sgx = Range(base + added.low, base + added.likely, base + added.high)
    return PhaseTime(
        process=phase.process,
        phase=phase.index,
        name=phase.name,
        native=native,
        added_seconds=added,
        sgx_seconds=sgx,
        slowdown=sgx.scaled(1 / base),
        causes=by_cause(charges),
        items=items(charges),
        operators=_operators(charges, operators, native_of_operators or {}, base),
        roles=_roles(charges),
        sensitivity=swings(charges, base),
    )


def by_cause(charges: Iterable[Charge]) -> tuple[CauseTime, ...]:
    """What each cause adds; all causes, in the order of `CAUSES`."""
    groups = _groups(charges, lambda charge: charge.cause)
    return tuple(CauseTime(cause, added_seconds(groups.get(cause, ()))) for cause in CAUSES)


def items(charges: Iterable[Charge]) -> tuple[Item, ...]:
    """The charges summed over operators and roles, the most expensive first."""
    groups = _groups(
        charges,
        # Constants with one name may differ, as those of several numbers of threads.
        lambda c: (
            *(c.cause, c.what, c.constant.name, c.constant.source),
            *(c.constant.low, c.constant.likely, c.constant.high),
        ),
    )
    found = [
        Item(
            cause=group[0].cause,
            what=group[0].what,
            constant=group[0].constant.name,
            constant_ns=group[0].constant.range,
            count=total(charge.count for charge in group),
            added_seconds=added_seconds(group),
        )
        for group in groups.values()
    ]
    return tuple(sorted(found, key=lambda item: (-item.added_seconds.likely, item.what)))


def _operators(
    charges: Sequence[Charge],
    operators: Sequence[Operator],
    native: Mapping[int, float],
    base_seconds: float,
) -> tuple[OperatorTime, ...]:
    if not operators:
        return ()
    known = {operator.number for operator in operators}
    # A charge of an operator of another phase, which lasts into this one, is of no operator here.
    groups = _groups(charges, lambda c: c.operator if c.operator in known else None)
    rows = [
        OperatorTime(
            operator=operator.number,
            index=operator.index,
            name=operator.name,
            type=operator.type,
            native_seconds=native.get(operator.number),
            added_seconds=added_seconds(groups.get(operator.number, ())),
            added_seconds_by_cause=_likely_by_cause(groups.get(operator.number, ())),
            likely_counts=_likely_counts(groups.get(operator.number, ())),
        )
        for operator in operators
    ]
    rest = groups.get(None, ())
    between = OperatorTime(
        operator=None,
        index=None,
        name="",
        type="",
        native_seconds=_left(base_seconds, native.values()),
        added_seconds=added_seconds(rest),
        added_seconds_by_cause=_likely_by_cause(rest),
        likely_counts=_likely_counts(rest),
    )
    return (*rows, between)


def _roles(charges: Sequence[Charge]) -> tuple[RoleTime, ...]:
    rows = [
        RoleTime(role, added_seconds(group), _likely_by_cause(group))
        for role, group in _groups(charges, lambda charge: charge.role).items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.added_seconds.likely, row.role or "")))


def _left(seconds: float, parts: Iterable[float]) -> float:
    """What is left of a time; an error of rounding is nothing."""
    rest = seconds - math.fsum(parts)
    return rest if rest > _ROUNDING * seconds else 0.0


def _likely_by_cause(charges: Iterable[Charge]) -> dict[Cause, float]:
    groups = _groups(charges, lambda charge: charge.cause)
    return {cause: likely_seconds(groups[cause]) for cause in CAUSES if cause in groups}


def _likely_counts(charges: Iterable[Charge]) -> dict[str, float]:
    counts: defaultdict[str, float] = defaultdict(float)
    for charge in charges:
        if charge.what != COMPUTE:  # which is the native time in another unit
            counts[charge.what] += charge.count.likely
    return dict(counts)


def _groups(charges: Iterable[Charge], key: Callable[[Charge], Key]) -> dict[Key, list[Charge]]:
    groups: defaultdict[Key, list[Charge]] = defaultdict(list)
    for charge in charges:
        groups[key(charge)].append(charge)
    return dict(groups)
