# SPDX-License-Identifier: Apache-2.0
"""Renders predictions as JSON, for programs: all that the terminal shows, and every row of it.

The models are the contract, as in `sgxlens.report.json`: ``schema/predict.schema.json`` is
generated from them and published with the package.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from sgxlens.prediction.result import Prediction
from sgxlens.recording.metadata import printable
from sgxlens.report.json import Part, RecordingPart, published_json, published_schema
from sgxlens.report.prediction import LeftOut

if TYPE_CHECKING:
    from sgxlens.report.prediction import PredictionDocument

SCHEMA_NAME: Final = "sgxlens-predict"
SCHEMA_VERSION: Final = 1
_SCHEMA_FILE = "schema/predict.schema.json"


class PredictReport(Part):
    """What `sgxlens predict` says of a recording: one prediction for each platform.

    ``left_out``: platforms that what was asked for makes no sense for; only where none was named.
    """

    schema_name: Literal["sgxlens-predict"] = Field(alias="schema")
    schema_version: Literal[1]
    recording: RecordingPart
    predictions: list[Prediction]
    left_out: list[LeftOut]


def json_text(document: PredictionDocument) -> str:
    """The report as JSON; see `sgxlens.report.json.published_json`."""
    return published_json(json_report(document))


def schema_text() -> str:
    """The schema of `json_text`, as published in the package."""
    return (files("sgxlens.report") / _SCHEMA_FILE).read_text(encoding="utf-8")


def generated_schema_text() -> str:
    """The schema of `json_text`, as it follows from the models."""
    return published_schema(PredictReport, SCHEMA_NAME, SCHEMA_VERSION)


def json_report(document: PredictionDocument) -> PredictReport:
    """The report as the models of this module."""
    content: dict[str, Any] = document.metadata.model_dump(mode="json", by_alias=True)
    return PredictReport(
        schema=SCHEMA_NAME,
        schema_version=SCHEMA_VERSION,
        recording=RecordingPart(path=printable(document.path), metadata=content),
        predictions=list(document.predictions),
        left_out=list(document.left_out),
    )
