# SPDX-License-Identifier: Apache-2.0
"""What the page of a report says: the documents of `show` and `predict`, and words for people."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from sgxlens.prediction.several import slowest
from sgxlens.report.advice import AdvicePart, advice_part
from sgxlens.report.attribution_section import Granularity
from sgxlens.report.document import build_document
from sgxlens.report.html import Page
from sgxlens.report.json import ShowReport, json_report
from sgxlens.report.pictures import Curves, Picture, curves, picture
from sgxlens.report.prediction import prediction_document
from sgxlens.report.prediction_json import PredictReport
from sgxlens.report.prediction_json import json_report as prediction_report
from sgxlens.report.titles import NO_ADVICE, TITLES, Titles
from sgxlens.report.verdict import verdict
from sgxlens.report.verified import verified_facts
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.advice.advise import Advisory
    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.reader import Recording
    from sgxlens.report.attribution_section import AttributionSection

SCHEMA_NAME: Final = "sgxlens-report"
SCHEMA_VERSION: Final = 1
_USERS_MAX = 8
_FLOWS_MAX = 100
_CURVES_MAX = 64


class PageAdvice(AdvicePart):
    """Advice; ``facts``: of each piece what its new recording says, as names and sentences."""

    facts: list[list[tuple[str, str]]]


class PageReport(Page):
    """All that the page of a report shows.

    ``show`` and ``predict`` are what `sgxlens show --json` and `sgxlens predict --json` print of
    the same phase, but for what the page does not show: operators of other phases, of the users of
    a region all but the first few, of the flows from operator to operator all but the greatest.
    ``predict`` is null where ``no_prediction`` says why. ``verdicts`` and ``advice`` are of each
    prediction; ``advice`` is what `sgxlens advise --json` prints, and null where nobody asked for
    it. ``first`` is the index of the prediction that is shown first. ``curves`` and ``picture`` are
    null where ``show`` says why.
    """

    schema_name: Literal["sgxlens-report"] = Field(default=SCHEMA_NAME, alias="schema")
    schema_version: Literal[1] = SCHEMA_VERSION
    titles: Titles
    verdicts: list[str]
    first: int
    no_prediction: str
    show: ShowReport
    predict: PredictReport | None
    advice: list[PageAdvice | None]
    curves: dict[Granularity, Curves] | None
    picture: Picture | None

    def headline(self) -> str:
        """As of `Page`."""
        return f"{self.title} in an enclave: sgxlens report"

    def sentences(self) -> list[str]:
        """As of `Page`."""
        found = self.verdicts or [self.no_prediction]
        part = self.advice[self.first] if self.advice else None
        if part is None:
            return found
        advised = [f"{row.advice.title}. {row.advice.finding}" for row in part.advice]
        return [*found, *(advised or [NO_ADVICE])]


def page_report(
    recording: Recording,
    predictions: Sequence[Prediction],
    *,
    phase: int | str | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    no_prediction: str = "",
    advisories: Sequence[Advisory | None] = (),
) -> PageReport:
    """The content of the page of a recording.

    Args:
        recording: the recording.
        predictions: what it would cost, one for each platform; may be none.
        phase: the phase that the page is about; None: the one that is predicted, else as
            `build_document` chooses.
        left_out: names of platforms that could not be compared, and why.
        no_prediction: why there is no prediction.
        advisories: the advice for each prediction, None where there should be none; empty: for
            none.

    Raises:
        UsageError: there is no such phase.
        RecordingError: the recording is damaged.
    """
    process = None
    if predictions:
        steady = predictions[0].steady
        phase = steady.phase
        process = steady.process if len(recording.metadata.processes) > 1 else None
    document = build_document(recording, phase, process)
    who = document.attribution
    return PageReport(
        title=_title(recording),
        titles=TITLES,
        verdicts=[verdict(one) for one in predictions],
        first=slowest(predictions) if predictions else 0,
        no_prediction=no_prediction,
        show=_thinned(json_report(document)),
        predict=(
            prediction_report(
                prediction_document(
                    recording, [_of_one_phase(p) for p in predictions], left_out=left_out
                )
            )
            if predictions
            else None
        ),
        advice=[
            None if one is None else _page_advice(one)
            for one in advisories or [None] * len(predictions)
        ],
        curves=None if who is None else curves(recording, document.selection[0], _regions(who)),
        picture=None if who is None else picture(recording, document.selection[0]),
    )


def _page_advice(advisory: Advisory) -> PageAdvice:
    facts = [
        [] if row.advice.verified is None else verified_facts(row.advice.verified)
        for row in advisory.advice
    ]
    return PageAdvice(facts=facts, **dict(advice_part(advisory)))


def _regions(who: AttributionSection) -> list[int | None]:
    """The regions that have a curve of their own."""
    return [row.region for row in who.regions.rows[:_CURVES_MAX]]


def _thinned(show: ShowReport) -> ShowReport:
    """Without the longest lists, of which the page shows the beginning: nothing else grows so."""
    regions, sources = show.regions, show.reuse_sources
    if regions is not None:
        rows = tuple(replace(row, users=row.users[:_USERS_MAX]) for row in regions.rows)
        regions = replace(regions, rows=rows)
    if sources is not None:
        flows = {name: rows[:_FLOWS_MAX] for name, rows in sources.flows.items()}
        sources = replace(sources, flows=flows)
    return show.model_copy(update={"regions": regions, "reuse_sources": sources})


def _of_one_phase(prediction: Prediction) -> Prediction:
    phases = tuple(replace(p, operators=()) for p in prediction.phases)
    return replace(prediction, phases=phases)


def _title(recording: Recording) -> str:
    """What was recorded, in a few words."""
    target = recording.metadata.target
    model = getattr(target, "model", None)
    name = str(model) if model else shlex.join(recording.metadata.command[:2])
    return one_line(PurePath(name).name or target.kind, 80)
