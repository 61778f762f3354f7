# SPDX-License-Identifier: Apache-2.0
"""The search: tries the advised changes one after the other, keeps those that are verified to gain.

It is greedy. What is advised first, is tried first; after each change that is kept, the changed
program's own recording is asked for advice again, since a change moves what others gain. Changes
that need no recording, only a prediction, are tried as they come. What was dropped once is not
tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from sgxlens.advice.advice import Gain, OutputDeviation
from sgxlens.advice.modification import Modification
from sgxlens.advice.situation import WORTH_SHARE
from sgxlens.enclave.quantities import Range
from sgxlens.verification.transformations import in_order

if TYPE_CHECKING:
    from sgxlens.advice.advice import Advice
    from sgxlens.advice.advise import RankedAdvice
    from sgxlens.optimization.limits import Limits

#: A change that is for the start or the memory may make a sample so much slower: natively, two
#: timings of the same program differ by that.
_TOLERATED_SHARE = 0.02


@dataclass(frozen=True)
class Standing:
    """What a modification of the program makes of it, by a recording of its own.

    Attributes:
        modification: all changes together.
        recording: the recording.
        sample: time of one sample inside, steadily; before: of the program as it was.
        startup: the same of the time from the start of the enclave to the first result.
        memory: the same of all that must fit into the enclave.
        native_ratio: native time of a sample over that of the program as it was, timed in turns.
        outputs: how far they deviate from those of the program as it was; None: nothing is changed.
    """

    modification: Modification
    recording: str
    sample: Gain
    startup: Gain
    memory: Gain
    native_ratio: Range
    outputs: OutputDeviation | None


@dataclass(frozen=True)
class Trial:
    """What came of trying a modification.

    Attributes:
        standing: what it is like; None: it was not recorded.
        reason: why not.
        recording_count: recordings that it took of the budget.
    """

    standing: Standing | None
    reason: str
    recording_count: int


@dataclass(frozen=True)
class Attempt:
    """A change that was tried.

    Attributes:
        rule: the rule that advised it.
        title: the change, as a short order.
        modification: all changes together that were tried.
        predicted: the gain that it was advised for, of this change alone, before it was tried.
        before: what the program was like without it.
        outcome: whether it was kept.
        reason: why.
        standing: what it is like with it; None: it was not recorded.
    """

    rule: str
    title: str
    modification: Modification
    predicted: Gain
    before: Standing
    outcome: Literal["kept", "dropped"]
    reason: str
    standing: Standing | None


@dataclass(frozen=True)
class Untried:
    """Advice for the program as it is in the end that was not tried, and why."""

    rule: str
    title: str
    predicted: Gain
    reason: str


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        standing: the best.
        attempts: what was tried, in order.
        untried: what is advised for it still.
        recording_count: recordings that were made.
        ended: why the search ended, in one sentence.
    """

    standing: Standing
    attempts: tuple[Attempt, ...]
    untried: tuple[Untried, ...]
    recording_count: int
    ended: str


class Laboratory(Protocol):
    """What makes and predicts modifications."""

    def start(self) -> Standing:
        """The program as it is."""

    def advise(self, standing: Standing) -> Sequence[RankedAdvice]:
        """Advice for a modified program, what to do first first."""

    def batch(self, standing: Standing) -> int | None:
        """How many samples one inference is of; None: not known."""

    def trial(self, modification: Modification) -> Trial:
        """Make a modification, and record and predict it."""


def search(
    laboratory: Laboratory,
    limits: Limits,
    recordings: int,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Found:
    """Try changes until nothing more is worth it, or the budget is used up.

    Args:
        laboratory: makes the changed programs.
        limits: what may be changed.
        recordings: how many recordings may be made.
        on_progress: called with what is being done.

    Raises:
        SgxlensError: the program cannot be predicted.
    """
    current = laboratory.start()
    attempts: list[Attempt] = []
    dropped: list[Modification] = []
    used = 0
    while True:
        on_progress("asking for advice")
        ranked = laboratory.advise(current)
        batch = laboratory.batch(current)
        untried: list[Untried] = []
        kept = None
        for row in ranked:
            advice, gain = row.advice, row.advice.gains[0]
            wanted = limits.allowed(advice, batch)
            if isinstance(wanted, str):
                untried.append(Untried(row.rule, advice.title, gain, wanted))
                continue
            joined = _joined(current.modification, wanted)
            if joined == current.modification or wanted in dropped:
                continue
            if wanted.needs_recording and used >= recordings:
                reason = "the budget of recordings is used up"
                untried.append(Untried(row.rule, advice.title, gain, reason))
                continue
            on_progress(f"trying {row.rule}: {advice.title}")
            trial = laboratory.trial(joined)
            used += trial.recording_count
            attempt = _judged(row.rule, advice, joined, current, trial)
            attempts.append(attempt)
            if attempt.outcome == "dropped":
                dropped.append(wanted)
            elif trial.standing is not None:
                kept = trial.standing
                break
        if kept is None:
            is_over = any(one.reason.startswith("the budget") for one in untried)
            ended = (
                f"the budget is used up (recordings of changed programs: {used})"
                if is_over
                else "nothing more that a machine can change is worth it"
            )
            return Found(current, tuple(attempts), tuple(untried), used, ended)
        current = kept


def _joined(one: Modification, other: Modification) -> Modification:
    both = one | other
    return replace(both, model=in_order(both.model))


def _judged(
    rule: str, advice: Advice, modification: Modification, before: Standing, trial: Trial
) -> Attempt:
    outcome, reason = _verdict(advice.gains[0].of, before, trial)
    return Attempt(
        rule=rule,
        title=advice.title,
        modification=modification,
        predicted=advice.gains[0],
        before=before,
        outcome=outcome,
        reason=reason,
        standing=trial.standing,
    )


def _verdict(
    of: str, before: Standing, trial: Trial
) -> tuple[Literal["kept", "dropped"], str]:  # fmt: skip
    after = trial.standing
    if after is None:
        return "dropped", trial.reason
    if after.outputs is not None and not after.outputs.is_within:
        return "dropped", deviation_text(after.outputs)
    by_sample = _share(before.sample, after.sample)
    if of not in ("startup", "memory"):
        if by_sample < WORTH_SHARE:
            return "dropped", f"a sample {_change(by_sample)}: not worth it"
        return "kept", f"a sample {_change(by_sample)}"
    name, share = (
        ("the start", _share(before.startup, after.startup))
        if of == "startup"
        else ("memory", _share(before.memory, after.memory))
    )
    if by_sample < -_TOLERATED_SHARE:
        return "dropped", f"{name} {_change(share)}, but a sample {_change(by_sample)}"
    if share < WORTH_SHARE:
        return "dropped", f"{name} {_change(share)}: not worth it"
    return "kept", f"{name} {_change(share)}"


def deviation_text(outputs: OutputDeviation) -> str:
    """Why a change whose outputs are too far off is not taken."""
    return (
        f"outputs are off by {outputs.max_relative:.2g} of the largest magnitude, beyond the"
        f" tolerance of {outputs.tolerance:g}"
    )


def _share(before: Gain, after: Gain) -> float:
    """What part is likely saved of what was before."""
    return 1 - after.after.likely / before.after.likely if before.after.likely > 0 else 0.0


def _change(share: float) -> str:
    return f"takes {abs(share):.1%} {'less' if share >= 0 else 'more'}"
