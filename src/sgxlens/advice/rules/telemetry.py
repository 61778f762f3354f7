# SPDX-License-Identifier: Apache-2.0
"""Telemetry of ONNX Runtime: threads that gather and send usage data from inside the enclave.

Each has a stack and an arena of the allocator. The recording is predicted again without them; see
`sgxlens.advice.telemetry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Declined, Evidence
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.steps import environment_step
from sgxlens.advice.telemetry import SWITCH, telemetry_of
from sgxlens.enclave.mappings.arenas import KEPT_BYTES
from sgxlens.enclave.mappings.threads import without_threads
from sgxlens.enclave.quantities import Range
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

_VALUE = "1"


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """No telemetry, where its threads make the enclave larger."""
    recording, process = situation.recording, situation.phase.process
    found = telemetry_of(recording, process)
    if found is None:
        return Declined("ONNX Runtime was not seen to gather usage data")
    folder, threads = found
    after = situation.again(recording=without_threads(recording, process, threads))
    gains = situation.footprint_gains(after, more_bytes=KEPT_BYTES, less_bytes=KEPT_BYTES)
    if not gains:
        return Declined(
            f"the {len(threads)} threads that gather usage data for ONNX Runtime make the enclave"
            " hardly larger"
        )
    sizing = situation.prediction.sizing
    return (
        Advice(
            title="Switch off ONNX Runtime's telemetry",
            finding=(
                f"ONNX Runtime gathers usage data in {one_line(folder, 60)} and sends it, which"
                f" tells what model runs; {len(threads)} threads do it, each with a stack and an"
                " arena."
            ),
            evidence=(
                Evidence(
                    *("threads of telemetry", Range.exact(len(threads)), "count"),
                    "table threads of the recording",
                ),
                Evidence(
                    *("threads that must be set", Range.exact(sizing.max_threads), "count"),
                    "sgxlens predict --json: sizing.max_threads",
                ),
                Evidence(
                    *("the same then", Range.exact(after.sizing.max_threads), "count"),
                    "sgxlens predict --json: sizing.max_threads",
                ),
                *situation.size_evidence(after),
            ),
            changes="program",
            gains=gains,
            costs=(),
            steps=(environment_step(situation.runtime, SWITCH, _VALUE),),
            assumptions=(
                "The threads are those that were recorded: some start ten seconds after the first.",
            ),
            modification=Modification(environment={SWITCH: _VALUE}),
        ),
    )


RULE = Rule("telemetry", "threads that gather usage data", find)
