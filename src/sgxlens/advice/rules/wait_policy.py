# SPDX-License-Identifier: Apache-2.0
"""Wait policy: threads that sleep between parallel regions are woken from outside each time.

A thread that spins until there is work needs no exit. sgxlens records models with threads that
sleep (see `SessionSettings.allow_spinning`), since the tracer runs one thread at a time: their
parallel regions are charged as such. Of other programs it is not known how long their threads spin,
and their futex calls are those that the tracer makes of it: at the low end, nothing is gained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import counted
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.system_calls.callers import SPINNING, threads_spin
from sgxlens.enclave.transitions import REGIONS
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge

_WAITS = frozenset({"futex", "sched_yield"})


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Threads that should spin, where waking them adds to an inference."""
    threads = situation.prediction.deployment.threads
    if threads < 2:
        return Declined("one thread works: it waits for no other")
    spins = threads_spin(situation.recording)
    if spins:
        return Declined("threads that wait for work spin already")
    before = situation.evaluation.steady
    waits = [charge for charge in before if _is_wait(charge)]
    gain = situation.inference_gain(_spinning(before, is_known=spins is not None))
    if not waits or not situation.is_worth(gain):
        return Declined(
            f"waking threads adds {situation.of_inference(gain.saved.likely):.1%} of an inference"
        )
    regions = counted(charge for charge in waits if charge.what == REGIONS)
    calls = counted(charge for charge in waits if charge.what != REGIONS)
    what = [
        f"{format_count(count.likely)} {name}"
        for count, name in ((regions, REGIONS), (calls, "exits of futex and sched_yield"))
        if count.likely
    ]
    return (
        Advice(
            title="Let threads spin while they wait for work",
            finding=(
                f"An inference has {' and '.join(what)}, in which sleeping threads are woken from"
                " outside the enclave."
            ),
            evidence=(
                Evidence(
                    "parallel regions in an inference",
                    *(regions, "count", "sgxlens predict --json: steady.items"),
                ),
                Evidence(
                    "exits of futex and sched_yield in an inference",
                    *(calls, "count", "sgxlens predict --json: steady.items"),
                ),
                *situation.operators("transitions"),
            ),
            changes="program",
            gains=(gain,),
            costs=(
                Cost("processors", f"{threads - 1} of them are busy between parallel regions, too;"
                     " with fewer processors than threads, or beside other replicas, all gets"
                     " slower"),
            ),
            steps=tuple(_steps(situation)),
            assumptions=(
                "There is a processor for each thread.",
                "Threads spin as long as an inference lasts, and until the next one comes.",
            ),
            modification=Modification(session={"allow_spinning": True})
            if situation.recording.metadata.target.kind == "onnx"
            else None,
        ),
    )  # fmt: skip


RULE = Rule("wait_policy", "threads that sleep between parallel regions", find)


def _is_wait(charge: Charge) -> bool:
    what, _, name = charge.what.rpartition(" of ")
    return charge.what == REGIONS or (bool(what) and name in _WAITS)


def _spinning(charges: Sequence[Charge], *, is_known: bool) -> list[Charge]:
    """The charges where threads spin: their waits make no exit.

    `is_known`: that they sleep now; else at most as many are left as there are.
    """
    found: list[Charge] = []
    is_first = True
    for charge in charges:
        if not _is_wait(charge):
            found.append(charge)
            continue
        most = charge.count.high
        if is_known:
            # Threads may have fallen asleep since the inference before.
            most, is_first = (min(most, 1.0) if is_first else 0.0), False
        found.append(replace(charge, count=Range(0, 0, most)))
    return found


def _steps(situation: Situation) -> list[Step]:
    if situation.recording.metadata.target.kind == "onnx":
        return [
            Step(
                "ONNX Runtime: this is its default; do not switch it off.",
                "python",
                "options = onnxruntime.SessionOptions()\n"
                "options.add_session_config_entry('session.intra_op.allow_spinning', '1')",
            )
        ]
    text = "OpenMP, of GCC (GOMP) and of Intel and LLVM (KMP)"
    if situation.runtime.name.startswith("gramine"):
        lines = [f'loader.env.{name} = "{value}"' for name, value in SPINNING.items()]
        return [Step(f"{text}: in the manifest.", "toml", "\n".join(lines))]
    lines = [f"export {name}={value}" for name, value in SPINNING.items()]
    return [Step(f"{text}: in the environment of the program.", "shell", "\n".join(lines))]
