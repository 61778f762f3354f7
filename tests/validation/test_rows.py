# SPDX-License-Identifier: Apache-2.0
"""What predictions are held against is what was published."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from sgxlens.enclave.platform import load_platform, platform_names
from validation import networks
from validation.networks import NETWORKS
from validation.recordings import Program
from validation.rows import load_rows

# Sizes of the weights that SGX4ML (10.18420/BTW2023-44) states, in MB, to the digits given.
PUBLISHED_WEIGHTS_MB = {"mlp": (0.32, 2), "large_mlp": (52.61, 2), "alexnet": (249.5, 1)}


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_have_the_size_published(name: str) -> None:
    size_mb, digits = PUBLISHED_WEIGHTS_MB[name]
    assert round(NETWORKS[name].weight_bytes() / 1e6, digits) == size_mb


def test_layers_of_alexnet_fit_together() -> None:
    shapes = NETWORKS["alexnet"].weight_shapes()
    assert shapes[0] == (96, 3, 11, 11)
    assert [shape[1] for shape in shapes if len(shape) == 2] == [9216, 4096, 4096]
    assert sum(map(math.prod, shapes)) == 62_367_776


def test_rows_are_whole() -> None:
    published = load_rows()
    assert published.threads == 1
    assert 0 < published.slowdown_error_bound < 1
    keys = [(row.network, row.batch, row.platform) for row in published.rows]
    assert len(set(keys)) == len(keys)
    for row in published.rows:
        assert row.network in NETWORKS
        # An enclave is never faster, and an unlikely slowdown is a slip of the pen.
        assert 1 < row.slowdown < 30
        assert row.platform in platform_names()


def test_every_row_can_be_recorded_in_pytorch() -> None:
    for row in load_rows().rows:
        program = Program(row.network, row.batch, "torch")
        assert callable(getattr(networks, f"{program.network}_b{program.batch}"))


def _calibrated_on(value: Any) -> Iterator[str]:
    """Rows that constants of a dumped platform are calibrated on."""
    if isinstance(value, dict):
        yield from value.get("calibrated_on", ())
        for each in value.values():
            yield from _calibrated_on(each)


@pytest.mark.parametrize("name", platform_names())
def test_constants_are_calibrated_on_published_rows_only(name: str) -> None:
    used = set(_calibrated_on(load_platform(name).model_dump()))
    assert used
    assert used <= {row.name for row in load_rows().rows}
