# SPDX-License-Identifier: Apache-2.0
import pytest
from pydantic import ValidationError

from sgxlens.enclave.quantities import Constant, Range


def test_a_range_is_in_order_and_finite() -> None:
    with pytest.raises(ValueError, match="no range"):
        Range(1, 3, 2)
    with pytest.raises(ValueError, match="no range"):
        Range(0, 1, float("inf"))
    with pytest.raises(ValueError, match="no range"):
        Range(float("nan"), 1, 2)


def test_ranges_add_and_scale() -> None:
    assert Range(1, 2, 4) + Range.exact(3) == Range(4, 5, 7)
    assert Range(1, 2, 4).scaled(0.5) == Range(0.5, 1, 2)


def test_a_size_is_written_as_people_write_it() -> None:
    constant = Constant(low="90M", likely="92M", high=100_000_000, source="x")  # type: ignore[arg-type]
    assert constant.range == Range(90 << 20, 92 << 20, 100_000_000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": 2, "likely": 1, "high": 3}, "in this order"),
        ({"low": -1, "likely": 1, "high": 3}, "greater than or equal to 0"),
        ({"low": 1, "likely": float("nan"), "high": 3}, "greater than"),
        ({"low": True, "likely": 1, "high": 3}, "valid number"),
        ({"low": "1 MB", "likely": 1, "high": 3}, "not a size"),
        ({"low": 1, "likely": 1, "high": 3, "mean": 2}, "Extra inputs"),
        ({"low": 1, "likely": 1}, "high"),
    ],
)
def test_what_is_no_constant_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Constant.model_validate({**values, "source": "x"})


def test_a_constant_has_a_source() -> None:
    with pytest.raises(ValidationError, match="source"):
        Constant(low=1, likely=1, high=1, source="")
