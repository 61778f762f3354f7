# SPDX-License-Identifier: Apache-2.0
"""The time from the start of the enclave to its first result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sgxlens.enclave.quantities import Range
from sgxlens.prediction.compose import by_cause, items
from sgxlens.prediction.model import StartupTime
from sgxlens.prediction.ranges import added_seconds, swings
from sgxlens.recording.phase_names import is_inference, is_warm_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sgxlens.enclave.charges import Charge
    from sgxlens.prediction.model import NativeBasis
    from sgxlens.recording.reader import Phase


def phases_to_first_result(phases: Sequence[Phase], steady: Phase) -> tuple[Phase, ...]:
    """The phases up to the first warm-up or inference, or `steady` where that comes before."""
    # A recording from a mark on has phases without an access, which cannot be predicted.
    ordered = [
        p
        for p in phases
        if p.process == steady.process and p.index <= steady.index and p.line_access_count
    ]
    first = next(
        (p.index for p in ordered if is_warm_up(p.name) or is_inference(p.name)), steady.index
    )
    return tuple(p for p in ordered if p.index <= first)


def startup_time(
    build: Sequence[Charge],
    phases: Sequence[Phase],
    natives: Mapping[Phase, NativeBasis],
    charges: Mapping[Phase, Sequence[Charge]],
) -> StartupTime:
    """Puts the build of the enclave and the phases up to the first result together.

    Args:
        build: what is done before the program's first instruction.
        phases: the phases up to the first result.
        natives: native times of the phases that have one.
        charges: their charges.
    """
    timed = [phase for phase in phases if phase in natives]
    native = math.fsum(natives[phase].median_seconds for phase in timed)
    of_phases = [charge for phase in timed for charge in charges[phase]]
    everything = [*build, *of_phases]
    return StartupTime(
        items=items(build),
        build_seconds=added_seconds(build),
        inside_items=items(of_phases),
        causes=by_cause(everything),
        phases=tuple(phase.name for phase in timed),
        native_seconds=native,
        inside_seconds=_above(native, added_seconds(of_phases)),
        total_seconds=_above(native, added_seconds(everything)),
        untimed_phases=tuple(phase.name for phase in phases if phase not in natives),
        sensitivity=swings(everything, native),
    )


def _above(base: float, added: Range) -> Range:
    return Range(base + added.low, base + added.likely, base + added.high)
