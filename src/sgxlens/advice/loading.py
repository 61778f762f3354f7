# SPDX-License-Identifier: Apache-2.0
"""What loading an ONNX model takes beside its weights, and what is left if it is loaded otherwise.

A model file is parsed into memory, its weights are copied, and copied again as the graph is
optimised, weights are rearranged for the layout of convolutions and packed for matrix products.
What the inferences do not use of all that is predicted away: its mappings, and its part of the page
loads of the phase, which are shared out by page visits. What stays in its place is mapped for as
long as the model is loaded. Weights that inferences happen not to use stay. Gains are beside those
of `sgxlens.advice.telemetry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sgxlens.advice.advice import Evidence, Gain
from sgxlens.advice.layers import weight_layers
from sgxlens.advice.telemetry import without_telemetry
from sgxlens.attribution import has_attribution, region_table
from sgxlens.enclave.mappings.load_copies import LoadCopies, load_copies
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.startup import phases_to_first_result
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge
    from sgxlens.prediction.evaluation import Evaluation
    from sgxlens.recording.reader import Phase

#: Operators whose weights ONNX Runtime packs when it loads a model.
DENSE = frozenset({"Gemm", "FusedGemm", "MatMul", "FusedMatMul"})
#: The allocator takes memory in pieces of up to so much.
_PIECE_BYTES = 4 << 20


class Weights(NamedTuple):
    """Sizes of the pages of weights that an inference uses.

    Attributes:
        all_bytes: of all.
        dense_bytes: of those of matrix products.
        largest_bytes: of the operator that has most of them.
        idle_bytes: of the model file, what no inference uses.
    """

    all_bytes: int
    dense_bytes: int
    largest_bytes: int
    idle_bytes: int


@dataclass(frozen=True)
class Loading:
    """The phase that loads a model.

    Attributes:
        situation: the situation.
        phase: the phase.
        weights: what it is for.
    """

    situation: Situation
    phase: Phase
    weights: Weights

    @property
    def native_seconds(self) -> float:
        """Its native time; 0: not timed."""
        rows = [row for row in self.situation.prediction.phases if row.phase == self.phase.index]
        return rows[0].native.median_seconds if rows else 0.0

    @cached_property
    def beside_telemetry(self) -> Situation:
        """The situation without the threads of telemetry."""
        situation = self.situation
        recording = without_telemetry(situation.recording, situation.phase.process)
        if recording is situation.recording:
            return situation
        evaluation = situation.again(recording=recording)
        return replace(situation, recording=recording, evaluation=evaluation)

    def without_copies(self, *, likely_bytes: int, most_bytes: int) -> Rid | None:
        """What is gained without what the inferences do not use; None: it cannot be told.

        Args:
            likely_bytes: what is likely mapped in its place while the model is loaded.
            most_bytes: the same, at most.
        """
        situation, weights = self.beside_telemetry, self.weights
        sizes = (likely_bytes, most_bytes + _PIECE_BYTES)
        copies = load_copies(
            situation.recording,
            self.phase,
            situation.phase,
            other_bytes=sizes,
            idle_bytes=weights.idle_bytes,
        )
        if copies is None or not copies.freed_bytes + copies.unused_bytes:
            return None
        likely, most = (situation.again(recording=one) for one in copies.recordings)
        # Of what it mapped, the inferences use some that need not have been: pieces of others.
        least_bytes = max(copies.used_bytes - weights.all_bytes, 0) + _PIECE_BYTES + likely_bytes
        native = Range(0, self.native_seconds * copies.visit_share, self.native_seconds)
        starts = [
            situation.startup_gain(self._charges(one, copies.visit_share), native)
            for one in (likely, most)
        ]
        memory = situation.memory_gain(likely, more_bytes=least_bytes)
        # Pieces that are not quite empty stay when the model is loaded.
        most_total = most.sizing.total_bytes.high
        least_saved = min(memory.saved.low, memory.before.high - most_total) - _PIECE_BYTES
        memory = replace(
            memory,
            after=replace(memory.after, high=most_total + _PIECE_BYTES),
            saved=replace(memory.saved, low=least_saved),
        )
        start = replace(
            starts[0],
            after=replace(starts[0].after, high=max(one.after.high for one in starts)),
            saved=replace(starts[0].saved, low=min(one.saved.low for one in starts)),
        )
        now = self.situation.prediction
        gains = tuple(
            gain
            for gain in (
                start.beside(now.startup.total_seconds),
                memory.beside(now.sizing.total_bytes),
            )
            if situation.is_worth(gain)
        )
        return Rid(copies, likely, gains)

    def _charges(self, after: Evaluation, visit_share: float) -> list[Charge]:
        """The charges of the start, with the page loads that are left of the phase."""
        mine = {id(charge) for charge in after.charges.get(self.phase.index, ())}
        found: list[Charge] = []
        loads: list[Charge] = []
        for charge in after.startup:
            is_load = id(charge) in mine and charge.cause == "paging" and charge.role is not None
            (loads if is_load else found).append(charge)
        return [*found, *self._left(loads, visit_share)]

    def _left(self, loads: Sequence[Charge], visit_share: float) -> list[Charge]:
        """Page loads that are left: at least one of each page of weights, at most those of now."""
        now = sum((charge.count.likely for charge in loads), 0.0)
        if not now:
            return list(loads)
        least = min(self.weights.all_bytes / PAGE_BYTES / now, 1.0)
        likely = max(1 - visit_share, least)
        return [
            replace(
                charge,
                count=Range(
                    charge.count.low * least, charge.count.likely * likely, charge.count.high
                ),
            )
            for charge in loads
        ]


@dataclass(frozen=True)
class Rid:
    """Loading without what the inferences do not use.

    Attributes:
        copies: what that is.
        after: the prediction.
        gains: those that are worth advice.
    """

    copies: LoadCopies
    after: Evaluation
    gains: tuple[Gain, ...]

    def evidence(self, situation: Situation) -> tuple[Evidence, ...]:
        """What is gone, and the enclave then."""
        origin = "tables mappings and page_visits of the recording"
        return (
            Evidence(
                "mapped while the model is loaded, and freed by its end",
                *(Range.exact(self.copies.freed_bytes), "bytes", origin),
            ),
            Evidence(
                "written while it is loaded, kept, and not used by an inference",
                *(Range.exact(self.copies.unused_bytes), "bytes", origin),
            ),
            Evidence(
                "page visits while it is loaded that are to such memory",
                *(Range.exact(self.copies.visit_share), "ratio", origin),
            ),
            *situation.size_evidence(self.after),
        )


def loading(situation: Situation) -> Loading | str:
    """The phase that loads the ONNX model of a recording; why not, where there is none."""
    recording = situation.recording
    if recording.metadata.target.kind != "onnx":
        return "how the program loads its model is known of ONNX models only"
    if not has_attribution(recording) or not recording.has_table("page_visits"):
        return "the recording does not say which memory holds weights"
    before = phases_to_first_result(recording.phases, situation.phase)
    load = next((phase for phase in before if phase.name == "load"), None)
    if load is None or load.index >= situation.phase.index:
        return "no phase that loads the model was recorded"
    roles = region_table(recording, situation.phase).roles
    weights = next((row.page.footprint_bytes for row in roles if row.role == "weights"), 0)
    if not weights:
        return "no inference uses weights"
    layers = weight_layers(situation)
    dense = sum(layer.weight_bytes for layer in layers if layer.operator.type in DENSE)
    largest = max(layer.weight_bytes for layer in layers)
    file_bytes = (getattr(recording.metadata.target, "model_file", None) or {}).get("size_bytes", 0)
    idle = max(file_bytes - weights, 0)
    return Loading(situation, load, Weights(weights, min(dense, weights), largest, idle))
