# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given

from charges import charge, charge_lists, constant
from sgxlens.enclave.charges import CAUSES, Charge
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.compose import COMPUTE, compose, compute_charges
from sgxlens.prediction.model import NativeBasis
from sgxlens.recording.reader import Operator, Phase

PHASE = Phase(0, 4, "inference 2", 0, 1000, 0, 1000, 5000)
NATIVE = NativeBasis(0.040, 0.039, 0.042, 60, "recorded")
OCALL = constant("platform.transitions.ocall_ns", 2000, 3000, 4500)
SWAP = constant("platform.paging.page_swap_ns", 12000, 13000, 15000)
SLOWDOWN = constant("platform.compute.slowdown", 0, 0.02, 0.05)


def operator(number: int, parent: int | None = None) -> Operator:
    return Operator(
        process=0, number=number, phase=4, index=number, parent=parent, thread=1,
        name=f"op{number}", type="Conv", start_position=number, end_position=number + 1,
        input_shapes="", output_shapes="", parameter_bytes=None, activation_bytes=None,
        output_bytes=None, source="onnxruntime_profile",
    )  # fmt: skip


OPERATORS = [operator(n) for n in range(3)]


def test_the_time_inside_is_the_native_time_and_what_is_added() -> None:
    charges = [
        charge(SWAP, 1000, cause="paging", what="page loads", operator=0, role="weights"),
        charge(SWAP, 500, cause="paging", what="page loads", operator=1, role="activations"),
        charge(OCALL, 100, what="futex waits"),
    ]
    time = compose(PHASE, NATIVE, charges, OPERATORS, {0: 0.030, 1: 0.010})
    assert time.added_seconds.likely == pytest.approx(1500 * 13e-6 + 100 * 3e-6)
    assert time.sgx_seconds.likely == pytest.approx(0.040 + time.added_seconds.likely)
    assert time.slowdown.likely == pytest.approx(time.sgx_seconds.likely / 0.040)
    assert [c.cause for c in time.causes] == list(CAUSES)
    assert {c.cause: c.added_seconds.likely for c in time.causes if c.added_seconds.likely} == {
        "paging": pytest.approx(0.0195),
        "transitions": pytest.approx(0.0003),
    }
    assert [(i.what, i.count, i.constant) for i in time.items] == [
        ("page loads", Range.exact(1500), "platform.paging.page_swap_ns"),
        ("futex waits", Range.exact(100), "platform.transitions.ocall_ns"),
    ]
    assert [(o.operator, o.native_seconds) for o in time.operators] == [
        (0, 0.030), (1, 0.010), (2, None), (None, pytest.approx(0)),
    ]  # fmt: skip
    assert time.operators[0].added_seconds_by_cause == {"paging": pytest.approx(0.013)}
    assert [o.likely_counts for o in time.operators] == [
        {"page loads": 1000}, {"page loads": 500}, {}, {"futex waits": 100},
    ]  # fmt: skip
    assert [r.role for r in time.roles] == ["weights", "activations", None]


def test_compute_is_charged_to_operators_by_their_native_time() -> None:
    charges = compute_charges(SLOWDOWN, NATIVE, {0: 0.030, 1: 0.006})
    assert {c.operator: c.count.likely for c in charges} == {
        0: pytest.approx(30e6), 1: pytest.approx(6e6), None: pytest.approx(4e6),
    }  # fmt: skip
    time = compose(PHASE, NATIVE, charges)
    assert time.added_seconds.likely == pytest.approx(0.040 * 0.02)
    assert time.added_seconds.high == pytest.approx(0.040 * 0.05)
    (item,) = time.items
    assert item.what == COMPUTE
    assert time.operators == ()


def test_what_is_of_no_operator_of_the_phase_is_between_operators() -> None:
    charges = [charge(OCALL, 1, operator=77), charge(OCALL, 2)]
    time = compose(PHASE, NATIVE, charges, OPERATORS)
    assert time.operators[-1].operator is None
    assert time.operators[-1].added_seconds.likely == pytest.approx(9e-6)


@given(charge_lists())
def test_every_breakdown_adds_up_to_the_whole(charges: list[Charge]) -> None:
    time = compose(PHASE, NATIVE, charges, OPERATORS, {0: 0.030, 1: 0.010})
    whole = pytest.approx(time.added_seconds.likely)
    assert math.fsum(c.added_seconds.likely for c in time.causes) == whole
    assert math.fsum(i.added_seconds.likely for i in time.items) == whole
    assert math.fsum(o.added_seconds.likely for o in time.operators) == whole
    assert math.fsum(r.added_seconds.likely for r in time.roles) == whole
    rows = [(o.added_seconds, o.added_seconds_by_cause) for o in time.operators]
    rows += [(r.added_seconds, r.added_seconds_by_cause) for r in time.roles]
    for added, by_cause in rows:
        assert math.fsum(by_cause.values()) == pytest.approx(added.likely)
    assert math.fsum(o.native_seconds or 0 for o in time.operators) == pytest.approx(0.040)
    assert 1 <= time.slowdown.low <= time.slowdown.likely <= time.slowdown.high
