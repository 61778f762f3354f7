# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from sgxlens.optimization.report import _sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("native times are too long.", "Native times are too long."),
        ("process.default_heap_size = 8MB: brk", "process.default_heap_size = 8MB: brk."),
        ("entry_points: where the program lies", "entry_points: where the program lies."),
        ("OMP_NUM_THREADS=2: threads", "OMP_NUM_THREADS=2: threads."),
    ],
)
def test_names_of_settings_begin_no_sentence(text: str, expected: str) -> None:
    assert _sentence(text) == expected
