# SPDX-License-Identifier: Apache-2.0
"""What a comparison says, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Literal

from sgxlens.comparison.direction import Direction
from sgxlens.enclave.charges import CAUSE_TITLES, Cause
from sgxlens.enclave.quantities import Range
from sgxlens.markup import html_table
from sgxlens.prediction.model import Swing
from sgxlens.prediction.result import Deployment, Prediction
from sgxlens.text import one_line
from sgxlens.units import (
    format_ratio,
    format_seconds,
    format_seconds_range,
    format_signed_seconds,
)

Granularity = Literal["line", "page"]

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Change:
    """A quantity of two recordings.

    Attributes:
        before, after: of the baseline, and of the other recording.
        difference: `after` less `before`. What makes both uncertain is largely the same (they are
            priced by the same constants), so that this is narrower than the two ranges suggest.
        direction: what is certain of it.
    """

    before: Range
    after: Range
    difference: Range
    direction: Direction

    @classmethod
    def of(cls, before: Range, after: Range, difference: Range) -> Change:
        """A change whose direction follows from the range of the difference."""
        least = _ROUNDING * max(map(abs, (before.high, before.low, after.high, after.low)))
        if max(abs(difference.low), abs(difference.high)) <= least:
            return cls(before, after, Range.exact(0), "same")
        if difference.low > least:
            return cls(before, after, difference, "more")
        if difference.high < -least:
            return cls(before, after, difference, "less")
        return cls(before, after, difference, "uncertain")

    @classmethod
    def of_counts(cls, before: Range, after: Range) -> Change:
        """A change of counts that are low, likely and high for the same reasons."""
        ends = (after.low - before.low, after.likely - before.likely, after.high - before.high)
        return cls.of(before, after, Range(min(ends), ends[1], max(ends)))

    @property
    def ratio(self) -> float | None:
        """How many times as much, likely; None: there was nothing before."""
        return self.after.likely / self.before.likely if self.before.likely else None


@dataclass(frozen=True)
class SizeChange:
    """A size of two recordings, in bytes; None: not known, or there is none.

    Attributes:
        name: which size, see `sgxlens.comparison.facts` and `sgxlens.comparison.times`.
        before_bytes, after_bytes: of the baseline, and of the other recording.
    """

    name: str
    before_bytes: int | None
    after_bytes: int | None


@dataclass(frozen=True)
class CountChange:
    """How often something happens in the steady inference of two recordings.

    Attributes:
        name: what is counted, as in ``page loads``.
        count: how often.
    """

    name: str
    count: Change


@dataclass(frozen=True)
class CauseChange:
    """What one cause adds."""

    cause: Cause
    added_seconds: Change


@dataclass(frozen=True)
class ItemChange:
    """The same thing at the same price in both recordings.

    Attributes:
        cause: under which cause it is summed.
        what: what happens.
        constant: name of the constant that prices it.
        count: how often.
        added_seconds: what it adds.
    """

    cause: Cause
    what: str
    constant: str
    count: Change
    added_seconds: Change


@dataclass(frozen=True)
class PerSample:
    """Times divided by the batch size of each recording.

    Attributes:
        before_batch_size, after_batch_size: samples that one inference is of.
        native_seconds, added_seconds, sgx_seconds: as in `TimeChanges`, for each sample.
    """

    before_batch_size: int
    after_batch_size: int
    native_seconds: Change
    added_seconds: Change
    sgx_seconds: Change


@dataclass(frozen=True)
class OperatorSide:
    """An operator in one of the recordings.

    Attributes:
        index: its index in the phase; None: what is between operators.
        native_seconds: its share of the native time; None: not timed.
        added_seconds: what the enclave adds.
        page_load_count: pages loaded into the EPC.
        line_miss_count: lines that leave or enter the last-level cache.
        footprint_bytes: pages that it touches; None: not known.
    """

    index: int | None
    native_seconds: float | None
    added_seconds: Range
    page_load_count: float
    line_miss_count: float
    footprint_bytes: int | None


@dataclass(frozen=True)
class OperatorChange:
    """An operator of both graphs, or of one of them.

    Attributes:
        name, type: as the framework says; empty: between operators.
        before, after: None: there is no such operator on this side.
        added_seconds: what the enclave adds; nothing on a side without it.
    """

    name: str
    type: str
    before: OperatorSide | None
    after: OperatorSide | None
    added_seconds: Change

    @property
    def likely_seconds(self) -> float:
        """How much longer it takes inside the enclave, native time included."""
        natives = [
            side.native_seconds or 0.0 if side else 0.0 for side in (self.before, self.after)
        ]
        return natives[1] - natives[0] + self.added_seconds.difference.likely


@dataclass(frozen=True)
class TypeChange:
    """All operators of one type.

    Attributes:
        type: as the framework says; empty: between operators.
        before_count, after_count: how many there are.
        before_native_seconds, after_native_seconds: native time of those that were timed.
        added_seconds: what the enclave adds.
    """

    type: str
    before_count: int
    after_count: int
    before_native_seconds: float
    after_native_seconds: float
    added_seconds: Change

    @property
    def likely_seconds(self) -> float:
        """How much longer they take inside the enclave, native time included."""
        natively = self.after_native_seconds - self.before_native_seconds
        return natively + self.added_seconds.difference.likely


@dataclass(frozen=True)
class GraphMatch:
    """How the operators of two recordings correspond.

    Attributes:
        corresponds: whether most of them do; if not, only types can be compared.
        matched_count: operators of one name and type on both sides.
        before_only_count, after_only_count: operators without a counterpart.
        sentence: all that in words.
    """

    corresponds: bool
    matched_count: int
    before_only_count: int
    after_only_count: int
    sentence: str


@dataclass(frozen=True)
class ExitChange:
    """System calls or events of one name, all that the inference waits for.

    Attributes:
        name: system call, or event.
        before_count, after_count: how many there are natively.
        ocalls, exceptions, aex: what they make, as in `sgxlens.prediction.exits.ExitRow`.
    """

    name: str
    before_count: int
    after_count: int
    ocalls: Change
    exceptions: Change
    aex: Change


@dataclass(frozen=True)
class TimeChanges:
    """How the predictions of two recordings differ.

    Attributes:
        native_seconds: native time. The range of the difference is that of medians of so many
            samples; it is no statement about the samples.
        added_seconds: what the enclave adds.
        sgx_seconds: the time inside.
        slowdown: the time inside / native time.
        per_sample: the same for each sample, where batch sizes are known and differ; else None.
        causes: all causes, in the order of `sgxlens.enclave.charges.CAUSES`.
        items: what the added time is made of, the greatest difference first.
        counts: page loads, line misses, OCALLs and other exits.
        graph: how the operators correspond; None: a recording has no operators.
        operators: by operator, the greatest difference first; empty where graphs do not correspond.
        types: by type of operator, the greatest difference first.
        exits: by system call and event, the greatest difference first.
        sizes: sizes of the enclave and of the EPC.
        startup_seconds: from the start of the enclave to the first result.
        sensitivity: what makes the range of the difference of the added time, the widest first.
    """

    native_seconds: Change
    added_seconds: Change
    sgx_seconds: Change
    slowdown: Change
    per_sample: PerSample | None
    causes: tuple[CauseChange, ...]
    items: tuple[ItemChange, ...]
    counts: tuple[CountChange, ...]
    graph: GraphMatch | None
    operators: tuple[OperatorChange, ...]
    types: tuple[TypeChange, ...]
    exits: tuple[ExitChange, ...]
    sizes: tuple[SizeChange, ...]
    startup_seconds: Change
    sensitivity: tuple[Swing, ...]


@dataclass(frozen=True)
class SourceChange:
    """Accesses by where the previous access to the block was.

    Attributes:
        source: one of `sgxlens.attribution.SOURCE_KINDS`.
        granularity: size of the blocks.
        before_count, after_count: accesses.
        before_ratio, after_ratio: their share of all accesses; None: there is no access.
    """

    source: str
    granularity: Granularity
    before_count: int
    after_count: int
    before_ratio: float | None
    after_ratio: float | None


@dataclass(frozen=True)
class FactChanges:
    """How the steady inferences of two recordings differ on any platform.

    Attributes:
        line_access_counts, instruction_counts: before and after.
        sizes: footprints and working sets.
        working_set_line_accesses: the window of the working sets, the same on both sides; None:
            they are not known.
        sources: where reuse comes from; empty where that is not known.
    """

    line_access_counts: tuple[int, int]
    instruction_counts: tuple[int, int]
    sizes: tuple[SizeChange, ...]
    working_set_line_accesses: int | None
    sources: tuple[SourceChange, ...]


@dataclass(frozen=True)
class Changes:
    """One recording against the baseline.

    Attributes:
        label: which recording, as in `Side.label`.
        times: what the predictions say; None: `Comparison.no_times` says why.
        facts: what the recordings say.
    """

    label: str
    times: TimeChanges | None
    facts: FactChanges


@dataclass(frozen=True)
class Side:
    """One of the recordings.

    Attributes:
        label: ``A`` for the baseline, ``B`` and so on for the others.
        recording: its path.
        target: what was recorded, in a few words.
        process, phase, phase_name: the steady inference.
        batch_size: samples that it is of; None: not known.
        isa: the instruction set that the program was shown.
        prediction: what it would cost; None: `Comparison.no_times` says why.
    """

    label: str
    recording: str
    target: str
    process: int
    phase: int
    phase_name: str
    batch_size: int | None
    isa: str
    prediction: Prediction | None


@dataclass(frozen=True)
class Comparison:
    """What changed between recordings, on one platform and under one runtime.

    Attributes:
        deployment: where and how the first one would run; None: there are no times.
        sides: the recordings; the first is the baseline.
        changes: each of the others against the baseline.
        no_times: why nothing is predicted; empty where it is.
        warnings: what one must know before one trusts the differences, one sentence each.
    """

    deployment: Deployment | None
    sides: tuple[Side, ...]
    changes: tuple[Changes, ...]
    no_times: str
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        """How notebooks show it: times by cause, a table for each of the others."""
        note = "; ".join(f"{side.label}: {side.recording}, {side.target}" for side in self.sides)
        note = " ".join([f"{note}.", self.no_times, *self.warnings]).strip()
        if self.deployment is None:
            return html_table("Comparison", (), [], note)
        place = f"{self.deployment.platform_title}, {self.deployment.runtime_title}"
        parts = []
        for changes in self.changes:
            if changes.times is None:
                continue
            of = changes.times
            slowdown = [
                f"{format_ratio(r.likely)} x" for r in (of.slowdown.before, of.slowdown.after)
            ]
            rows = [
                ["natively", *_change_cells(of.native_seconds)],
                *(
                    [f"+ {CAUSE_TITLES[row.cause]}", *_change_cells(row.added_seconds)]
                    for row in of.causes
                ),
                ["inside", *_change_cells(of.sgx_seconds)],
                *(
                    [["inside, for each sample", *_change_cells(of.per_sample.sgx_seconds)]]
                    if of.per_sample is not None
                    else []
                ),
                ["slower by", *slowdown, "", "", of.slowdown.direction],
            ]
            labels = (self.sides[0].label, changes.label)
            title = f"{labels[1]} against {labels[0]} inside an enclave: {place}"
            headings = ("", *labels, "difference", "range", "certain")
            parts.append(html_table(title, headings, rows))
        return "\n".join([*parts[:-1], f"{parts[-1]}\n<p>{escape(one_line(note))}</p>"])


def _change_cells(change: Change) -> list[str]:
    difference = change.difference
    return [
        format_seconds(change.before.likely),
        format_seconds(change.after.likely),
        format_signed_seconds(difference.likely),
        format_seconds_range(difference.low, difference.high, signed=True),
        change.direction,
    ]


def median_difference(before: tuple[float, float, int], after: tuple[float, float, int]) -> float:
    """Half the width of the range of a difference of medians, in the unit of the quartiles.

    It is 1.96 standard deviations of the difference, each median having one of
    1.25 / 1.35 * (interquartile range) / sqrt(samples): McGill, Tukey and Larsen, "Variations of
    Box Plots", The American Statistician 32(1), 1978, 10.1080/00031305.1978.10479236.

    Args:
        before: lower and upper quartile, and number of samples.
        after: the same of the other side.
    """
    return 1.96 * math.hypot(*(_median_deviation(*side) for side in (before, after)))


def _median_deviation(low: float, high: float, sample_count: int) -> float:
    return 1.25 / 1.35 * (high - low) / math.sqrt(max(sample_count, 1))
