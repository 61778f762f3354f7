# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charges import charge, charge_lists, constant
from sgxlens.enclave.charges import Cause, Charge
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.model import Swing
from sgxlens.prediction.ranges import (
    added_seconds,
    difference_seconds,
    difference_swings,
    swings,
)

OCALL = constant("platform.transitions.ocall_ns", 2000, 3000, 4500)
SWAP = constant("platform.paging.page_swap_ns", 12000, 13000, 15000)


def test_a_sum_of_charges_is_counts_times_constants() -> None:
    added = added_seconds([charge(OCALL, 1000), charge(SWAP, 100)])
    assert added.likely == pytest.approx(3000e-6 + 1300e-6)
    assert added.low == pytest.approx(added.likely - math.hypot(1000e-6, 100e-6))
    assert added.high == pytest.approx(added.likely + math.hypot(1500e-6, 200e-6))


def test_one_constant_moves_all_its_charges_at_once() -> None:
    added = added_seconds([charge(OCALL, 1000, operator=0), charge(OCALL, 1000, operator=1)])
    assert added.low == pytest.approx(4000e-6)
    assert added.high == pytest.approx(9000e-6)


def test_counts_of_the_same_thing_move_together_and_others_by_themselves() -> None:
    exact = constant("platform.x_ns", 1000)
    many = Range(90, 100, 120)
    together = added_seconds([charge(exact, many, operator=0), charge(exact, many, operator=1)])
    assert together.high == pytest.approx(240e-6)
    apart = added_seconds([charge(exact, many, what="a"), charge(exact, many, what="b")])
    assert apart.high == pytest.approx(200e-6 + math.hypot(20e-6, 20e-6))


@pytest.mark.parametrize(
    ("cause", "name"), [("paging", "pages loaded"), ("encryption", "lines that miss the cache")]
)
def test_counts_that_hang_on_one_size_move_together(cause: Cause, name: str) -> None:
    cheap, dear = constant("platform.x_ns", 1000), constant("platform.y_ns", 3000)
    charges = [
        charge(cheap, Range(80, 100, 130), what="a", cause=cause),
        charge(dear, Range(40, 50, 55), what="b", cause=cause),
    ]
    added = added_seconds(charges)
    assert added.low == pytest.approx(200e-6)
    assert added.high == pytest.approx(295e-6)
    (swing,) = swings(charges, 0.0)
    assert (swing.kind, swing.name, swing.cause) == ("count", name, cause)
    assert swing.value == Range(120, 150, 185)


def test_nothing_costs_nothing() -> None:
    assert added_seconds([]) == Range.exact(0)
    assert swings([], 1.0) == ()


def test_swings_name_what_moves_the_time_most_first() -> None:
    found = swings([charge(OCALL, Range(900, 1000, 1000)), charge(SWAP, 10, cause="paging")], 1.0)
    assert [(s.kind, s.name, s.cause) for s in found] == [
        ("constant", "platform.transitions.ocall_ns", "transitions"),
        ("count", "calls", "transitions"),
        ("constant", "platform.paging.page_swap_ns", "paging"),
    ]
    assert found[0].value == Range(2000, 3000, 4500)
    assert found[0].source == "a test"
    assert found[0].low_seconds == pytest.approx(1 + 2000e-6 + 130e-6)
    assert found[0].high_seconds == pytest.approx(1 + 4500e-6 + 130e-6)
    assert found[1].value == Range(900, 1000, 1000)


@given(charge_lists())
def test_a_range_is_in_order_and_within_what_is_possible(charges: list[Charge]) -> None:
    added = added_seconds(charges)
    lowest = math.fsum(c.constant.low * c.count.low for c in charges) * 1e-9
    assert 0 <= added.low <= added.likely <= added.high
    assert added.low >= lowest * (1 - 1e-12)


@given(charge_lists(), st.floats(0, 100))
def test_a_swing_is_the_time_with_that_one_changed(charges: list[Charge], base: float) -> None:
    scale = base + added_seconds(charges).high
    for swing in swings(charges, base):
        for end in ("low", "high"):
            changed = math.fsum(_likely(_changed(c, swing, end)) for c in charges) * 1e-9
            expected = base + changed
            assert getattr(swing, f"{end}_seconds") == pytest.approx(expected, abs=1e-9 * scale)


@given(charge_lists(), st.floats(0, 100))
def test_swings_come_widest_first_and_make_up_the_range(charges: list[Charge], base: float) -> None:
    found = swings(charges, base)
    widths = [swing.swing_seconds for swing in found]
    assert widths == sorted(widths, reverse=True)
    added = added_seconds(charges)
    above = math.hypot(*(s.high_seconds - base - added.likely for s in found), 0.0)
    assert added.high - added.likely == pytest.approx(above, abs=1e-9 * (base + added.high))


