# SPDX-License-Identifier: Apache-2.0
"""What `sgxlens lint` finds, as JSON for programs.

The models are the contract, as in `sgxlens.report.json`: ``schema/lint.schema.json`` is generated
from them and published with the package.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from sgxlens.configuration.linting.finding import SEVERITIES, Severity
from sgxlens.configuration.linting.lint import Found
from sgxlens.configuration.linting.registry import BrokenCheck
from sgxlens.configuration.reading.document import Family
from sgxlens.recording.metadata import printable
from sgxlens.report.json import Part, published_json, published_schema

if TYPE_CHECKING:
    from sgxlens.configuration.linting.lint import LintReport

SCHEMA_NAME: Final = "sgxlens-lint"
SCHEMA_VERSION: Final = 1
_SCHEMA_FILE = "schema/lint.schema.json"


class LintPart(Part):
    """What `sgxlens lint` finds in a file.

    ``accepted``: how many more a comment in the file accepts. ``unknown_variables``: variables of
    the template that are not known; values with them were not checked. ``broken``: checks that
    failed themselves.
    """

    schema_name: Literal["sgxlens-lint"] = Field(alias="schema")
    schema_version: Literal[1]
    path: str
    family: Family
    runtime: str
    recording: str | None
    platform: str | None
    counts: dict[Severity, int]
    found: list[Found]
    accepted: int
    unknown_variables: list[str]
    broken: list[BrokenCheck]


def json_text(report: LintReport) -> str:
    """The findings as JSON; see `sgxlens.report.json.published_json`."""
    return published_json(
        LintPart(
            schema=SCHEMA_NAME,
            schema_version=SCHEMA_VERSION,
            path=printable(report.path),
            family=report.family,
            runtime=report.runtime,
            recording=None if report.recording is None else printable(report.recording),
            platform=report.platform,
            counts={severity: report.count(severity) for severity in SEVERITIES},
            found=list(report.found),
            accepted=report.accepted,
            unknown_variables=list(report.unknown),
            broken=list(report.broken),
        )
    )


def schema_text() -> str:
    """The schema of `json_text`, as published in the package."""
    return (files("sgxlens.report") / _SCHEMA_FILE).read_text(encoding="utf-8")


def generated_schema_text() -> str:
    """The schema of `json_text`, as it follows from the models."""
    return published_schema(LintPart, SCHEMA_NAME, SCHEMA_VERSION)
