# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest

from sgxlens.recording.native_times import measure


def test_a_clock_offset_is_of_the_reads_that_lie_closest_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The third group of reads is not interrupted; the others lose 5 ms between two of them.
    lost = [5_000_000, 5_000_000, 100, *[5_000_000] * 100]
    monotonic = itertools.accumulate(itertools.chain.from_iterable((0, each) for each in lost))
    now = 0

    def read_monotonic() -> int:
        nonlocal now
        now = next(monotonic)
        return now

    monkeypatch.setattr(f"{measure.__name__}.time.monotonic_ns", read_monotonic)
    monkeypatch.setattr(f"{measure.__name__}.time.time_ns", lambda: now + 1_000_000_000)
    assert measure._realtime_offset_ns() == 1_000_000_000 - 50
