# SPDX-License-Identifier: Apache-2.0
"""Runtimes as JSON, for programs: as their TOML files have them with what they extend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from sgxlens.enclave.runtime import Runtime
from sgxlens.report.json import Part, published_json

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_NAME: Final = "sgxlens-runtimes"
SCHEMA_VERSION: Final = 1


class RuntimesReport(Part):
    """Runtimes, in the order in which they were asked for, else by name."""

    schema_name: Literal["sgxlens-runtimes"] = Field(default=SCHEMA_NAME, alias="schema")
    schema_version: Literal[1] = SCHEMA_VERSION
    runtimes: tuple[Runtime, ...]


def runtimes_json(runtimes: Sequence[Runtime]) -> str:
    """What `sgxlens runtimes --json` prints."""
    return published_json(RuntimesReport(runtimes=tuple(runtimes)))
