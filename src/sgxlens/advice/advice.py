# SPDX-License-Identifier: Apache-2.0
"""What a piece of advice says, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from sgxlens.advice.modification import Modification
from sgxlens.enclave.quantities import Range

Unit = Literal["count", "bytes", "seconds", "ratio"]

#: What a piece of advice changes, that which is easiest to live with first.
Change = Literal["program", "model", "machine"]
CHANGES: tuple[Change, ...] = get_args(Change)
#: Of what something is saved, see `Gain`.
GainOf = Literal["inference", "sample", "startup", "memory"]


@dataclass(frozen=True)
class Evidence:
    """One number that a finding rests on.

    Attributes:
        what: what it is, in words.
        value: the number.
        unit: of what.
        origin: where it can be looked up: a command and the field of its JSON.
    """

    what: str
    value: Range
    unit: Unit
    origin: str


@dataclass(frozen=True)
class Gain:
    """How much of something is saved.

    Attributes:
        of: ``inference``: the steady inference; ``sample``: the same, for each sample of a batch;
            ``startup``: from the start of the enclave to the first result; ``memory``: all that
            must fit into the enclave.
        before, after: as it is, and with the advice followed: seconds, of memory bytes.
        saved: what that saves, as a range of the difference: what makes both uncertain alike
            cancels out. Negative values: it may cost.
    """

    of: GainOf
    before: Range
    after: Range
    saved: Range

    @property
    def unit(self) -> Unit:
        """Unit of all three values."""
        return "bytes" if self.of == "memory" else "seconds"

    @property
    def share(self) -> float:
        """What part of `before` is likely saved."""
        return self.saved.likely / self.before.likely if self.before.likely > 0 else 0.0

    def beside(self, before: Range) -> Gain:
        """The same gain of a larger whole, the rest of which stays as it is.

        Args:
            before: the whole, in the unit of the gain.
        """
        after = self.after
        ends = sorted(
            (after.low + before.low - self.before.low, after.high + before.high - self.before.high)
        )
        likely = after.likely + before.likely - self.before.likely
        after = Range(min(ends[0], likely), likely, max(ends[1], likely))
        return replace(self, before=before, after=after)


@dataclass(frozen=True)
class Cost:
    """What following the advice costs beside work."""

    of: Literal["accuracy", "latency", "memory", "money", "processors", "security", "start-up"]
    text: str


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        text: what, in a sentence.
        language: of `snippet`; ``text``: there is none, or it is for people.
        snippet: what to write or run; what to fill in is in capitals.
    """

    text: str
    language: Literal["python", "shell", "text", "toml"] = "text"
    snippet: str = ""


@dataclass(frozen=True)
class OutputDeviation:
    """How far outputs of a changed model are from those of the recorded one, on the same inputs.

    Attributes:
        sample_count: inputs that both were run with.
        value_count: values of outputs that were compared.
        tolerance: the share of an output's largest magnitude in a sample that a value may be off.
        max_absolute: the most that a value is off.
        max_relative: the same as a share of the largest magnitude of its output in its sample.
        rms_relative: root of the sum of all squared errors over that of all squared values.
        top1_agreement: where outputs are vectors, as of a classifier: in what share of the samples
            the largest value is at the same place; None: they are not.
    """

    sample_count: int
    value_count: int
    tolerance: float
    max_absolute: float
    max_relative: float
    rms_relative: float
    top1_agreement: float | None

    @property
    def is_within(self) -> bool:
        """Whether no value is off by more than the tolerance."""
        return self.max_relative <= self.tolerance


@dataclass(frozen=True)
class Verified:
    """What a new recording of the changed program says of a piece of advice.

    Attributes:
        gains: those of the advice, in its order, predicted again from the new recording.
        inside: of each, whether what is likely saved is in the range that was predicted.
        native_ratio: native time of the changed inference (of a batch: for as many samples) over
            that of the recorded one, timed in turns.
        native_spread: how far turns of a program disagree, as upper over lower quartile of their
            times; of the recorded and the changed program the larger. Beyond 1.25 (the machine was
            busy) `native_ratio` says little.
        outputs: how far they deviate; None: they were not compared.
        recording: the new recording.
        was_there: it was made before, of the same inputs.
        notes: what else to know, one sentence each.
    """

    gains: tuple[Gain, ...]
    inside: tuple[bool, ...]
    native_ratio: Range
    native_spread: float
    outputs: OutputDeviation | None
    recording: str
    was_there: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """One change that would make the program faster inside.

    Attributes:
        title: the change, as a short order.
        finding: what was found, in one sentence.
        evidence: what it rests on, the most important number first.
        changes: ``program``: the program, how it is called, or the runtime's configuration;
            ``model``: its outputs deviate; ``machine``: the machine or its kernel.
        gains: what it saves; the first is what it is for.
        costs: what it costs.
        steps: how to apply it.
        assumptions: what the gain takes for granted, one sentence each.
        state: ``predicted``, or ``verified`` by a new recording.
        modification: what a machine can change to follow it; None: a person must do it.
        verified: what a new recording says; None: there is none.
        unverified: why there is none, where one was asked for.
    """

    title: str
    finding: str
    evidence: tuple[Evidence, ...]
    changes: Change
    gains: tuple[Gain, ...]
    costs: tuple[Cost, ...]
    steps: tuple[Step, ...]
    assumptions: tuple[str, ...] = ()
    state: Literal["predicted", "verified"] = "predicted"
    modification: Modification | None = None
    verified: Verified | None = None
    unverified: str = ""


@dataclass(frozen=True)
class Declined:
    """Why a rule has no advice, in one sentence."""

    reason: str
