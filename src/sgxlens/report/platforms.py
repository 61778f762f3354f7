# SPDX-License-Identifier: Apache-2.0
"""Platforms as JSON, for programs: as their TOML files have them, sizes in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from sgxlens.enclave.platform import Platform
from sgxlens.report.json import Part, published_json

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_NAME: Final = "sgxlens-platforms"
SCHEMA_VERSION: Final = 1


class PlatformsReport(Part):
    """Platforms, in the order in which they were asked for, else by name."""

    schema_name: Literal["sgxlens-platforms"] = Field(default=SCHEMA_NAME, alias="schema")
    schema_version: Literal[1] = SCHEMA_VERSION
    platforms: tuple[Platform, ...]


def platforms_json(platforms: Sequence[Platform]) -> str:
    """What `sgxlens platforms --json` prints."""
    return published_json(PlatformsReport(platforms=tuple(platforms)))
