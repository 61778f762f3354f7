# SPDX-License-Identifier: Apache-2.0
"""Exitless: OCALLs that threads outside serve, where they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import counted
from sgxlens.enclave.runtime import load_runtime

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

#: Runtimes, and themselves with OCALLs that other threads serve.
_EXITLESS = {"gramine": "gramine-exitless"}


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """The runtime's switchless OCALLs, where they make the inference or the start shorter."""
    runtime = situation.runtime
    if runtime.switchless:
        return Declined("OCALLs are handed to threads outside already")
    if runtime.name not in _EXITLESS:
        return Declined(f"no switchless variant of {runtime.title} is known")
    after = situation.again(runtime=load_runtime(_EXITLESS[runtime.name]))
    inference = situation.inference_gain(after.steady)
    startup = situation.startup_gain(after.startup)
    gains = tuple(gain for gain in (inference, startup) if situation.is_worth(gain))
    if not gains:
        share = situation.of_inference(situation.added("transitions").likely)
        return Declined(f"leaving and entering adds {share:.1%} of an inference")
    ocalls = [c for c in situation.evaluation.steady if _is_ocall(c.what)]
    starting = [c for c in situation.evaluation.startup if _is_ocall(c.what)]
    threads = situation.prediction.sizing.max_threads
    return (
        Advice(
            title="Serve OCALLs outside (exitless)",
            finding=(
                f"An inference makes {counted(ocalls).likely:,.0f} OCALLs, and the start"
                f" {counted(starting).likely:,.0f}: handed to threads outside, most need no exit."
            ),
            evidence=(
                Evidence(
                    *("OCALLs in an inference", counted(ocalls), "count"),
                    "sgxlens predict --json: exits",
                ),
                Evidence(
                    *("OCALLs until the first result", counted(starting), "count"),
                    "sgxlens predict --json: startup.inside_items",
                ),
                *situation.operators("transitions"),
            ),
            changes="program",
            gains=gains,
            costs=(
                Cost(
                    "security",
                    "Gramine marks it insecure: open to CVE-2022-21233 and CVE-2022-21166",
                ),
                Cost("processors", f"{threads} threads outside wait busily; where processors are"
                     " few, the program gets slower"),
            ),
            steps=(
                Step(
                    "In the manifest: as many as threads of the enclave that work at once.",
                    "toml",
                    f"sgx.insecure__rpc_thread_num = {threads}",
                ),
            ),
            assumptions=("There is a processor for each thread outside.",),
            modification=Modification(runtime=_EXITLESS[runtime.name]),
        ),
    )  # fmt: skip


RULE = Rule("exitless", "phases that make many OCALLs", find)


def _is_ocall(what: str) -> bool:
    return what.startswith("OCALLs")
