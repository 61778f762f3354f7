# SPDX-License-Identifier: Apache-2.0
"""Copies of a model that loading it leaves: the graph optimised once, its weights in a file.

The file of weights is mapped, not parsed; what is optimised in the graph is optimised already; and
what the allocator has freed it gives back. What is left: one weight at a time that is rearranged or
packed, while the file is mapped. At most all of them are there twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Step
from sgxlens.advice.loading import loading
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.steps import environment_step
from sgxlens.advice.telemetry import BESIDE_TELEMETRY
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

TRIM, TRIM_BYTES = "MALLOC_TRIM_THRESHOLD_", "131072"
TRANSFORMATIONS = ("optimized", "external-data")
_SAVE = """\
import onnxruntime
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
options.optimized_model_filepath = 'optimized.onnx'
entry = 'session.optimized_model_external_initializers_'
options.add_session_config_entry(entry + 'file_name', 'optimized.onnx.data')
options.add_session_config_entry(entry + 'min_size_in_bytes', '1024')
onnxruntime.InferenceSession(MODEL, options, providers=['CPUExecutionProvider'])"""


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """The model saved optimised with its weights beside it, where loading leaves copies."""
    found = loading(situation)
    if isinstance(found, str):
        return Declined(found)
    weights = found.weights
    rid = found.without_copies(
        likely_bytes=weights.largest_bytes if weights.dense_bytes else 0,
        most_bytes=weights.all_bytes,
    )
    if rid is None or not rid.gains:
        return Declined("loading the model leaves little behind that no inference uses")
    left = format_bytes(rid.copies.freed_bytes + rid.copies.unused_bytes)
    return (
        Advice(
            title="Save the model optimised, with its weights in a file beside it",
            finding=(
                f"Loading {format_bytes(weights.all_bytes)} of weights takes {left} more, for"
                " parsing and copies, which no inference uses."
            ),
            evidence=rid.evidence(situation),
            changes="program",
            gains=rid.gains,
            costs=(
                Cost("security", "there are two files to trust instead of one"),
                Cost("latency", "memory that is freed goes back at once: programs that allocate"
                     " 128 KiB or more in each inference, beside ONNX Runtime's arena, map anew"),
            ),
            steps=save_steps(situation),
            assumptions=(
                "Nothing but the model and its session is loaded in that phase.",
                BESIDE_TELEMETRY,
                "The file of weights is read as it is mapped, as the model file is now.",
            ),
            modification=modification(),
        ),
    )  # fmt: skip


RULE = Rule("load_copies", "memory that loading a model leaves behind", find)


def modification() -> Modification:
    """What a machine can do of it."""
    return Modification(model=TRANSFORMATIONS, environment={TRIM: TRIM_BYTES})


def save_steps(situation: Situation) -> tuple[Step, ...]:
    """Saves the model so, and lets the program load that."""
    model = one_line(str(getattr(situation.recording.metadata.target, "model", "MODEL")))
    return (
        Step(
            "Save it once; layouts of convolutions, which depend on the processor, come at load.",
            "python",
            _SAVE.replace("MODEL", repr(model)),
        ),
        Step("Let the program load optimized.onnx instead."),
        environment_step(situation.runtime, TRIM, TRIM_BYTES),
    )
