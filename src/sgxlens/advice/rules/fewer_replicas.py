# SPDX-License-Identifier: Apache-2.0
"""Fewer replicas: enclaves that share an EPC too small for all page each other out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.enclave.quantities import Range

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation
    from sgxlens.prediction.evaluation import Evaluation

#: Throughput must grow by this share: fewer replicas are slower wherever processors, not the EPC,
#: are what is short.
_THROUGHPUT_SHARE = 0.02


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """The number of replicas that together make most inferences a second."""
    now = situation.settings.replicas
    if now < 2:
        return Declined("there is one replica")
    numbers = sorted({1, now // 2, now - 1} - {0, now})
    others = {number: situation.again(replicas=number) for number in numbers}
    rates = {number: _rate(other, number) for number, other in others.items()}
    before = _rate(situation.evaluation, now)
    best = max(rates, key=lambda number: rates[number].likely)
    if rates[best].likely < before.likely * (1 + _THROUGHPUT_SHARE):
        return Declined(f"{now} replicas together make as many inferences a second as fewer do")
    gain = situation.inference_gain(others[best].steady)
    origin = "sgxlens predict --json --replicas N: steady.sgx_seconds"
    return (
        Advice(
            title=f"Run {best} replica{'s' if best > 1 else ''} instead of {now}",
            finding=(
                f"{now} replicas share the EPC and load each other's pages again: they make"
                f" {before.likely:.3g} inferences a second together, {best} make"
                f" {rates[best].likely:.3g}."
            ),
            evidence=(
                Evidence("paging in an inference", situation.added("paging"), "seconds", origin),
                *(
                    Evidence(
                        f"time of an inference with {number} replicas",
                        *(other.steady_time.sgx_seconds, "seconds", origin),
                    )
                    for number, other in others.items()
                ),
            ),
            changes="program",
            gains=(gain,),
            costs=(Cost("latency", "requests that come at the same time wait for each other"),),
            steps=(
                Step(
                    "Start fewer enclaves, each with a queue of requests; find the number.",
                    "shell",
                    f"sgxlens predict {situation.recording.path}"
                    f" --platform {situation.platform.name} --replicas {best}",
                ),
            ),
            assumptions=("Each replica is busy all the time.",),
            modification=Modification(settings={"replicas": best}),
        ),
    )


RULE = Rule("fewer_replicas", "replicas that page each other out", find)


def _rate(evaluation: Evaluation, replicas: int) -> Range:
    """Inferences a second of all replicas together."""
    time = evaluation.steady_time.sgx_seconds
    return Range(replicas / time.high, replicas / time.likely, replicas / time.low)
