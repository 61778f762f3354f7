# SPDX-License-Identifier: Apache-2.0
"""Layers: operators, and the pages of weights that they use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sgxlens.attribution.facts import FACT_TABLES, PhaseFacts, facts_of
from sgxlens.recording.distinct import distinct_values
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.quantities import Range
    from sgxlens.recording.reader import Operator

#: Operators that look some rows up in a table; which ones, the input says.
_LOOKS_UP = frozenset({"Gather", "GatherElements", "GatherND", "EmbeddingBag"})


@dataclass(frozen=True)
class Layer:
    """One execution of an operator that uses weights.

    Attributes:
        operator: the operator.
        weight_page_count: distinct pages of weights that it uses.
        other_page_count: distinct pages of other memory.
    """

    operator: Operator
    weight_page_count: int
    other_page_count: int

    @property
    def weight_bytes(self) -> int:
        """Size of its pages of weights."""
        return self.weight_page_count * PAGE_BYTES

    @property
    def title(self) -> str:
        """What it is called, for people."""
        operator = self.operator
        return f"operator {operator.index} ({one_line(operator.name, 60)}, {operator.type})"

    @property
    def looks_up(self) -> bool:
        """Whether it uses some rows of a table only."""
        return self.operator.type in _LOOKS_UP or "embedding" in self.operator.type


def weight_layers(situation: Situation) -> tuple[Layer, ...]:
    """The layers of the steady inference, those with most weights first.

    A page of which a layer uses both weights and other memory counts as both.

    Raises:
        RecordingError: the recording has no attribution, or is damaged.
    """
    recording, phase = situation.recording, situation.phase
    # Several rules ask.
    return recording.derived(
        (weight_layers, phase), lambda: _weight_layers(facts_of(recording, phase)), FACT_TABLES
    )


def _weight_layers(facts: PhaseFacts) -> tuple[Layer, ...]:
    names, role_of = facts.roles
    if "weights" not in names:
        return ()
    pieces, uses = facts.use_pieces, facts.uses
    operator = facts.contexts.operator[uses.context[pieces.use]]
    page = uses.page[pieces.use]
    is_weight = role_of[pieces.region] == names.index("weights")
    count = len(facts.operators)

    def page_counts(chosen: npt.NDArray[np.bool_]) -> list[int]:
        width = max(facts.pages.size, 1)
        key = distinct_values(operator[chosen] * width + page[chosen]).values.astype(np.int64)
        counts: list[int] = np.bincount(key // width, minlength=count).tolist()
        return counts

    inside = operator >= 0
    weights, others = page_counts(inside & is_weight), page_counts(inside & ~is_weight)
    found = [
        Layer(one, weights[index], others[index])
        for index, one in enumerate(facts.operators)
        if weights[index]
    ]
    return tuple(sorted(found, key=lambda layer: -layer.weight_page_count))


def weight_loads(situation: Situation) -> dict[int | None, Range]:
    """Page loads of weights in the steady inference, by the number of the operator."""
    found: dict[int | None, Range] = {}
    for charge in situation.evaluation.steady:
        if charge.cause == "paging" and charge.role == "weights":
            now = found.get(charge.operator)
            found[charge.operator] = charge.count if now is None else now + charge.count
    return found
