# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from sgxlens.errors import TargetError
from sgxlens.recording.native_times.model import NativeTimes
from sgxlens.verification.outputs import deviation
from sgxlens.verification.paired_times import inference_ratio, startup_ratio, turn_spread


def test_a_deviation_is_of_the_largest_magnitude_in_its_sample() -> None:
    before = [[np.array([[1.0, -4.0]])], [np.array([[100.0, 0.0]])]]
    after = [[np.array([[2.0, -4.0]])], [np.array([[90.0, 0.0]])]]
    found = deviation(before, after, 0.2)
    assert found.max_absolute == 10
    assert found.max_relative == 0.25
    assert found.rms_relative == pytest.approx(np.sqrt(101 / (1 + 16 + 1e4)))
    assert not found.is_within
    assert found.top1_agreement == 1.0


def test_top1_counts_samples_whose_largest_value_moved() -> None:
    before = [[np.array([[1.0, 2.0]])], [np.array([[1.0, 2.0]])]]
    after = [[np.array([[3.0, 2.0]])], [np.array([[1.0, 2.5]])]]
    assert deviation(before, after, 1).top1_agreement == 0.5
    images = [[np.ones((2, 2))]]
    assert deviation(images, images, 1).top1_agreement is None


def test_values_that_are_no_numbers_are_the_same_only_at_the_same_place() -> None:
    nan = np.array([np.nan, np.inf, 1.0])
    assert deviation([[nan]], [[nan]], 0).max_relative == 0
    assert not deviation([[nan]], [[nan[::-1]]], 1).is_within


def test_other_shapes_are_refused() -> None:
    with pytest.raises(TargetError, match=r"other shapes than before: \[\[3\]\], not \[\[2\]\]"):
        deviation([[np.ones(2)]], [[np.ones(3)]], 1)


def times(*runs: tuple[float, ...]) -> NativeTimes:
    """Runs with a load and some inferences each."""
    host = {"cpu": "c", "cores": 1, "kernel": "k", "memory_bytes": 1}
    names = ("load", "warm-up 1", "inference 1", "inference 2")
    return NativeTimes.model_validate(
        {
            "host": host,
            "runs": [
                {
                    "seconds": sum(run),
                    "phases": [
                        {"name": name, "seconds": seconds}
                        for name, seconds in zip(names, run, strict=True)
                    ],
                }
                for run in runs
            ],
        }
    )


def test_the_shortest_time_of_all_turns_counts() -> None:
    before = times((10.0, 2.0, 4.0, 3.0), (8.0, 2.0, 2.0, 5.0))
    after = times((5.0, 1.0, 1.0, 3.0), (6.0, 1.0, 9.0, 9.0))
    ratio = inference_ratio(before, after, "inference 2")
    assert (ratio.low, ratio.likely, ratio.high) == (1 / 3, 0.5, 4.5)
    start = startup_ratio(before, after)
    assert (start.low, start.likely, start.high) == (0.5, 0.6, 0.7)
    with pytest.raises(TargetError, match="a phase is missing"):
        inference_ratio(before, after, "epoch 1")


def test_turns_disagree_as_their_quartiles_do() -> None:
    quiet = times(*((8.0, 2.0, seconds, 9.0) for seconds in (1.00, 1.01, 1.02, 1.03, 1.04)))
    # One turn that was disturbed does not make the others unsteady.
    once = times(*((8.0, 2.0, seconds, 9.0) for seconds in (1.00, 1.01, 1.02, 1.03, 7.0)))
    busy = times(*((8.0, 2.0, seconds, 90.0) for seconds in (17.0, 21.0, 44.0, 45.0, 46.0)))
    assert turn_spread(quiet, once, "inference 1") == pytest.approx(1.03 / 1.01)
    assert turn_spread(busy, quiet, "inference 1") == turn_spread(quiet, busy, "inference 1")
    assert turn_spread(quiet, busy, "inference 1") == pytest.approx(45 / 21)
