# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from sgxlens.prediction.startup import phases_to_first_result
from sgxlens.recording.reader import Phase


def phase(index: int, name: str, *, is_empty: bool = False) -> Phase:
    start = 100 * index
    return Phase(0, index, name, start, start if is_empty else start + 100, 0, 1000, 500)


def test_the_first_result_is_that_of_the_first_warm_up() -> None:
    phases = [phase(0, "load"), phase(1, "warm-up 1"), phase(2, "inference 1")]
    assert [p.index for p in phases_to_first_result(phases, phases[2])] == [0, 1]


def test_of_a_recording_from_a_mark_on_it_is_that_of_the_first_phase_recorded() -> None:
    phases = [phase(0, "load", is_empty=True), phase(1, "warm-up 1", is_empty=True)]
    phases += [phase(2, "inference 1"), phase(3, "inference 2")]
    assert [p.index for p in phases_to_first_result(phases, phases[3])] == [2]
    assert [p.index for p in phases_to_first_result(phases, phases[2])] == [2]
