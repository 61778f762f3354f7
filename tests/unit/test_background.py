# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from sgxlens._native import wait_for_its_turn


def policy_after(policy: int) -> int:
    """The policy of a thread that had this one and waits for its turn."""
    os.sched_setscheduler(0, policy, os.sched_param(0))
    wait_for_its_turn()
    return os.sched_getscheduler(0)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(os.SCHED_OTHER, os.SCHED_BATCH), (os.SCHED_IDLE, os.SCHED_IDLE)],
)
def test_only_the_thread_itself_waits_and_what_was_chosen_is_left(
    policy: int, expected: int
) -> None:
    before = os.sched_getscheduler(0)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(policy_after, policy).result() == expected
    assert os.sched_getscheduler(0) == before
