# SPDX-License-Identifier: Apache-2.0
"""What differs between recordings of one program, and is held alike in two that are compared.

A change is not to be refuted, or verified, by what would have been different without it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.enclave.paging import SELDOM_PAGE_LOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sgxlens.enclave.charges import Charge

#: Reads of the time stamp counter, as a recording counts them.
_CLOCK_EVENTS = ("rdtsc", "rdtscp")


def as_before(
    before: Sequence[Charge], after: Sequence[Charge], is_chance: Callable[[Charge], bool]
) -> list[Charge]:
    """`after` with charges of chance as in `before`, where both have such; else as it is.

    That there are none any more is an effect of the change.
    """
    if not (any(map(is_chance, before)) and any(map(is_chance, after))):
        return list(after)
    return [
        *(charge for charge in after if not is_chance(charge)),
        *(charge for charge in before if is_chance(charge)),
    ]


def is_waiting(charge: Charge) -> bool:
    """Whether it is of a loop that waits for a time.

    It reads the clock the more often the faster it runs: under the tracer another number in each
    recording.
    """
    # Of reads by a loop it is not certain that they happen inside at all.
    reads_clock = charge.what.rpartition(" ")[2] in _CLOCK_EVENTS
    return charge.cause == "transitions" and reads_clock and charge.count.low == 0


def is_seldom_load(charge: Charge) -> bool:
    """Whether it is of loads of pages that are seldom used.

    Beside threads of telemetry, which wake by the clock, an inference of one program had from 125
    to 406 of them, another from 1,861 to 2,551: those that others bring in, and push out, are
    theirs.
    """
    return charge.what == SELDOM_PAGE_LOADS and charge.count.likely > 0
