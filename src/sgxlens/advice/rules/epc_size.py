# SPDX-License-Identifier: Apache-2.0
"""EPC or machine: where paging costs, the least EPC with which it no longer does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import gain_elsewhere
from sgxlens.enclave.memory import power_of_two
from sgxlens.enclave.platform import load_platform, platform_names
from sgxlens.enclave.quantities import Range
from sgxlens.errors import UsageError
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.advice import Gain
    from sgxlens.advice.situation import Situation

_SHOW_EPC = Step(
    "See what a machine has: a size for each node, or as the kernel found it.",
    "shell",
    "cat /sys/devices/system/node/node*/x86/sgx_total_bytes\ndmesg | grep 'sgx: EPC section'",
)


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """A larger EPC of the same machine, or else another machine."""
    paging = situation.added("paging")
    share = situation.of_inference(paging.likely)
    epc = situation.prediction.epc
    needed = epc.for_overhead[0]
    size = power_of_two(needed.epc_bytes.high)
    place = situation.platform
    now = int(place.epc.usable_bytes.likely)
    if size <= now:
        return Declined(f"paging adds {share:.1%} of an inference: the EPC is large enough")
    if place.epc.is_settable:
        after = situation.again(platform=place.overridden(epc_bytes=size))
        gain = situation.inference_gain(after.steady)
        title = f"Set an EPC of {format_bytes(size)}"
        steps = (
            Step(
                "Choose the size of the EPC (PRM, SGX reserved memory) in the firmware, or the next"
                " size of the virtual machine: its documentation says which EPC comes with it."
            ),
            _SHOW_EPC,
        )
        costs: tuple[Cost, ...] = (
            Cost("money", "memory that is EPC is no ordinary memory; larger machines cost"),
        )
        assumptions: tuple[str, ...] = ()
    else:
        found = _elsewhere(situation, needed.epc_bytes.high)
        if found is None:
            return Declined(
                f"paging adds {share:.1%} of an inference and would need {format_bytes(size)} of"
                f" EPC, which cannot be set on {place.title}; no platform known here is faster"
            )
        gain, name = found
        title = f"Move to {format_bytes(size)} of EPC: {name}"
        steps = (
            Step(
                "Predict for that machine, with a native time measured there.",
                "shell",
                f"sgxlens predict {situation.recording.path} --platform {name} --native-time TIME",
            ),
            _SHOW_EPC,
        )
        costs = (
            Cost("money", "another machine: `sgxlens platforms` says which"),
            Cost("security", "scalable SGX encrypts memory without an integrity tree: it does not"
                 " detect replay by who has the memory bus"),
        )  # fmt: skip
        assumptions = ("Natively an inference takes as long there as measured here.",)
    if not situation.is_worth(gain):
        return Declined(f"paging adds {share:.1%} of an inference: more EPC saves too little")
    return (
        Advice(
            title=title,
            finding=(
                f"An inference uses {format_bytes(epc.footprint_bytes)} of pages, and"
                f" {format_bytes(now)} of EPC do not hold them: paging is {share:.0%} of its time."
            ),
            evidence=(
                Evidence(
                    *("paging in an inference", paging, "seconds"),
                    "sgxlens predict --json: steady.causes",
                ),
                Evidence(
                    *("pages of an inference", Range.exact(epc.footprint_bytes), "bytes"),
                    "sgxlens predict --json: epc.footprint_bytes",
                ),
                Evidence(
                    f"EPC for paging of at most {needed.overhead_percent:g} %",
                    *(needed.epc_bytes, "bytes", "sgxlens predict --json: epc.for_overhead"),
                ),
                *(
                    [
                        Evidence(
                            "EPC below which paging begins in earnest (the knee)",
                            Range.exact(epc.cliff_bytes),
                            *("bytes", "sgxlens predict --json: epc.cliff_bytes"),
                        )
                    ]
                    if epc.cliff_bytes is not None
                    else []
                ),
                *situation.operators("paging"),
            ),
            changes="machine",
            gains=(gain,),
            costs=costs,
            steps=steps,
            assumptions=assumptions,
        ),
    )


RULE = Rule("epc_size", "an EPC, or a machine, in which the pages fit", find)


def _elsewhere(situation: Situation, needed_bytes: float) -> tuple[Gain, str] | None:
    """The platform with such an EPC on which it is fastest: the gain, and its name."""
    found: list[tuple[Gain, str]] = []
    for name in platform_names():
        place = load_platform(name)
        if place.name == situation.platform.name or place.epc.usable_bytes.likely < needed_bytes:
            continue
        try:
            after = situation.again(platform=place)
        except UsageError:  # the runtime or the threads do not go with it
            continue
        gain = gain_elsewhere(situation.evaluation.steady_time, after.steady_time)
        found.append((gain, name))
    return max(found, key=lambda one: one[0].saved.likely, default=None)
