# SPDX-License-Identifier: Apache-2.0
"""Advice as JSON for programs.

The models are the contract, as in `sgxlens.report.json`: ``schema/advise.schema.json`` is
generated from them and published with the package.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from sgxlens.advice.advise import RankedAdvice, Silence
from sgxlens.advice.registry import BrokenRule
from sgxlens.prediction.model import PhaseTime, StartupTime
from sgxlens.prediction.result import Deployment
from sgxlens.recording.metadata import printable
from sgxlens.report.json import Part, RecordingPart, published_json, published_schema

if TYPE_CHECKING:
    from sgxlens.advice.advise import Advisory
    from sgxlens.recording.metadata import RecordingMetadata

SCHEMA_NAME: Final = "sgxlens-advise"
SCHEMA_VERSION: Final = 1
_SCHEMA_FILE = "schema/advise.schema.json"


class AdvicePart(Part):
    """What to change, the first first; which rules have no advice, and which failed."""

    advice: list[RankedAdvice]
    silent: list[Silence]
    broken: list[BrokenRule]


class AdviseReport(Part):
    """What `sgxlens advise` says of a recording on one platform.

    ``steady`` and ``startup`` are the prediction as it is; ``sgxlens predict --json`` has the rest.
    """

    schema_name: Literal["sgxlens-advise"] = Field(alias="schema")
    schema_version: Literal[1]
    recording: RecordingPart
    deployment: Deployment
    steady: PhaseTime
    startup: StartupTime
    advice: list[RankedAdvice]
    silent: list[Silence]
    broken: list[BrokenRule]


def json_text(metadata: RecordingMetadata, advisory: Advisory) -> str:
    """The advice as JSON; see `sgxlens.report.json.published_json`."""
    content: dict[str, Any] = metadata.model_dump(mode="json", by_alias=True)
    prediction = advisory.prediction
    return published_json(
        AdviseReport(
            schema=SCHEMA_NAME,
            schema_version=SCHEMA_VERSION,
            recording=RecordingPart(path=printable(prediction.recording), metadata=content),
            deployment=prediction.deployment,
            steady=prediction.steady,
            startup=prediction.startup,
            **dict(advice_part(advisory)),
        )
    )


def advice_part(advisory: Advisory) -> AdvicePart:
    """The advice as the models of this module, without what it was found from."""
    return AdvicePart(
        advice=list(advisory.advice),
        silent=list(advisory.silent),
        broken=list(advisory.broken),
    )


def schema_text() -> str:
    """The schema of `json_text`, as published in the package."""
    return (files("sgxlens.report") / _SCHEMA_FILE).read_text(encoding="utf-8")


def generated_schema_text() -> str:
    """The schema of `json_text`, as it follows from the models."""
    return published_schema(AdviseReport, SCHEMA_NAME, SCHEMA_VERSION)
