# SPDX-License-Identifier: Apache-2.0
"""What a new recording says of a piece of advice, in words that all renderers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.recording.metadata import printable
from sgxlens.units import format_ratio

if TYPE_CHECKING:
    from sgxlens.advice.advice import OutputDeviation, Verified


def verified_facts(found: Verified) -> list[tuple[str, str]]:
    """What there is to say of a new recording beside its gains: names and sentences."""
    places = {True: "inside", False: "outside"}
    where = {places[inside] for inside in found.inside}
    ratio = found.native_ratio
    native = (
        f"{format_ratio(ratio.likely)} of the recorded program's ({format_ratio(ratio.low)} to"
        f" {format_ratio(ratio.high)} in turns)"
    )
    facts = [
        ("prediction", f"what is saved is {' and '.join(sorted(where))} the predicted range"),
        ("native time", native),
    ]
    if found.outputs is not None:
        facts.append(("outputs", outputs_text(found.outputs)))
    kept = "made before, and used again" if found.was_there else "kept"
    facts.append(("recording", f"{printable(found.recording)} ({kept})"))
    return [*facts, *(("note", note) for note in found.notes)]


def outputs_text(outputs: OutputDeviation) -> str:
    """How far outputs deviate, and whether that is tolerated."""
    if not outputs.max_absolute:
        return f"the same as before in {outputs.sample_count} samples"
    text = (
        f"{'within' if outputs.is_within else 'beyond'} the tolerance of {outputs.tolerance:g}:"
        f" off by at most {outputs.max_relative:.2g} of the largest magnitude"
        f" ({outputs.max_absolute:.2g}) in {outputs.sample_count} samples"
    )
    if outputs.top1_agreement is not None:
        text += f"; the largest is at the same place in {outputs.top1_agreement:.0%}"
    return text
