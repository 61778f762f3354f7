# SPDX-License-Identifier: Apache-2.0
"""What a prediction says of times, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sgxlens.enclave.charges import Cause
from sgxlens.enclave.quantities import Range


@dataclass(frozen=True)
class NativeBasis:
    """How long a phase takes without an enclave: what costs are added to.

    Attributes:
        median_seconds: what the prediction starts from.
        low_seconds, high_seconds: quartiles of the samples. They are shown beside the prediction
            and are no part of its range, which is about the median.
        sample_count: how many times it was taken; 0: `source` is ``given``.
        source: ``recorded``: from the recording; ``given``: by the caller.
    """

    median_seconds: float
    low_seconds: float
    high_seconds: float
    sample_count: int
    source: Literal["recorded", "given"]


@dataclass(frozen=True)
class CauseTime:
    """What one cause adds to a phase."""

    cause: Cause
    added_seconds: Range


@dataclass(frozen=True)
class Item:
    """All charges of a phase for the same thing at the same price.

    Attributes:
        cause: under which cause it is summed.
        what: what happens, for people.
        constant: name of the constant that prices it.
        constant_ns: that constant, nanoseconds each time.
        count: how often it happens.
        added_seconds: what it adds.
    """

    cause: Cause
    what: str
    constant: str
    constant_ns: Range
    count: Range
    added_seconds: Range


@dataclass(frozen=True)
class OperatorTime:
    """One execution of an operator, or what lies between operators.

    Attributes:
        operator: its number in the process, as in table ``operators``; None: between operators,
            and what no operator is known for.
        index: its index in the phase; None as above.
        name, type: as in table ``operators``; empty as above.
        native_seconds: its share of the native time of the phase; None: not timed natively.
        added_seconds: what the enclave adds.
        added_seconds_by_cause: the likely value of it by cause, only causes that occur.
        likely_counts: how often what is charged happens in it, by `Item.what`; likely values.
    """

    operator: int | None
    index: int | None
    name: str
    type: str
    native_seconds: float | None
    added_seconds: Range
    added_seconds_by_cause: dict[Cause, float]
    likely_counts: dict[str, float]


@dataclass(frozen=True)
class RoleTime:
    """What the enclave adds by accesses to memory of one role.

    Attributes:
        role: as in table ``regions``; None: of no memory, or it is not known of which.
        added_seconds: what is added.
        added_seconds_by_cause: the likely value of it by cause, only causes that occur.
    """

    role: str | None
    added_seconds: Range
    added_seconds_by_cause: dict[Cause, float]


@dataclass(frozen=True)
class Swing:
    """How far one constant, or one count that is not known exactly, moves a time.

    Attributes:
        kind: ``constant`` or ``count``.
        name: of a constant, where it stands in its file (``platform.transitions.ocall_ns``); of a
            count, what is counted.
        cause: the cause it counts under; None: several.
        value: the constant; of a count, what all of it together is.
        source: where the constant is from; empty for a count.
        low_seconds: the time with this one at its low value, and all others likely.
        high_seconds: as `low_seconds`, at its high value.
    """

    kind: Literal["constant", "count"]
    name: str
    cause: Cause | None
    value: Range
    source: str
    low_seconds: float
    high_seconds: float

    @property
    def swing_seconds(self) -> float:
        """How much the time moves from one end to the other."""
        return self.high_seconds - self.low_seconds


@dataclass(frozen=True)
class PhaseTime:
    """One phase inside the enclave.

    Likely values of `causes`, of `items`, of `roles`, and of `operators` each add up to the likely
    `added_seconds`. Low and high values do not: errors of different causes are independent.

    Attributes:
        process, phase, name: the process, the index of the phase in it, and its name.
        native: its native time.
        added_seconds: what the enclave adds to the native time.
        sgx_seconds: the time inside.
        slowdown: `sgx_seconds` / native median.
        causes: what each cause adds; all causes, in the order of `CAUSES`.
        items: what it is made of, the most expensive first.
        operators: by operator, in the order of their starts; the last row is what is between
            operators. Empty where no operators are known.
        roles: by role of the memory, the most expensive first.
        sensitivity: what makes the range, the widest swing first.
    """

    process: int
    phase: int
    name: str
    native: NativeBasis
    added_seconds: Range
    sgx_seconds: Range
    slowdown: Range
    causes: tuple[CauseTime, ...]
    items: tuple[Item, ...]
    operators: tuple[OperatorTime, ...]
    roles: tuple[RoleTime, ...]
    sensitivity: tuple[Swing, ...]


@dataclass(frozen=True)
class StartupTime:
    """From the start of the enclave to the first result.

    Attributes:
        items: what is done before the program's first instruction, the most expensive first.
        build_seconds: all of that.
        inside_items: what the enclave adds to the phases that follow, the most expensive first.
        causes: what each cause adds to all of it; all causes, in the order of `CAUSES`.
        phases: names of the phases that follow, the first inference (or warm-up) too.
        native_seconds: native time of these phases.
        inside_seconds: their time inside.
        total_seconds: `build_seconds` and `inside_seconds` together.
        untimed_phases: names of phases before the first result without a native time: they are in
            none of the times.
        sensitivity: what makes the range of the total, the widest swing first.
    """

    items: tuple[Item, ...]
    build_seconds: Range
    inside_items: tuple[Item, ...]
    causes: tuple[CauseTime, ...]
    phases: tuple[str, ...]
    native_seconds: float
    inside_seconds: Range
    total_seconds: Range
    untimed_phases: tuple[str, ...]
    sensitivity: tuple[Swing, ...]