def test_a_count_that_may_be_large_hides_no_swing() -> None:
    price = constant("platform.x_ns", 0, 0, 1)
    charges = [charge(price, 1e-6), charge(price, Range(0, 0, 1e8))]
    (swing,) = swings(charges, 0.0)
    assert swing.name == price.name
    assert swing.high_seconds == pytest.approx(1e-15)


@given(charge_lists())
def test_parts_add_up_in_their_likely_values(charges: list[Charge]) -> None:
    halves = added_seconds(charges[::2]).likely + added_seconds(charges[1::2]).likely
    assert halves == pytest.approx(added_seconds(charges).likely)


def test_a_constant_prices_both_sides_of_a_difference_alike() -> None:
    before, after = [charge(SWAP, 1000)], [charge(SWAP, 1100)]
    difference = difference_seconds(before, after)
    # The price of a page load is not known to a quarter, and still there are a hundred more.
    assert difference.low == pytest.approx(1200e-6)
    assert difference.likely == pytest.approx(1300e-6)
    assert difference.high == pytest.approx(1500e-6)
    assert added_seconds(before).high > added_seconds(after).low


def test_what_is_less_is_below_nothing() -> None:
    difference = difference_seconds([charge(SWAP, 1000), charge(OCALL, 10)], [charge(OCALL, 20)])
    assert difference.likely == pytest.approx(-13e-3 + 30e-6)
    assert difference.low == pytest.approx(difference.likely - math.hypot(2e-3, 10e-6))
    assert difference.high == pytest.approx(difference.likely + math.hypot(1e-3, 15e-6))


def test_weights_make_differences_of_shares() -> None:
    difference = difference_seconds(
        [charge(OCALL, 100)], [charge(OCALL, 1600)], after_weight=1 / 16
    )
    assert (difference.low, difference.likely, difference.high) == pytest.approx((0, 0, 0))


def test_measured_differences_have_errors_of_their_own() -> None:
    measured = Range(-3e-6, 1e-6, 5e-6)
    difference = difference_seconds([], [charge(SWAP, 1)], measured=measured)
    assert difference.likely == pytest.approx(14e-6)
    assert difference.low == pytest.approx(14e-6 - math.hypot(1e-6, 4e-6))
    assert difference.high == pytest.approx(14e-6 + math.hypot(2e-6, 4e-6))


def test_swings_of_a_difference_tell_which_constant_decides_it() -> None:
    found = difference_swings([charge(SWAP, 1000, cause="paging")], [charge(OCALL, 10)], 1.0)
    assert [s.name for s in found] == [SWAP.name, OCALL.name]
    assert found[0].low_seconds == pytest.approx(1 - 12e-3 + 30e-6)
    assert found[0].high_seconds == pytest.approx(1 - 15e-3 + 30e-6)


@given(charge_lists(), charge_lists())
def test_a_difference_turns_round_with_its_sides(before: list[Charge], after: list[Charge]) -> None:
    there, back = difference_seconds(before, after), difference_seconds(after, before)
    scale = max(added_seconds(before).high, added_seconds(after).high, 1e-9)
    for one, other in ((there.low, back.high), (there.likely, back.likely)):
        assert one == pytest.approx(-other, abs=1e-9 * scale)


@given(charge_lists(), charge_lists(), charge_lists())
def test_charges_that_stay_count_as_their_copies_do(
    stay: list[Charge], before: list[Charge], after: list[Charge]
) -> None:
    scale = max(*(added_seconds(charges).high for charges in (stay, before, after)), 1e-9)
    found = difference_seconds([*stay, *before, *stay], [*after, *stay])
    copies = [replace(charge) for charge in stay]
    expected = difference_seconds([*stay, *before, *stay], [*after, *copies])
    for end in ("low", "likely", "high"):
        assert getattr(found, end) == pytest.approx(getattr(expected, end), abs=1e-9 * scale)


@given(charge_lists())
def test_nothing_differs_from_itself(charges: list[Charge]) -> None:
    scale = max(added_seconds(charges).high, 1e-9)
    difference = difference_seconds(charges, [replace(charge) for charge in charges])
    assert difference.low == pytest.approx(0, abs=1e-9 * scale)
    assert difference.high == pytest.approx(0, abs=1e-9 * scale)


@given(charge_lists())
def test_what_is_added_to_nothing_is_all_of_it(charges: list[Charge]) -> None:
    assert difference_seconds([], charges) == added_seconds(charges)


def _likely(item: Charge) -> float:
    return item.constant.likely * item.count.likely


def _changed(item: Charge, swing: Swing, end: str) -> Charge:
    if swing.kind == "constant" and item.constant.name == swing.name:
        value = getattr(item.constant, end)
        return replace(item, constant=constant(swing.name, value))
    move_together = item.cause in ("paging", "encryption")
    is_it = item.cause == swing.cause and (move_together or item.what == swing.name)
    if swing.kind == "count" and is_it:
        return replace(item, count=Range.exact(getattr(item.count, end)))
    return item
