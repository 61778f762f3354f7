# SPDX-License-Identifier: Apache-2.0
"""A better order of eviction: what the driver loads beyond what the optimum (Belady) would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.registry import Rule
from sgxlens.enclave.quantities import Range
from sgxlens.units import format_count

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.epc import EpcPolicy

#: Orders that a driver could follow without knowing the future.
_POSSIBLE: dict[EpcPolicy, str] = {
    "pinned": "Pin the pages that inferences use most",
    "mru": "Evict the page that was used last",
    "lru": "Evict the page not used for longest",
}


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """The best order that needs no foresight, if it is much better than the driver's."""
    rows = {row.policy: row for row in situation.prediction.epc.policies}
    used = next((row for row in rows.values() if row.is_used), None)
    if used is None or not used.load_count:
        return Declined("an inference loads no page: no other order would be better")
    best = min((rows[p] for p in _POSSIBLE if p in rows), key=lambda row: row.load_count)
    optimum = rows["optimum"]
    saved = used.added_seconds.likely - best.added_seconds.likely
    share = situation.of_inference(saved)
    if share <= 0:
        return Declined("no order that a driver could follow loads fewer pages than its own")
    if not situation.is_worth(gain := situation.inference_gain(
        situation.again(policy=best.policy).steady
    )):  # fmt: skip
        return Declined(
            f"the best order that a driver could follow saves {max(share, 0):.1%} of an inference"
        )
    origin = "sgxlens predict --json: epc.policies"
    return (
        Advice(
            title=f"{_POSSIBLE[best.policy]} (driver)",
            finding=(
                f"The driver's order loads {format_count(used.load_count)} pages in an inference;"
                f" {best.policy} would load {format_count(best.load_count)}, and no order fewer"
                f" than {format_count(optimum.load_count)}."
            ),
            evidence=(
                *(
                    Evidence(
                        f"page loads in the order {row.policy}",
                        *(Range.exact(row.load_count), "count", origin),
                    )
                    for row in (used, best, optimum)
                ),
                *situation.operators("paging"),
            ),
            changes="machine",
            gains=(gain,),
            costs=(
                Cost("memory", "pages that are kept are lost to other enclaves of the machine"),
                Cost("latency", "other phases, such as loading a model, may load more pages"),
            ),
            steps=(
                Step(
                    "No setting of Linux does it, and no program inside can: eviction is up to the"
                    " kernel (sgx_reclaim_pages() in arch/x86/kernel/cpu/sgx/main.c). Whoever"
                    " builds the kernel can change it there; others take from this what a"
                    " different layout would be worth, and use a batch or narrower weights.",
                    "shell",
                    f"sgxlens predict {situation.recording.path}"
                    f" --platform {situation.platform.name} --policy {best.policy}",
                ),
            ),
            assumptions=("The driver knows which pages those are.",)
            if best.policy == "pinned"
            else (),
        ),
    )


RULE = Rule("eviction_order", "page loads beyond those of the best order of eviction", find)
