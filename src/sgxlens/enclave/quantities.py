# SPDX-License-Identifier: Apache-2.0
"""Numbers that are not known exactly, and the constants among them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sgxlens.errors import UsageError
from sgxlens.units import parse_size


@dataclass(frozen=True)
class Range:
    """A number as low, likely and high.

    Raises:
        ValueError: they are not finite and in this order.
    """

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low <= self.likely <= self.high < math.inf:
            raise ValueError(
                f"{self.low} (low), {self.likely} (likely), {self.high} (high) are no range"
            )

    @classmethod
    def exact(cls, value: float) -> Range:
        """A number that is known."""
        return cls(value, value, value)

    def __add__(self, other: Range) -> Range:
        """The sum, if both are low (likely, high) together."""
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def scaled(self, factor: float) -> Range:
        """The range times a `factor` of at least 0."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)


def _number_or_size(value: Any) -> Any:
    """Bytes for text as in ``"92M"``."""
    if not isinstance(value, str):
        return value
    try:
        return parse_size(value)
    except UsageError as error:
        raise ValueError(str(error)) from error


_Value = Annotated[
    float,
    BeforeValidator(_number_or_size),
    # Times any count there is, it still is a number.
    Field(strict=True, ge=0, le=1e18, allow_inf_nan=False),
]


class Constant(BaseModel):
    """A constant of a platform or runtime, with where it is from.

    Its unit is the end of its name: ``ocall_ns``, ``usable_bytes``. A size may be written as in
    ``"92M"``.

    Attributes:
        low, likely, high: its values, in this order; at least 0.
        source: where the values are from: publication, file or measurement.
        rule: how they follow from the source, beyond reading; empty: read there.
        calibrated_on: rows of the validation that it was fitted to; empty: none.
        name: where it stands, as in ``transitions.ocall_ns``; given by the reader of the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    low: _Value
    likely: _Value
    high: _Value
    source: str = Field(min_length=1)
    rule: str = ""
    calibrated_on: tuple[str, ...] = ()
    name: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _is_ordered(self) -> Constant:
        if not self.low <= self.likely <= self.high:
            raise ValueError("low, likely and high must be in this order")
        return self

    @property
    def range(self) -> Range:
        """Its values."""
        return Range(self.low, self.likely, self.high)
