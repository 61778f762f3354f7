# SPDX-License-Identifier: Apache-2.0
"""What the page of a report says: the documents of `show` and `predict`, and words for people."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from sgxlens.enclave.charges import Cause
from sgxlens.errors import RecordingError
from sgxlens.report.document import build_document
from sgxlens.report.json import Part, ShowReport, json_report
from sgxlens.report.prediction import prediction_document
from sgxlens.report.prediction_json import PredictReport
from sgxlens.report.prediction_json import json_report as prediction_report
from sgxlens.report.verdict import CAUSE_TITLES, verdict
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.reader import Recording

SCHEMA_NAME: Final = "sgxlens-report"
SCHEMA_VERSION: Final = 1


class PageReport(Part):
    """All that a page shows.

    ``show`` and ``predict`` are what `sgxlens show --json` and `sgxlens predict --json` print of
    the same phase; ``predict`` is null where ``no_prediction`` says why. ``verdicts`` is of each
    prediction, ``first`` the index of the one that is shown first.
    """

    schema_name: Literal["sgxlens-report"] = Field(default=SCHEMA_NAME, alias="schema")
    schema_version: Literal[1] = SCHEMA_VERSION
    title: str
    cause_titles: dict[Cause, str]
    verdicts: list[str]
    first: int
    no_prediction: str
    show: ShowReport
    predict: PredictReport | None


@dataclass(frozen=True)
class Predictions:
    """Predictions of a phase, or why there is none.

    Attributes:
        of: one for each platform.
        missing: why there is none; empty where there is.
    """

    of: tuple[Prediction, ...]
    missing: str = ""


def predictions_or_reason(predict_all: Callable[[], Sequence[Prediction]]) -> Predictions:
    """What `predict_all` predicts; a recording from which nothing can be predicted still shows."""
    try:
        return Predictions(tuple(predict_all()))
    except RecordingError as error:
        return Predictions((), error.message)


def page_report(
    recording: Recording, predictions: Predictions, phase: int | str | None = None
) -> PageReport:
    """The content of the page of a recording.

    Args:
        recording: the recording.
        predictions: what it would cost.
        phase: the phase that the page is about; None: the one that is predicted, else as
            `build_document` chooses.

    Raises:
        UsageError: there is no such phase.
        RecordingError: the recording is damaged.
    """
    process = None
    if predictions.of:
        steady = predictions.of[0].steady
        phase = steady.phase
        process = steady.process if len(recording.metadata.processes) > 1 else None
    document = build_document(recording, phase, process)
    slowdowns = [one.steady.slowdown.likely for one in predictions.of]
    return PageReport(
        title=_title(recording),
        cause_titles=CAUSE_TITLES,
        verdicts=[verdict(one) for one in predictions.of],
        # Where it costs most there is most to be learnt.
        first=slowdowns.index(max(slowdowns)) if slowdowns else 0,
        no_prediction=predictions.missing,
        show=json_report(document),
        predict=(
            prediction_report(prediction_document(recording, predictions.of))
            if predictions.of
            else None
        ),
    )


def _title(recording: Recording) -> str:
    """What was recorded, in a few words."""
    target = recording.metadata.target
    model = getattr(target, "model", None)
    name = str(model) if model else shlex.join(recording.metadata.command[:2])
    return one_line(PurePath(name).name or target.kind, 80)
