# SPDX-License-Identifier: Apache-2.0
"""A prediction in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.enclave.charges import CAUSE_TITLES
from sgxlens.recording.phase_names import is_inference
from sgxlens.text import one_line
from sgxlens.units import format_ratio, format_seconds

if TYPE_CHECKING:
    from sgxlens.prediction.model import PhaseTime
    from sgxlens.prediction.result import Prediction

#: Causes are named until they explain so much of what is added.
_EXPLAINED = 0.9


def verdict(prediction: Prediction) -> str:
    """How slow and why, in plain words."""
    steady = prediction.steady
    place = prediction.deployment
    low, likely, high = (
        format_ratio(value)
        for value in (steady.slowdown.low, steady.slowdown.likely, steady.slowdown.high)
    )
    span = f" ({low} to {high})" if low != high else ""
    return (
        f"On {one_line(place.platform_title, 100)} in {one_line(place.runtime_title, 60)},"
        f" {_phase_name(steady)} takes {format_seconds(steady.sgx_seconds.likely)} instead of"
        f" {format_seconds(steady.native.median_seconds)}: {likely} times as long{span}."
        f" {_why(steady)}"
    )


def _phase_name(steady: PhaseTime) -> str:
    return "an inference" if is_inference(steady.name) else f"phase '{one_line(steady.name, 40)}'"


def _why(steady: PhaseTime) -> str:
    added = steady.added_seconds.likely
    if added < 0.01 * steady.native.median_seconds:
        return "The enclave adds next to nothing."
    ranked = sorted(steady.causes, key=lambda row: -row.added_seconds.likely)
    named: list[str] = []
    explained = 0.0
    for row in ranked:
        named.append(f"{CAUSE_TITLES[row.cause]} ({row.added_seconds.likely / added:.0%})")
        explained += row.added_seconds.likely
        if explained >= _EXPLAINED * added:
            break
    words = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    amount = format_seconds(added)
    if len(named) == 1:
        return f"What is added, {amount}, is nearly all {words}."
    return f"What is added, {amount}, is mostly {words}."
