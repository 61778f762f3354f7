# SPDX-License-Identifier: Apache-2.0
"""What a program may say of itself: here where nothing listens."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

import sgxlens
from sgxlens import _native, annotation
from sgxlens.recording.format import ANNOTATION_KINDS

INCLUDE = Path(__file__).parents[2] / "tracer/include/sgxlens"


def test_annotations_are_heard_by_nobody() -> None:
    with sgxlens.operator("step"):
        assert sgxlens.region(4096, 64, "weights", "w") is False
        assert sgxlens.region_end(4096, 64) is False


def test_an_operator_ends_when_its_body_raises() -> None:
    with pytest.raises(KeyError), sgxlens.operator("step"):
        raise KeyError


def test_kinds_are_numbered_as_in_the_stream() -> None:
    text = (INCLUDE / "stream.h").read_text()
    for name in ANNOTATION_KINDS:
        (number,) = re.findall(rf"SGXLENS_{name.upper()} = (\d+),", text)
        assert getattr(annotation, name.upper()) == int(number)
        assert ANNOTATION_KINDS[int(number) - 1] == name


def test_the_header_makes_the_requests_of_the_stream() -> None:
    requests = re.findall(r"#define SGXLENS_REQUEST_\w+ (\w+)", (INCLUDE / "stream.h").read_text())
    header = (INCLUDE / "mark.h").read_text()
    assert requests == sorted(set(re.findall(r"0x534c\w+", header)))


@pytest.mark.parametrize("role", ["", "weight", "weights:a", "unclassified"])
def test_a_region_has_a_role(role: str) -> None:
    with pytest.raises(ValueError, match="one of the roles weights, activations"):
        sgxlens.region(0, 1, role)


@pytest.mark.parametrize(("address", "size_bytes"), [(-1, 4), (0, -1), (1 << 64, 0), (1, 1 << 64)])
def test_a_region_is_a_range(address: int, size_bytes: int) -> None:
    with pytest.raises(ValueError, match="no range"):
        sgxlens.region(address, size_bytes, "weights")
    with pytest.raises(ValueError, match="no range"):
        sgxlens.region_end(address, size_bytes)


@pytest.mark.parametrize("kind", [0, 6])
def test_the_core_knows_the_kinds(kind: int) -> None:
    with pytest.raises(ValueError, match="no such kind"):
        _native.annotate(kind, 0, 0, "")


def test_an_annotation_costs_no_more_than_a_few_function_calls() -> None:
    start = time.process_time()
    for _ in range(20_000):
        with sgxlens.operator("step"):
            pass
    assert (time.process_time() - start) / 20_000 < 20e-6
