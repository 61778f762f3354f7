# SPDX-License-Identifier: Apache-2.0
"""Size of the enclave, and reading all of it before the start: pages that nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.enclave.quantities import Range
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

_ORIGIN = "sgxlens predict --json: sizing.enclave_bytes"


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """The least size that is enough, and no preheating where it only costs."""
    runtime = situation.runtime
    if runtime.memory.commits != "at_build":
        return Declined(f"{runtime.title} adds pages as the program asks for them")
    advice = [*_smaller(situation), *_unheated(situation)]
    if not advice:
        return Declined("the enclave is as small as it can be, and nothing reads all of it")
    return tuple(advice)


RULE = Rule("enclave_size", "pages of the enclave that nobody needs", find)


def _smaller(situation: Situation) -> list[Advice]:
    sizing = situation.prediction.sizing
    if not sizing.is_given or sizing.enclave_bytes is None:
        return []
    after = situation.again(enclave_size=None)
    enough = after.sizing.enclave_bytes
    gain = situation.startup_gain(after.startup)
    if enough is None or enough >= sizing.enclave_bytes or not situation.is_worth(gain):
        return []
    name = situation.runtime.memory.settings.enclave
    return [
        Advice(
            title=f"Make the enclave {format_bytes(enough)} instead of"
            f" {format_bytes(sizing.enclave_bytes)}",
            finding=(
                f"Every page of the enclave is added before the start; the program and the runtime"
                f" take at most {format_bytes(sizing.total_bytes.high)}."
            ),
            evidence=(
                Evidence(
                    *("size of the enclave", Range.exact(sizing.enclave_bytes), "bytes", _ORIGIN)
                ),
                Evidence(
                    *("all that must fit", sizing.total_bytes, "bytes"),
                    "sgxlens predict --json: sizing.total_bytes",
                ),
            ),
            changes="program",
            gains=(gain,),
            costs=(Cost("memory", "other inputs than those recorded may need more"),),
            steps=(
                Step(
                    "In the manifest.",
                    "toml",
                    f'{name} = "{enough >> 20}M"',
                ),
            ),
            modification=Modification(settings={"enclave_size": None}),
        )
    ]


def _unheated(situation: Situation) -> list[Advice]:
    runtime = situation.runtime
    if not runtime.work.preheats:
        return []
    work = runtime.work.model_copy(update={"preheats": False})
    after = situation.again(runtime=runtime.model_copy(update={"work": work}))
    startup = situation.startup_gain(after.startup)
    inference = situation.inference_gain(after.steady)
    if not situation.is_worth(startup):
        return []
    built = situation.prediction.sizing.built_bytes
    return [
        Advice(
            title="Do not read the whole enclave before the start (preheat)",
            finding=(
                f"The runtime reads a word of each page of {format_bytes(built)} before the start,"
                f" of which the EPC holds"
                f" {format_bytes(situation.platform.epc.usable_bytes.likely)}."
            ),
            evidence=(
                Evidence(
                    *("pages read before the start", Range.exact(built), "bytes"),
                    "sgxlens predict --json: sizing.built_bytes",
                ),
            ),
            changes="program",
            gains=(startup, inference),
            costs=(Cost("latency", "the first inferences take the faults instead"),),
            steps=(Step("In the manifest.", "toml", "sgx.preheat_enclave = false"),),
        )
    ]
