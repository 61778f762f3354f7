# SPDX-License-Identifier: Apache-2.0
"""Python's search for garbage is as it was when a command is done."""

from __future__ import annotations

import gc

from sgxlens.cli.garbage import SELDOM_OBJECT_COUNT, collected_seldom


def test_garbage_is_looked_for_seldom_meanwhile_and_as_before_afterwards() -> None:
    before = gc.get_threshold()
    with collected_seldom():
        assert gc.get_threshold() == (SELDOM_OBJECT_COUNT, *before[1:])
    assert gc.get_threshold() == before
