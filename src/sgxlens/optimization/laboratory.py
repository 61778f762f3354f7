# SPDX-License-Identifier: Apache-2.0
"""Makes, records and predicts modifications of a recorded program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Gain
from sgxlens.advice.advise import asked_all
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import rules
from sgxlens.comparison.comparable import sample_count
from sgxlens.enclave.quantities import Range
from sgxlens.errors import SgxlensError
from sgxlens.optimization.search import Standing, Trial, deviation_text
from sgxlens.recording.metadata import printable
from sgxlens.recording.native_times.model import load_times
from sgxlens.verification.original import original_of
from sgxlens.verification.plan import Plan, name_of, plan_of
from sgxlens.verification.preparation import Prepared
from sgxlens.verification.verifying import (
    Variant,
    make_variants,
    native_ratio,
    situation_of_variant,
    verified_gains,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sgxlens.advice.advise import RankedAdvice
    from sgxlens.advice.situation import Situation


class RecordingLaboratory:
    """Makes modifications of a recorded ONNX model; what is made is kept in a folder.

    Args:
        situation: the recording of the program as it is, where it would run.
        folder: where changed programs and their recordings are kept.
        tolerance: of outputs, as for `sgxlens.verification.verify`.
        on_progress: called a few times a second with what is being done.

    Raises:
        UsageError: the recorded program is not there any more, or was changed.
    """

    def __init__(
        self,
        situation: Situation,
        folder: Path,
        tolerance: float | None,
        on_progress: Callable[[str], None],
    ) -> None:
        self.situation = situation
        self.original = original_of(situation.recording)
        self._folder = folder
        self._tolerance = tolerance
        self._on_progress = on_progress
        self._rules = rules()
        path = situation.recording.path
        times = load_times(path)
        unchanged = Variant(self.plan(Modification()), Prepared(path, times, times, None),
                            situation.recording, was_there=True)  # fmt: skip
        self._variants = {unchanged.plan.name: unchanged}

    def start(self) -> Standing:
        """The program as it is."""
        prediction, nothing = self.situation.prediction, Range.exact(0)
        sample = prediction.steady.sgx_seconds.scaled(1 / (self.original.sample_count or 1))
        startup, memory = prediction.startup.total_seconds, prediction.sizing.total_bytes
        return Standing(
            modification=Modification(),
            recording=printable(str(self.situation.recording.path)),
            sample=Gain("sample", sample, sample, nothing),
            startup=Gain("startup", startup, startup, nothing),
            memory=Gain("memory", memory, memory, nothing),
            native_ratio=Range.exact(1),
            outputs=None,
        )

    def advise(self, standing: Standing) -> Sequence[RankedAdvice]:
        """Advice of all rules for a modified program, what to do first first."""
        modification = standing.modification
        situation = situation_of_variant(self.situation, modification, self.variant(modification))
        return asked_all(situation, *self._rules).advice

    def batch(self, standing: Standing) -> int | None:
        """How many samples one inference is of; None: not known."""
        return sample_count(self.variant(standing.modification).recording.metadata)

    def trial(self, modification: Modification) -> Trial:
        """Make a modification, record and predict it.

        One whose outputs are beyond the tolerance is not recorded.
        """
        name, count = name_of(modification), 0
        if name not in self._variants:
            try:
                variants, reasons = make_variants(
                    self.situation.recording,
                    [modification],
                    folder=self._folder,
                    jobs=1,
                    tolerance=self._tolerance,
                    refusal=_refusal,
                    on_progress=self._on_progress,
                )
            except SgxlensError as error:
                return Trial(None, error.message, 0)
            if variants[0] is None:
                return Trial(None, reasons[0], 0)
            self._variants[name] = variants[0]
            count = 1
        try:
            return Trial(self.standing(modification, self._variants[name]), "", count)
        except SgxlensError as error:
            return Trial(None, error.message, count)

    def plan(self, modification: Modification) -> Plan:
        """What is run for a modification.

        Raises:
            UsageError: it cannot be applied.
        """
        return plan_of(self.original, modification, self._tolerance)

    def variant(self, modification: Modification) -> Variant:
        """The recorded program for a modification that was tried."""
        return self._variants[name_of(modification)]

    def standing(self, modification: Modification, variant: Variant) -> Standing:
        """What a recorded program is like where it would run.

        Raises:
            SgxlensError: it cannot be predicted.
        """
        self._on_progress(f"predicting {variant.plan.name}")
        sample, startup, memory = verified_gains(
            self.situation, modification, variant, ("sample", "startup", "memory")
        )
        return Standing(
            modification=modification,
            recording=printable(str(variant.recording.path)),
            sample=sample,
            startup=startup,
            memory=memory,
            native_ratio=native_ratio(self.situation, variant),
            outputs=variant.prepared.outputs,
        )


def _refusal(_: Plan, prepared: Prepared) -> str:
    outputs = prepared.outputs
    return "" if outputs is None or outputs.is_within else deviation_text(outputs)
