# SPDX-License-Identifier: Apache-2.0
"""Stacks of threads: as large as the runtime's configuration says, used or not.

A library OS gives the C library a limit that it takes for the stack of each thread (see
`sgxlens.enclave.stacks`). Linux holds what is used of them; a runtime that adds all pages before
the start, or as memory is mapped, holds all. The recording is predicted again with stacks that the
deepest one fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.registry import Rule
from sgxlens.enclave.mappings.events import recorded_stacks
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.stacks import roomy_stack_bytes
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.runtime import Runtime

#: What is advised at least, Gramine's default, and how many times what was used.
_LEAST_BYTES, _TIMES = 256 << 10, 2
_ORIGIN = "tables mappings and page_visits of the recording"


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Smaller stacks, where those that the runtime gives make the enclave larger."""
    runtime = situation.runtime
    given = int(runtime.memory.stack_bytes.likely)
    if runtime.memory.thread_stacks == "set" or not runtime.memory.settings.stack:
        return Declined(f"{runtime.title} has a stack for each thread that is set")
    stacks = recorded_stacks(situation.recording, situation.phase.process)
    if not stacks.threads or any(stack.used_bytes is None for stack in stacks.threads):
        return Declined("no thread has a stack of which it is known how much it uses")
    enough = max(roomy_stack_bytes(_TIMES * stacks.deepest_bytes), _LEAST_BYTES)
    if enough >= given:
        return Declined(
            f"{runtime.title} gives threads stacks of {format_bytes(given)}, and one used"
            f" {format_bytes(stacks.deepest_bytes)}: less is not advised"
        )
    after = situation.again(runtime=_with_stacks(runtime, enough))
    gains = situation.footprint_gains(after)
    if not gains:
        return Declined(
            f"{runtime.title} gives threads stacks of {format_bytes(given)}, which makes the"
            " enclave hardly larger"
        )
    key = runtime.memory.settings.stack
    return (
        Advice(
            title="Give threads smaller stacks",
            finding=(
                f"{runtime.title} gives each thread a stack of {format_bytes(given)} unless {key}"
                f" says otherwise; none used more than {format_bytes(stacks.deepest_bytes)}."
            ),
            evidence=(
                Evidence(
                    *("stacks of threads", Range.exact(len(stacks.threads)), "count"), _ORIGIN
                ),
                Evidence(
                    *("the most that one used", Range.exact(stacks.deepest_bytes), "bytes"),
                    _ORIGIN,
                ),
                *situation.size_evidence(after),
            ),
            changes="program",
            gains=gains,
            costs=(
                Cost(
                    "security",
                    "a thread that needs more than was seen writes below its stack: a page without"
                    " access ends the program there",
                ),
            ),
            steps=(_step(runtime, key, enough),),
            assumptions=(
                "Other inputs and errors take no more than twice what was recorded.",
                "The C library is glibc, and the program asks for no size of its own.",
            ),
        ),
    )


RULE = Rule("stacks", "stacks of threads that are held and hardly used", find)


def _with_stacks(runtime: Runtime, size_bytes: int) -> Runtime:
    constant = runtime.memory.stack_bytes.model_copy(
        update=dict.fromkeys(("low", "likely", "high"), size_bytes)
    )
    memory = runtime.memory.model_copy(update={"stack_bytes": constant})
    return runtime.model_copy(update={"memory": memory})


def _step(runtime: Runtime, key: str, size_bytes: int) -> Step:
    size = f"{size_bytes >> 10}"
    if runtime.name.startswith("occlum"):
        section, _, name = key.partition(".")
        return Step(f"In Occlum.json, under {section}.", "text", f'"{name}": "{size}KB"')
    return Step("In the manifest.", "toml", f'{key} = "{size}K"')
