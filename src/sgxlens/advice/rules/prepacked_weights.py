# SPDX-License-Identifier: Apache-2.0
"""Weights that ONNX Runtime packs for matrix products when it loads them: a copy of each.

Without packing, and with the weights in a file that is mapped, the inferences use the mapped file:
nothing is written while the model is loaded. A matrix product then takes longer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Gain, Step
from sgxlens.advice.loading import DENSE, loading
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.rules.load_copies import modification, save_steps
from sgxlens.advice.telemetry import BESIDE_TELEMETRY
from sgxlens.enclave.quantities import Range
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

_OF = {"startup": "the start", "memory": "memory"}
_KEY = "session.disable_prepacking"
#: What matrix products take longer without packing, as a share of their native time: AlexNet and a
#: transformer, 1 to 16 samples, ONNX Runtime 1.32, one thread of a processor with AVX-512; what is
#: measured is in ``docs/advice.md``.
_LONGER = Range(0.02, 0.13, 0.3)


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """No packed copies, where dense layers have most weights and loading them costs."""
    found = loading(situation)
    if isinstance(found, str):
        return Declined(found)
    weights = found.weights
    if 2 * weights.dense_bytes < weights.all_bytes:
        return Declined("matrix products use less than half of the weights: few are packed")
    rid = found.without_copies(likely_bytes=0, most_bytes=weights.all_bytes - weights.dense_bytes)
    if rid is None or not rid.gains:
        return Declined("the memory that packing weights takes costs too little")
    slower = _slower(situation)
    if slower is not None and -slower.share > rid.gains[0].share:
        return Declined(
            f"without packing, an inference takes {-slower.share:.1%} longer: more than the"
            f" {rid.gains[0].share:.1%} that it saves of {_OF[rid.gains[0].of]}"
        )
    dense = Range.exact(weights.dense_bytes)
    return (
        Advice(
            title="Use weights from the mapped file, without packing them",
            finding=(
                f"ONNX Runtime packs {format_bytes(weights.dense_bytes)} of weights of matrix"
                " products as it loads them, and no inference uses the originals."
            ),
            evidence=(
                Evidence(
                    *("weights of matrix products", dense, "bytes"),
                    "sgxlens show --json: operators",
                ),
                *rid.evidence(situation),
            ),
            changes="program",
            gains=(*rid.gains, *([] if slower is None else [slower])),
            costs=(
                Cost("latency", "matrix products take longer, the more so the fewer rows they"
                     " have: 2 to 30 % measured"),
                Cost("security", "there are two files to trust instead of one"),
            ),
            steps=(
                *save_steps(situation),
                Step(
                    "Load it so.",
                    "python",
                    f"options.add_session_config_entry({_KEY!r}, '1')",
                ),
            ),
            assumptions=(
                "Nothing but the model and its session is loaded in that phase.",
                BESIDE_TELEMETRY,
                "The runtime keeps one copy of a mapped file.",
            ),
            modification=modification() | Modification(session={"config": {_KEY: "1"}}),
        ),
    )  # fmt: skip


RULE = Rule("prepacked_weights", "weights that are packed when a model is loaded", find)


def _slower(situation: Situation) -> Gain | None:
    """What an inference loses; None: its operators have no native times."""
    steady = situation.prediction.steady
    native = math.fsum(row.native_seconds or 0.0 for row in steady.operators if row.type in DENSE)
    if not native:
        return None
    lost = _LONGER.scaled(native)
    before = steady.sgx_seconds
    return Gain(
        of="inference",
        before=before,
        after=before + lost,
        saved=Range(-lost.high, -lost.likely, -lost.low),
    )
