# SPDX-License-Identifier: Apache-2.0
"""Lines that miss the last-level cache, against exact fractions and against a simulated cache."""

from __future__ import annotations

import random
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_up import PHASES, REGIONS, programs
from sgxlens.enclave import _cache_reference as twin
from sgxlens.enclave.cache import miss_probability
from sgxlens.enclave.encryption import line_misses, sequential_lines
from sgxlens.enclave.platform import Cache
from sgxlens.enclave.quantities import Constant
from simulated import Program

SETS = st.fractions(min_value=1, max_value=60, max_denominator=8)


@settings(max_examples=150)
@given(st.integers(0, 1500), SETS, st.integers(1, 24))
def test_probability_is_the_binomial_one(distance: int, sets: Fraction, ways: int) -> None:
    found = miss_probability([distance], float(sets) * ways * 64, ways)[0]
    assert found == pytest.approx(float(twin.miss_probability(distance, sets, ways)), abs=1e-8)


@given(
    st.lists(st.integers(0, 2**62), min_size=2, max_size=8).map(sorted),
    st.integers(1 << 20, 1 << 32),
    st.sampled_from([1, 11, 16, 1000]),
)
def test_probability_grows_with_distance(distances: list[int], size: int, ways: int) -> None:
    found = miss_probability(distances, size, ways)
    assert np.all((found >= 0) & (found <= 1))
    assert np.all(np.diff(found) >= -1e-8)
    assert np.all(miss_probability(distances, 2 * size, ways) <= found + 1e-8)


def test_distances_below_the_ways_hit_and_far_ones_miss() -> None:
    found = miss_probability([0, 15, 16, 2**40], 16 << 20, 16)
    assert found.tolist()[:2] == [0, 0]
    assert found[2] < 1e-8
    assert found[3] == 1


def test_one_set_is_an_lru_stack() -> None:
    assert miss_probability([3, 4, 5], 4 * 64, 4).tolist() == [0, 1, 1]


@pytest.mark.parametrize(("size", "ways"), [(63, 1), (64 * 4 - 1, 4), (64, 0)])
def test_a_cache_has_a_set(size: int, ways: int) -> None:
    with pytest.raises(ValueError, match="not one set"):
        miss_probability([1], size, ways)


@pytest.mark.parametrize(("sets", "ways"), [(32, 4), (8, 16)])
def test_a_simulated_cache_misses_as_often(sets: int, ways: int) -> None:
    """Lines at random sets, LRU in each: misses are those predicted from reuse distances."""
    rng = random.Random(sets)  # noqa: S311
    trials, lines = 30, sets * ways * 3 // 2
    # Near and far reuse, so that all probabilities occur.
    stream = [min(int(rng.expovariate(3 / lines)), lines - 1) for _ in range(3000)]
    stack: list[int] = []
    distances: list[int] = []
    for line in stream:
        if line in stack:
            distances.append(len(stack) - 1 - stack.index(line))
            stack.remove(line)
        stack.append(line)
    predicted = miss_probability(distances, sets * ways * 64, ways).sum() + len(stack)
    found = []
    for _ in range(trials):
        place = [rng.randrange(sets) for _ in range(lines)]
        kept: dict[int, list[int]] = defaultdict(list)
        misses = 0
        for line in stream:
            here = kept[place[line]]
            if line in here:
                here.remove(line)
            else:
                misses += 1
                del here[: max(len(here) - ways + 1, 0)]
            here.append(line)
        found.append(misses)
    error = np.std(found) / np.sqrt(trials)
    assert len(stack) < predicted < len(stream)
    assert abs(np.mean(found) - predicted) < 4 * error
    assert error < predicted / 50


@given(st.integers(0, 2**64 - 1))
def test_lines_with_neighbours_are_sequential(bitmap: int) -> None:
    used = {line for line in range(64) if bitmap >> line & 1}
    expected = sum(1 << line for line in range(64) if twin.is_sequential(line, used))
    assert int(sequential_lines(np.array([bitmap], dtype=np.uint64))[0]) == expected


def _cache(low: int, likely: int, high: int) -> Cache:
    size = Constant(low=low, likely=likely, high=high, source="x")
    return Cache(llc_bytes=size, llc_ways=2)


@settings(max_examples=60)
@given(
    programs(is_dense=True),
    st.integers(0, len(PHASES) - 1),
    st.lists(st.integers(2, 30), min_size=3, max_size=3).map(sorted),
)
def test_misses_are_those_of_single_accesses(
    program: Program, phase: int, capacities: list[int]
) -> None:
    low, likely, high = (lines * 64 for lines in capacities)
    accesses = program.run()
    used: dict[tuple[int, int], set[int]] = defaultdict(set)
    of_region: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for access in accesses:
        used[access.span, access.thread].add(access.line)
        of_region[access.span, access.thread, access.region].add(access.line)
    width = program.bin_width

    def probability(distance: int | None, size: int, *, far: bool) -> float:
        if distance is None:
            return 1.0
        bound = distance // width * width + (width - 1 if far else 0)
        return float(twin.miss_probability(bound, Fraction(size, 128), 2))

    expected: dict[tuple[int | None, str], list[float]] = defaultdict(lambda: [0.0] * 6)
    for access in accesses:
        if access.phase != phase:
            continue
        context = access.span, access.thread
        lines = of_region[(*context, access.region)]
        random_share = sum(not twin.is_sequential(n, used[context]) for n in lines) / len(lines)
        distance = access.line_distance
        near = probability(distance, likely, far=False)
        far = probability(distance, likely, far=True)
        bounds = (
            probability(distance, high, far=False),
            (near + far) / 2,
            probability(distance, low, far=True),
        )
        row = expected[access.operator, REGIONS[access.region][1]]
        for i, bound in enumerate(bounds):
            row[i] += bound * (1 - random_share)
            row[3 + i] += bound * random_share
    recording = program.record()
    (chosen,) = recording.select_phases(phase)
    found = {}
    for line in line_misses(recording, chosen, _cache(low, likely, high)):
        counts = (line.sequential_count, line.random_count)
        assert line.role is not None
        found[line.operator, line.role] = [
            value for c in counts for value in (c.low, c.likely, c.high)
        ]
    some = {key: pytest.approx(row, abs=1e-6) for key, row in expected.items() if max(row) > 1e-6}
    assert found == some
