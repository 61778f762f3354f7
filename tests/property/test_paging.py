# SPDX-License-Identifier: Apache-2.0
"""Page loads of made-up programs: whatever they are charged to, they are those of an LRU memory."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import PHASES, programs
from sgxlens.enclave.epc import EPC_POLICIES, EpcPolicy
from sgxlens.enclave.paging import paging_charges, paging_curve
from sgxlens.enclave.platform import load_platform
from sgxlens.recording.format import PAGE_BYTES
from simulated import Program

#: SECS, and a version array.
RESERVED = 2


def lru_loads_by_phase(program: Program, capacity: int) -> list[int]:
    resident: OrderedDict[int, None] = OrderedDict()
    loads = [0] * len(PHASES)
    for access in program.run():
        loads[access.phase] += access.page not in resident
        resident[access.page] = None
        resident.move_to_end(access.page)
        if len(resident) > capacity:
            resident.popitem(last=False)
    return loads


@given(programs(), st.integers(2, 5))
def test_charges_and_curves_are_the_loads_of_an_lru_memory(program: Program, capacity: int) -> None:
    recording = program.record()
    epc_bytes = (RESERVED + capacity) * PAGE_BYTES
    platform = load_platform("xeon-e-2288g").overridden(epc_bytes=epc_bytes)
    pages = {access.page for access in program.run()}
    expected = lru_loads_by_phase(program, capacity)
    if len(pages) <= capacity:  # all are there from the start
        expected = [0] * len(PHASES)
    for phase in recording.phases:
        charges = paging_charges(recording, phase, platform, policy="lru")
        assert sum(charge.count.likely for charge in charges) == expected[phase.index]
        operators = {o.number for o in recording.operators if o.phase == phase.index}
        assert {charge.operator for charge in charges} <= {None, *operators}
        curve = paging_curve(recording, phase, platform, [epc_bytes], policy="lru")
        assert curve.load_count.tolist() == [expected[phase.index]]


@given(programs(), st.sampled_from(EPC_POLICIES), st.integers(1, 2))
def test_curves_end_where_nothing_is_loaded(
    program: Program, policy: EpcPolicy, replicas: int
) -> None:
    recording = program.record()
    platform = load_platform("xeon-e-2288g")
    for phase in recording.phases:
        curve = paging_curve(recording, phase, platform, policy=policy, replicas=replicas)
        assert curve.epc_bytes.tolist() == sorted(set(curve.epc_bytes.tolist()))
        assert curve.load_count[-1] == 0
        needed = curve.epc_for_overheads(1e-3, [0])[0]
        assert needed.low <= needed.likely <= needed.high
        assert curve.epc_for_overheads(1e9, [100])[100].high == pytest.approx(curve.epc_bytes[0])
