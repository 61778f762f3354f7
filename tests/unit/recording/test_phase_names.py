# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from sgxlens.recording.phase_names import is_inference, is_warm_up


@pytest.mark.parametrize("name", ["inference", "inference 2", "Inference_3", "inference7"])
def test_inferences_are_called_so_with_or_without_a_number(name: str) -> None:
    assert is_inference(name)
    assert not is_warm_up(name)


@pytest.mark.parametrize("name", ["warm-up", "warmup 1", "Warm-up_2"])
def test_warm_ups_are_called_so_with_or_without_a_hyphen(name: str) -> None:
    assert is_warm_up(name)
    assert not is_inference(name)


@pytest.mark.parametrize(
    "name", ["", "load", "inferences", "no inference", "warm-upper", "warm up"]
)
def test_other_names_say_nothing(name: str) -> None:
    assert not is_inference(name)
    assert not is_warm_up(name)
