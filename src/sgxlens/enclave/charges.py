# SPDX-License-Identifier: Apache-2.0
"""What the models of an enclave hand to the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from sgxlens.enclave.quantities import Constant, Range

#: ``compute``: the program's own instructions run slower inside. ``transitions``: leaving and
#: entering the enclave (ECALL, OCALL, AEX). ``encryption``: lines that leave the last-level cache.
#: ``paging``: pages loaded into the EPC again, and those evicted for it. ``runtime``: work that the
#: runtime does in place of the kernel (clearing memory, hashing files, copying across the border)
#: and building the enclave.
Cause = Literal["compute", "transitions", "encryption", "paging", "runtime"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
#: What people read in place of them.
CAUSE_TITLES: Final[dict[Cause, str]] = {
    "compute": "slower instructions",
    "transitions": "leaving and entering",
    "encryption": "memory encryption",
    "paging": "EPC paging",
    "runtime": "the runtime's own work",
}


@dataclass(frozen=True)
class Charge:
    """Something that happens `count` times and takes `constant` nanoseconds each time.

    A time is therefore linear in every constant, which is how a prediction knows which of them
    dominate its range.

    Attributes:
        cause: under which cause it is summed.
        what: what happens, for people: ``page loads``, ``futex waits``; alike where it is the same.
        constant: nanoseconds each time (of ``compute`` and work by size: nanoseconds for each
            nanosecond or byte counted).
        count: how often; a range where the recording does not tell exactly.
        operator: number of the operator in which it happens, as in table ``operators``; None:
            between operators, or not known.
        role: role of the memory concerned, as in table ``regions``; None: of no memory.
    """

    cause: Cause
    what: str
    constant: Constant
    count: Range
    operator: int | None = None
    role: str | None = None
