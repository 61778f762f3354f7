# SPDX-License-Identifier: Apache-2.0
"""Logging and small reads: calls of one kind that leave again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import counted
from sgxlens.enclave.quantities import Range
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.advice.advice import Gain
    from sgxlens.advice.modification import Modification
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge


@dataclass(frozen=True)
class CallKind:
    """Calls that one change makes fewer.

    Attributes:
        calls: names of system calls and traps.
        title, steps, cost: of the advice.
        evidence: what else it rests on.
        assumptions: what else it takes for granted.
        modification: as of the advice.
    """

    calls: frozenset[str]
    title: str
    steps: tuple[Step, ...]
    cost: Cost
    evidence: tuple[Evidence, ...] = ()
    assumptions: tuple[str, ...] = ()
    modification: Modification | None = None


_KINDS = (
    CallKind(
        frozenset({"write", "writev", "pwrite64"}),
        "Write less often: log less, or through a buffer",
        (
            Step(
                "In Python, collect what is logged and write it in one piece.",
                "python",
                "import logging, logging.handlers\n"
                "handler = logging.handlers.MemoryHandler(\n"
                "    1000, flushLevel=logging.CRITICAL, target=logging.FileHandler('LOG'))\n"
                "logging.getLogger().addHandler(handler)",
            ),
            Step(
                "ONNX Runtime: only errors.",
                "python",
                "options = onnxruntime.SessionOptions()\noptions.log_severity_level = 3",
            ),
        ),
        Cost("latency", "what is logged is seen later, and the last of it lost in a crash"),
    ),
    CallKind(
        frozenset({"read", "readv", "pread64"}),
        "Read in larger pieces",
        (
            Step(
                "Read a file once and whole, or through a large buffer.",
                "python",
                "with open(PATH, 'rb', buffering=1 << 20) as file:\n    data = file.read()",
            ),
        ),
        Cost("memory", "the buffer"),
    ),
)


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """For each kind of calls that leave often, what one of them in place of all would save."""
    return fewer_calls(situation, _KINDS)


RULE = Rule("frequent_calls", "logging and small reads that leave often", find)


def fewer_calls(situation: Situation, kinds: Sequence[CallKind]) -> tuple[Advice, ...] | Declined:
    """Advice to make calls of these kinds once in a phase, where that is worth it."""
    found = []
    for kind in kinds:
        inference = situation.inference_gain(_once(situation.evaluation.steady, kind.calls))
        startup = situation.startup_gain(_once(situation.evaluation.startup, kind.calls))
        gains = tuple(gain for gain in (inference, startup) if situation.is_worth(gain))
        if gains:
            found.append(_advice(situation, kind, gains))
    if found:
        return tuple(found)
    share = situation.of_inference(situation.added("transitions").likely)
    return Declined(f"leaving and entering adds {share:.1%} of an inference, no kind of call much")


def _advice(situation: Situation, kind: CallKind, gains: tuple[Gain, ...]) -> Advice:
    steady, start = (
        [charge for charge in charges if _is_of(charge, kind.calls)]
        for charges in (situation.evaluation.steady, situation.evaluation.startup)
    )
    names = " and ".join(sorted({c.what.rpartition(" ")[2] for c in (*steady, *start)}))
    return Advice(
        title=kind.title,
        finding=(
            f"{names}: {format_count(counted(steady).likely)} exits in an inference and"
            f" {format_count(counted(start).likely)} until the first result."
        ),
        evidence=(
            Evidence(
                f"exits for {names} in an inference",
                *(counted(steady), "count", "sgxlens predict --json: exits"),
            ),
            Evidence(
                f"exits for {names} until the first result",
                *(counted(start), "count", "sgxlens predict --json: startup.inside_items"),
            ),
            *kind.evidence,
            *situation.operators("transitions"),
        ),
        changes="program",
        gains=gains,
        costs=(kind.cost,),
        steps=kind.steps,
        assumptions=(
            "One such call in each phase is enough: the gain is at most this.",
            *kind.assumptions,
        ),
        modification=kind.modification,
    )


def _is_of(charge: Charge, calls: frozenset[str]) -> bool:
    what, _, name = charge.what.rpartition(" of ")
    return charge.cause == "transitions" and bool(what) and name in calls


def _once(charges: Sequence[Charge], calls: frozenset[str]) -> list[Charge]:
    """The charges with each kind of exit for these calls made at most once."""
    found: list[Charge] = []
    seen: set[str] = set()
    for charge in charges:
        if not _is_of(charge, calls):
            found.append(charge)
        elif charge.what not in seen:
            seen.add(charge.what)
            count = charge.count
            least = Range(min(count.low, 1), min(count.likely, 1), min(count.high, 1))
            found.append(replace(charge, count=least))
    return found
