# SPDX-License-Identifier: Apache-2.0
"""Threads: the count with which an inference is likely shortest inside.

What the enclave adds is known for each count that the platform's tables have: pages come in one
after the other whoever waits for them, lines pass one encryption engine, and each parallel region
is started and joined. A constant that is dearer than likely with one count is so with all of them.

How the program itself scales a recording with one count does not tell. It is taken to be between
not at all and by Amdahl's law (1967, 10.1145/1465482.1465560), with all that operators take as the
parallel part; likely is the geometric mean of both. A count is advised only if the enclave adds
less with it: to run faster natively is no matter of enclaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Gain, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import WORTH_SHARE
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.system_calls.callers import parallel_operators
from sgxlens.enclave.transitions import REGIONS, transition_charges
from sgxlens.errors import UsageError
from sgxlens.prediction.ranges import added_seconds, difference_seconds, likely_seconds
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge
    from sgxlens.enclave.quantities import Constant

_COUNTS = (1, 2, 4, 8, 16)
#: The least count is taken that has this share of the gain of the best one.
_ENOUGH = 0.95
_WAITS = ("futex", "sched_yield")


@dataclass(frozen=True)
class _Option:
    """What so many threads would give."""

    count: int
    gain: Gain


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Another count of threads, more or fewer."""
    now = situation.prediction.deployment.threads
    options = []
    for count in _COUNTS:
        if count != now:
            try:
                options.append(_Option(count, _gain(situation, count)))
            except UsageError:  # the tables of the platform end before
                continue
    if not options:
        return Declined("the platform does not say what other counts of threads cost")
    before = situation.prediction.steady.added_seconds.likely
    worth = [
        option
        for option in options
        if situation.is_worth(option.gain)
        # How the program scales natively is its own matter.
        and situation.of_inference(before - _added(situation, option.count)) >= WORTH_SHARE
    ]
    if not worth:
        least = min(options, key=lambda option: _added(situation, option.count))
        saved = before - _added(situation, least.count)
        if saved <= 0:
            why = "and with other counts more"
        elif situation.of_inference(saved) < WORTH_SHARE:
            why = f"which saves {situation.of_inference(saved):.1%} of an inference"
        else:
            why = "but natively it likely takes longer than that saves"
        return Declined(
            f"with {_threads(least.count)} in place of {now} the enclave adds"
            f" {_change(situation, least.count)}, {why}"
        )
    best = max(worth, key=lambda option: option.gain.saved.likely)
    enough = _ENOUGH * best.gain.saved.likely
    chosen = next(option for option in worth if option.gain.saved.likely >= enough)
    count, gain = chosen.count, chosen.gain
    serial = situation.added("paging")
    return (
        Advice(
            title=f"Work with {_threads(count)} in place of {now}",
            finding=(
                f"With {_threads(count)} an inference likely takes {1 - gain.share:.0%} of the time"
                f" that it takes with {now}: the enclave adds {_change(situation, count)}; how the"
                " rest scales is not known."
            ),
            evidence=(
                *(
                    Evidence(
                        f"an inference with {_threads(option.count)}",
                        *(option.gain.after, "seconds"),
                        "sgxlens advise: computed from the charges",
                    )
                    for option in options
                ),
                Evidence(
                    "paging, which threads do not share",
                    *(serial, "seconds", "sgxlens predict --json: steady.causes"),
                ),
                *situation.operators("transitions"),
            ),
            changes="program",
            gains=(gain,),
            costs=(
                Cost("processors", f"{count} in place of {now}")
                if count > now
                else Cost(
                    "latency", "natively, and where an inference does not page, it is slower"
                ),
            ),
            steps=tuple(_steps(situation, count)),
            assumptions=(
                "Natively, more threads gain between nothing and what Amdahl's law allows.",
                "There is a processor for each thread.",
            ),
            modification=_modification(situation, count),
        ),
    )


RULE = Rule("threads", "another count of threads than recorded", find)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _gain(situation: Situation, count: int) -> Gain:
    """What an inference gains with so many threads.

    Raises:
        UsageError: the platform does not tell for so many.
    """
    steady = situation.prediction.steady
    now, native = situation.prediction.deployment.threads, steady.native.median_seconds
    share = _parallel_share(situation)
    scaled = native * (1 - share + share * now / count)
    best, worst = min(native, scaled), max(native, scaled)
    likely = math.sqrt(best * worst)
    charges = _with_threads(situation, count, likely / native)
    added = added_seconds(charges)
    saved = Range(native - worst, native - likely, native - best)
    return Gain(
        of="inference",
        before=steady.sgx_seconds,
        after=Range(
            likely + added.likely - math.hypot(added.likely - added.low, likely - best),
            likely + added.likely,
            likely + added.likely + math.hypot(added.high - added.likely, worst - likely),
        ),
        saved=difference_seconds(charges, situation.evaluation.steady, measured=saved),
    )


