# SPDX-License-Identifier: Apache-2.0
"""Published times of inferences, from rows.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILE = Path(__file__).with_name("rows.toml")
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Row(BaseModel):
    """A network on a machine, timed natively and inside an enclave.

    Attributes:
        network: its name in `validation.networks.NETWORKS`.
        batch: examples of one inference.
        platform: the machine, as a platform of sgxlens.
        native_seconds, sgx_seconds: the published times of one inference.
        likely_must_hold: whether the likely slowdown must be near the published one, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    batch: int = Field(ge=1)
    platform: str
    native_seconds: _Positive
    sgx_seconds: _Positive
    likely_must_hold: bool

    @property
    def name(self) -> str:
        """What `calibrated_on` of a constant calls it."""
        return f"{self.network} b{self.batch} {self.platform}"

    @property
    def slowdown(self) -> float:
        """Time inside / native time."""
        return self.sgx_seconds / self.native_seconds


class Published(BaseModel):
    """All rows.

    Attributes:
        source: who measured them, and what ran.
        runtime: what it ran on inside the enclave, as a runtime of sgxlens.
        threads: threads of an inference.
        slowdown_error_bound: by what share of itself a published slowdown may be missed by the
            likely one, where `likely_must_hold`.
        rows: the rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    runtime: str
    threads: int = Field(ge=1)
    slowdown_error_bound: _Positive
    rows: tuple[Row, ...] = Field(min_length=1)


def load_rows() -> Published:
    """Read rows.toml."""
    return Published.model_validate(tomllib.loads(_FILE.read_text(encoding="utf-8")))
