# SPDX-License-Identifier: Apache-2.0
"""What a rule sees: a recording where and as it would run, and what would be if that were changed.

Gains are never a fixed percentage. A rule predicts again: with another platform, runtime or
setting (`Situation.again`), or from charges that it has changed as the program's accesses would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Evidence, Gain
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.evaluation import Evaluation
from sgxlens.prediction.predict import Settings, evaluate
from sgxlens.prediction.ranges import added_seconds, difference_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from sgxlens.enclave.charges import Cause, Charge
    from sgxlens.enclave.files import FileKinds
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.prediction.model import OperatorTime, PhaseTime
    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.reader import Phase, Recording

#: A change that likely saves less than this share of what it is for is not worth the work.
WORTH_SHARE = 0.02
_OPERATORS_MAX = 3


@dataclass(frozen=True, eq=False)
class Situation:
    """A recording on a platform, in a runtime.

    Attributes:
        recording: the recording.
        platform: the platform, with an EPC or cache that was asked for.
        runtime: the runtime.
        settings: what else was asked for.
        phase: the phase that counts as the steady inference.
        native_seconds: its native time where one was given; None: as recorded.
        files: what the user says of files.
        evaluation: the prediction as it is, and its charges.
    """

    recording: Recording
    platform: Platform
    runtime: Runtime
    settings: Settings
    phase: Phase
    native_seconds: float | None
    files: FileKinds
    evaluation: Evaluation

    @property
    def prediction(self) -> Prediction:
        """The prediction as it is."""
        return self.evaluation.prediction

    def again(
        self,
        *,
        recording: Recording | None = None,
        platform: Platform | None = None,
        runtime: Runtime | None = None,
        **changes: Any,
    ) -> Evaluation:
        """The prediction with another platform, runtime or `Settings`; as it is in the rest.

        Args:
            recording: the same with other rows in some tables, see `Recording.with_tables`.
            platform: the platform.
            runtime: the runtime.
            changes: `Settings`.

        Raises:
            UsageError: that makes no sense, such as an EPC that is too small.
        """
        return evaluate(
            recording or self.recording,
            platform or self.platform,
            runtime or self.runtime,
            replace(self.settings, **changes),
            phase=self.phase,
            native_seconds=self.native_seconds,
        )

    def added(self, cause: Cause) -> Range:
        """What a cause adds to the steady inference, in seconds."""
        causes = self.evaluation.steady_time.causes
        return next(c.added_seconds for c in causes if c.cause == cause)

    def is_worth(self, gain: Gain) -> bool:
        """Whether a gain is worth advice."""
        return gain.share >= WORTH_SHARE

    def of_inference(self, seconds: float) -> float:
        """A time as a share of the steady inference inside."""
        return seconds / self.evaluation.steady_time.sgx_seconds.likely

    def inference_gain(self, charges: Sequence[Charge]) -> Gain:
        """What the steady inference gains if the enclave adds `charges` instead."""
        steady = self.evaluation.steady_time
        return Gain(
            of="inference",
            before=steady.sgx_seconds,
            after=_above(steady.native.median_seconds, added_seconds(charges)),
            saved=difference_seconds(charges, self.evaluation.steady),
        )

    def startup_gain(self, charges: Sequence[Charge], native_saved: Range | None = None) -> Gain:
        """What the time to the first result gains if the enclave adds `charges` instead.

        Args:
            charges: the charges.
            native_saved: what is saved of the native time, in seconds; None: nothing.
        """
        startup = self.evaluation.startup_time
        less = native_saved or Range.exact(0)
        added = added_seconds(charges)
        native = startup.native_seconds
        return Gain(
            of="startup",
            before=startup.total_seconds,
            after=Range(
                max(native - less.high, 0) + added.low,
                native - less.likely + added.likely,
                native - less.low + added.high,
            ),
            saved=difference_seconds(charges, self.evaluation.startup, measured=native_saved),
        )

    def memory_gain(self, after: Evaluation, *, more_bytes: int = 0, less_bytes: int = 0) -> Gain:
        """By how much less must fit into the enclave, if the prediction is `after`.

        Args:
            after: the prediction with the change.
            more_bytes: what may be saved beyond that.
            less_bytes: what of that may not be saved.
        """
        before, then = (one.sizing.total_bytes for one in (self.evaluation, after))
        # What the runtime itself takes is as uncertain, and the same, on both sides.
        ends = (before.low - then.low, before.likely - then.likely, before.high - then.high)
        return Gain(
            of="memory",
            before=before,
            after=Range(max(then.low - more_bytes, 0), then.likely, then.high + less_bytes),
            saved=Range(min(ends) - less_bytes, ends[1], max(ends) + more_bytes),
        )

    def footprint_gains(
        self, after: Evaluation, *, more_bytes: int = 0, less_bytes: int = 0
    ) -> tuple[Gain, ...]:
        """Those gains of a change of the footprint that are worth it: the start's, then memory's.

        Arguments are those of `memory_gain`.
        """
        memory = self.memory_gain(after, more_bytes=more_bytes, less_bytes=less_bytes)
        gains = (self.startup_gain(after.startup), memory)
        return tuple(gain for gain in gains if self.is_worth(gain))

    def size_evidence(self, after: Evaluation) -> tuple[Evidence, ...]:
        """The size of the enclave as it is and with the prediction `after`, where it has one."""
        return tuple(
            Evidence(what, Range.exact(size), "bytes", "sgxlens predict --json: sizing")
            for what, size in (
                ("size of the enclave", self.evaluation.sizing.enclave_bytes),
                ("the same then", after.sizing.enclave_bytes),
            )
            if size is not None
        )

    def operators(self, cause: Cause) -> list[Evidence]:
        """The operators to which a cause adds most, the most first."""

        def by_cause(row: OperatorTime) -> float:
            return row.added_seconds_by_cause.get(cause, 0.0)

        rows = [row for row in self.evaluation.steady_time.operators if row.operator is not None]
        ranked = sorted(rows, key=lambda row: -by_cause(row))[:_OPERATORS_MAX]
        return [
            Evidence(
                what=f"{cause} of operator {row.index} ({row.name or row.type}, {row.type})",
                value=Range.exact(by_cause(row)),
                unit="seconds",
                origin="sgxlens predict --json: steady.operators",
            )
            for row in ranked
            if by_cause(row) > 0
        ]


def gain_elsewhere(before: PhaseTime, after: PhaseTime) -> Gain:
    """What an inference gains on another machine, whose constants are others.

    Errors of the two predictions are independent.
    """
    one, other = before.sgx_seconds, after.sgx_seconds
    likely = one.likely - other.likely
    return Gain(
        of="inference",
        before=one,
        after=other,
        saved=Range(
            likely - math.hypot(one.likely - one.low, other.high - other.likely),
            likely,
            likely + math.hypot(one.high - one.likely, other.likely - other.low),
        ),
    )


def counted(charges: Iterable[Charge]) -> Range:
    """How often something is charged, all counts low (likely, high) together."""
    return sum((charge.count for charge in charges), Range.exact(0))


def _above(base: float, added: Range) -> Range:
    return Range(base + added.low, base + added.likely, base + added.high)