def _parallel_share(situation: Situation) -> float:
    """The part of the native time in operators that are, or may be, split among threads."""
    steady = situation.prediction.steady
    # With one thread no operator is split, whatever waits in it.
    alone = situation.prediction.deployment.threads == 1
    split = set() if alone else {number for _, number in parallel_operators(situation.recording)}
    seconds = [
        row.native_seconds
        for row in steady.operators
        if row.operator is not None
        and row.native_seconds is not None
        and (not split or row.operator in split)
    ]
    # Without native times of operators, all of it may be.
    return min(sum(seconds) / steady.native.median_seconds, 1.0) if seconds else 1.0


def _with_threads(situation: Situation, count: int, native_ratio: float) -> list[Charge]:
    """The charges of the steady inference with so many threads.

    Page loads and lines are those recorded: where each thread has pages of its own, such as
    scratch, there are more.
    """
    platform, steady = situation.platform, situation.prediction.steady
    swap = platform.paging.page_swap(count, situation.settings.replicas)
    sequential = platform.encryption.sequential_ns.at(count)
    found: list[Charge] = []
    for charge in situation.evaluation.steady:
        if charge.cause == "transitions":
            continue
        if charge.cause == "compute":
            found.append(replace(charge, count=charge.count.scaled(native_ratio)))
        elif charge.cause == "paging":
            found.append(_repriced(charge, charge.constant, swap))
        elif charge.what == "sequential lines":
            found.append(_repriced(charge, charge.constant, sequential))
        else:
            found.append(charge)
    transitions = transition_charges(
        situation.recording,
        situation.phase,
        platform,
        situation.runtime,
        situation.files,
        threads=count,
        native_seconds=steady.native.median_seconds * native_ratio,
    )
    split = {number for _, number in parallel_operators(situation.recording)}
    now = situation.prediction.deployment.threads
    for charge in transitions:
        if charge.what == REGIONS and now > 1:
            regions = platform.transitions.parallel_region_ns.at(now)
            found.append(_repriced(charge, regions, charge.constant))
        # Alone, a thread waits for no other.
        elif count > 1 or charge.operator not in split or not charge.what.endswith(_WAITS):
            found.append(charge)
    return found


def _repriced(charge: Charge, old: Constant, new: Constant) -> Charge:
    """The charge at the likely price of `new`, whose error is that of `old`."""
    ratio = new.likely / old.likely if old.likely else 1.0
    return replace(charge, constant=old, count=charge.count.scaled(ratio))


def _added(situation: Situation, count: int) -> float:
    """What the enclave likely adds with so many threads, if natively they take as long as now."""
    return likely_seconds(_with_threads(situation, count, 1.0))


def _change(situation: Situation, count: int) -> str:
    before = situation.prediction.steady.added_seconds.likely
    ratio = _added(situation, count) / before if before > 0 else 1.0
    return f"{ratio:.2f} times as much"


def _modification(situation: Situation, count: int) -> Modification | None:
    metadata = situation.recording.metadata
    # Threads that share a processor natively tell nothing of those that do not.
    if metadata.target.kind not in ("onnx", "torch") or count > metadata.host.cores:
        return None
    return Modification(session={"intra_op_threads": count})


def _steps(situation: Situation, count: int) -> list[Step]:
    kind = situation.recording.metadata.target.kind
    platform = situation.platform.name
    steps = []
    if kind == "onnx":
        steps.append(
            Step(
                "Set the threads of the session.",
                "python",
                f"options = onnxruntime.SessionOptions()\noptions.intra_op_num_threads = {count}",
            )
        )
    elif kind == "torch":
        steps.append(
            Step("Set the threads of operators.", "python", f"torch.set_num_threads({count})")
        )
    else:
        steps.append(
            Step(
                "Set the threads of OpenMP and of BLAS, or those of the program's own pool.",
                "shell",
                f"export OMP_NUM_THREADS={count}\nexport OPENBLAS_NUM_THREADS={count}",
            )
        )
    if situation.runtime.name.startswith("gramine"):
        slots = count + int(situation.runtime.threads.own.high)
        steps.append(
            Step(
                "Have slots for them in the manifest, beside those of the runtime, and one for each"
                " further thread of the program.",
                "toml",
                f"sgx.max_threads = {slots}",
            )
        )
    if kind == "onnx":
        model = one_line(str(getattr(situation.recording.metadata.target, "model", "MODEL.onnx")))
        steps.append(
            Step(
                "Record it so, with the options of the first recording, and compare.",
                "shell",
                f"sgxlens record {model} --threads {count} -o threads{count}\n"
                f"sgxlens compare {situation.recording.path} threads{count} --platform {platform}",
            )
        )
    return steps
