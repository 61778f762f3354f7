# SPDX-License-Identifier: Apache-2.0
"""What came of an optimisation, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from sgxlens.enclave.quantities import Range
from sgxlens.optimization.search import Attempt, Standing, Untried
from sgxlens.prediction.result import Deployment


@dataclass(frozen=True)
class CauseTimes:
    """What a cause adds to one sample, before and after, in seconds; ``native``: it takes that."""

    cause: str
    before: Range
    after: Range


@dataclass(frozen=True)
class Optimization:
    """A model before and after, and the folder that was written.

    Attributes:
        model: the model that was given.
        output: the folder that was written.
        deployment: where and how it would run, after.
        batch_before, batch_after: samples of an inference; None: not known.
        before: the program as it was.
        after: the written folder, run by its own loader: from a recording of that.
        speedup: time of a sample before over that after; its ends are as if both were uncertain
            independently.
        causes: what a sample's time consists of.
        attempts: what was tried, in order.
        untried: what is advised still and was not tried.
        ended: why the search ended.
        recording_count: recordings that were made or used, the first and the last among them.
        configuration: name of the runtime's configuration in the folder; empty: there is none.
        findings: what `sgxlens lint` finds in it, one sentence each.
        notes: what else to know, one sentence each.
    """

    model: str
    output: str
    deployment: Deployment
    batch_before: int | None
    batch_after: int | None
    before: Standing
    after: Standing
    speedup: Range
    causes: tuple[CauseTimes, ...]
    attempts: tuple[Attempt, ...]
    untried: tuple[Untried, ...]
    ended: str
    recording_count: int
    configuration: str
    findings: tuple[str, ...]
    notes: tuple[str, ...]
