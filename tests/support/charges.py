# SPDX-License-Identifier: Apache-2.0
"""Charges for tests, without a platform or runtime."""

from __future__ import annotations

from hypothesis import strategies as st

from sgxlens.enclave.charges import CAUSES, Cause, Charge
from sgxlens.enclave.quantities import Constant, Range

SOURCE = "a test"


def constant(
    name: str, low: float, likely: float | None = None, high: float | None = None
) -> Constant:
    """A constant; with one value, it is known exactly."""
    middle = low if likely is None else likely
    return Constant(
        low=low, likely=middle, high=middle if high is None else high, source=SOURCE, name=name
    )


def charge(
    price: Constant,
    count: float | Range,
    *,
    cause: Cause = "transitions",
    what: str = "calls",
    operator: int | None = None,
    role: str | None = None,
) -> Charge:
    """A charge; a `count` that is a number is known exactly."""
    many = count if isinstance(count, Range) else Range.exact(count)
    return Charge(cause, what, price, many, operator, role)


_NUMBERS = st.one_of(st.just(0.0), st.floats(1e-6, 1e9))


def ranges() -> st.SearchStrategy[Range]:
    """Any range, often an exact one."""
    spread = st.lists(_NUMBERS, min_size=3, max_size=3).map(lambda v: Range(*sorted(v)))
    return st.one_of(_NUMBERS.map(Range.exact), spread)


@st.composite
def charge_lists(draw: st.DrawFn) -> list[Charge]:
    """Charges that share a few constants, operators and roles."""
    prices = [
        constant(f"platform.part.{i}_ns", r.low, r.likely, r.high)
        for i, r in enumerate(draw(st.lists(ranges(), min_size=1, max_size=4)))
    ]
    one = st.builds(
        Charge,
        cause=st.sampled_from(CAUSES),
        what=st.sampled_from(["page loads", "futex waits", "lines"]),
        constant=st.sampled_from(prices),
        count=ranges(),
        operator=st.sampled_from([None, 0, 1, 2]),
        role=st.sampled_from([None, "weights", "scratch"]),
    )
    return draw(st.lists(one, max_size=12))
