# SPDX-License-Identifier: Apache-2.0
"""Static or dynamic memory (EDMM): when pages are added to the enclave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import WORTH_SHARE
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

#: Runtimes, and themselves with pages that are added while the program runs.
_DYNAMIC = {"gramine": "gramine-edmm", "occlum": "occlum-edmm"}
_STATIC = {dynamic: static for static, dynamic in _DYNAMIC.items()}


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """The other of both, if inferences get shorter, or the start and they hardly longer."""
    runtime = situation.runtime
    other = {**_DYNAMIC, **_STATIC}.get(runtime.name)
    if other is None:
        return Declined(f"no variant of {runtime.title} adds pages at another time")
    if situation.platform.generation == "sgx1":
        return Declined("dynamic memory takes SGX2; this platform has SGX1")
    after = situation.again(runtime=load_runtime(other), enclave_size=None)
    startup = situation.startup_gain(after.startup)
    inference = situation.inference_gain(after.steady)
    if inference.share >= WORTH_SHARE:
        gains = (inference, startup)
    elif situation.is_worth(startup) and inference.share > -WORTH_SHARE:
        gains = (startup, inference)
    else:
        return Declined(
            f"adding pages at another time saves {startup.share:.1%} of the start and"
            f" {inference.share:.1%} of an inference"
        )
    sizes = [one.sizing.built_bytes for one in (situation.evaluation, after)]
    is_dynamic = other in _DYNAMIC.values()
    origin = "sgxlens predict --json: sizing.built_bytes"
    return (
        Advice(
            title="Add memory when asked for (EDMM)"
            if is_dynamic
            else "Add all memory before the start (no EDMM)",
            finding=(
                f"{format_bytes(sizes[0])} of pages are added to the enclave before the program"
                f" starts; with {load_runtime(other).title} it is {format_bytes(sizes[1])}."
            ),
            evidence=(
                Evidence(
                    *("pages added before the start", Range.exact(sizes[0]), "bytes", origin)
                ),
                Evidence(*("the same otherwise", Range.exact(sizes[1]), "bytes", origin)),
            ),
            changes="program",
            gains=gains,
            costs=(
                Cost("latency", "each page that is mapped anew is a fault: programs that map and"
                     " unmap while they infer get slower"),
            )
            if is_dynamic
            else (Cost("memory", "the whole size of the enclave is taken, used or not"),),
            steps=_steps(runtime.name, is_dynamic=is_dynamic),
            modification=Modification(runtime=other, settings={"enclave_size": None}),
        ),
    )  # fmt: skip


RULE = Rule("dynamic_memory", "when pages are added to the enclave", find)


def _steps(runtime: str, *, is_dynamic: bool) -> tuple[Step, ...]:
    if runtime.startswith("occlum"):
        value = "true" if is_dynamic else "false"
        return (Step(f"In Occlum.json: set feature.enable_edmm to {value}, and build anew."),)
    if is_dynamic:
        return (
            Step(
                "In the manifest, and without sgx.preheat_enclave; it needs Linux 6.0.",
                "toml",
                "sgx.edmm_enable = true",
            ),
        )
    return (
        Step(
            "In the manifest; `sgxlens predict` says which size is enough.",
            "toml",
            'sgx.edmm_enable = false\nsgx.enclave_size = "SIZE"',
        ),
    )
