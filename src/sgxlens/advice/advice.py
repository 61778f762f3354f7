# SPDX-License-Identifier: Apache-2.0
"""What a piece of advice says, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sgxlens.advice.modification import Modification
from sgxlens.enclave.quantities import Range

Unit = Literal["count", "bytes", "seconds", "ratio"]

#: What a piece of advice changes, that which is easiest to live with first.
Change = Literal["program", "model", "machine"]
CHANGES: tuple[Change, ...] = get_args(Change)


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

    of: Literal["inference", "sample", "startup", "memory"]
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


@dataclass(frozen=True)
class Declined:
    """Why a rule has no advice, in one sentence."""

    reason: str
