# SPDX-License-Identifier: Apache-2.0
"""Renders comparisons as JSON, for programs: all that the terminal shows, and every row of it.

The models are the contract, as in `sgxlens.report.json`: ``schema/compare.schema.json`` is
generated from them and published with the package.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from sgxlens.comparison.model import Comparison
from sgxlens.recording.metadata import printable
from sgxlens.report.json import Part, RecordingPart, published_json, published_schema
from sgxlens.report.prediction import LeftOut

if TYPE_CHECKING:
    from sgxlens.report.comparison import ComparisonDocument

SCHEMA_NAME: Final = "sgxlens-compare"
SCHEMA_VERSION: Final = 1
_SCHEMA_FILE = "schema/compare.schema.json"


class CompareReport(Part):
    """What `sgxlens compare` says of recordings: one comparison for each platform.

    ``recordings`` are in the order of the ``sides`` of each comparison, the baseline first.
    ``left_out``: platforms that what was asked for makes no sense for; only where none was named.
    """

    schema_name: Literal["sgxlens-compare"] = Field(alias="schema")
    schema_version: Literal[1]
    recordings: list[RecordingPart]
    comparisons: list[Comparison]
    left_out: list[LeftOut]


def json_text(document: ComparisonDocument) -> str:
    """The report as JSON; see `sgxlens.report.json.published_json`."""
    return published_json(json_report(document))


def schema_text() -> str:
    """The schema of `json_text`, as published in the package."""
    return (files("sgxlens.report") / _SCHEMA_FILE).read_text(encoding="utf-8")


def generated_schema_text() -> str:
    """The schema of `json_text`, as it follows from the models."""
    return published_schema(CompareReport, SCHEMA_NAME, SCHEMA_VERSION)


def json_report(document: ComparisonDocument) -> CompareReport:
    """The report as the models of this module."""
    sides = document.comparisons[0].sides
    return CompareReport(
        schema=SCHEMA_NAME,
        schema_version=SCHEMA_VERSION,
        recordings=[
            RecordingPart(
                path=printable(side.recording),
                metadata=metadata.model_dump(mode="json", by_alias=True),
            )
            for side, metadata in zip(sides, document.metadata, strict=True)
        ],
        comparisons=list(document.comparisons),
        left_out=list(document.left_out),
    )
