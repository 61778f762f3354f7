# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from charges import charge, constant
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.memory_rules import Commits
from sgxlens.enclave.paging import FIRST_PAGE_LOADS, PAGE_LOADS, SELDOM_PAGE_LOADS
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.paging import standing_loads

SWAP = constant("platform.paging.page_swap_ns", 12000, 13000, 15000)


def _loads(what: str, count: float) -> Charge:
    return charge(SWAP, count, cause="paging", what=what)


@pytest.mark.parametrize(
    ("commits", "is_repeated", "expected"),
    [
        ("at_build", False, Range.exact(5)),
        ("at_build", True, Range(0, 0, 5)),
        ("at_map", False, Range(0, 5, 5)),
        ("at_map", True, Range(0, 0, 5)),
        ("at_touch", False, Range.exact(0)),
        ("at_touch", True, Range.exact(0)),
    ],
)
def test_first_loads_are_loads_of_pages_added_before_and_else_growth(
    commits: Commits, is_repeated: bool, expected: Range
) -> None:
    (found,) = standing_loads([_loads(FIRST_PAGE_LOADS, 5)], commits, is_repeated=is_repeated)
    assert found.count == expected


def test_pages_seldom_used_stay_where_all_that_was_used_has_stayed() -> None:
    seldom, again = _loads(SELDOM_PAGE_LOADS, 5), _loads(PAGE_LOADS, 7)
    (found,) = standing_loads([seldom], "at_build", is_repeated=True)
    assert found.count == Range(0, 0, 5)
    # Of a stream that does not fit, other pages are used each time.
    assert standing_loads([seldom, again], "at_build", is_repeated=True) == [seldom, again]
    assert standing_loads([seldom], "at_build", is_repeated=False) == [seldom]
