# SPDX-License-Identifier: Apache-2.0
"""Programs whose code the compiler decides on: what was recorded against the slow twins.

The twins decode the kept accesses and compute every distance by searching a list.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import streams
from recordings import (
    PROGRAMS,
    by_class,
    compile_program,
    kept_chunks,
    needs_tracer,
    phase_counts,
    record,
)
from sgxlens.recording import _reference as twin
from sgxlens.recording._reference import LOAD, STORE
from sgxlens.recording.reader import Recording
from sgxlens.reuse._reference import ReuseStack

pytestmark = needs_tracer

N, BLOCK = 32, 8  # as in matmul.c


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matmul")
    return compile_program([PROGRAMS / "matmul.c"], folder / "matmul", "-no-pie", "-fno-pie")


@pytest.fixture(scope="module")
def recording(program: Path) -> Recording:
    return record(program.parent / "recording", str(program), keep_accesses=True)


@pytest.fixture(scope="module")
def decoder(recording: Recording) -> twin.Decoder:
    return twin.decode(kept_chunks(recording))


def _addresses(program: Path) -> dict[str, int]:
    listing = subprocess.run(["nm", str(program)], capture_output=True, text=True, check=True)
    fields = [line.split() for line in listing.stdout.splitlines()]
    return {f[2]: int(f[0], 16) for f in fields if len(f) == 3 and f[2] in "abc"}


def _blocked_product(addresses: dict[str, int]) -> Iterator[tuple[int, int]]:
    """Line and class of each access to the matrices, as the loops of matmul.c make them."""

    def line(matrix: str, row: int, column: int) -> int:
        return (addresses[matrix] + 8 * (N * row + column)) // 64

    blocks = range(0, N, BLOCK)
    for i0, j0, k0 in product(blocks, blocks, blocks):
        for i, j in product(range(i0, i0 + BLOCK), range(j0, j0 + BLOCK)):
            yield line("c", i, j), LOAD
            for k in range(k0, k0 + BLOCK):
                yield line("a", i, k), LOAD
                yield line("b", k, j), LOAD
            yield line("c", i, j), STORE


@pytest.mark.parametrize("phase", ["multiply", "again"])
def test_matrix_accesses_are_those_of_the_loops(
    phase: str, program: Path, recording: Recording, decoder: twin.Decoder
) -> None:
    addresses = _addresses(program)
    lines = {
        line
        for start in addresses.values()
        for line in range(start // 64, (start + 8 * N * N) // 64)
    }
    (found,) = recording.select_phases(phase)
    made = streams.accesses_of(decoder, found.index, "line")
    assert [a for a in made if a[0] in lines] == _in_either_order(
        list(_blocked_product(addresses)), [a for a in made if a[0] in lines]
    )


def _in_either_order(
    expected: list[tuple[int, int]], made: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """`expected`, but a product's two loads in the order in which the compiler makes them."""
    first_loads = {made[1], made[2]}
    assert first_loads == {expected[1], expected[2]}
    if made[1] == expected[1]:
        return expected
    swapped = list(expected)
    turn = 2 * BLOCK + 2
    for start in range(0, len(swapped), turn):
        for i in range(start + 1, start + turn - 1, 2):
            swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
    return swapped


def test_everything_native_equals_the_twin(recording: Recording, decoder: twin.Decoder) -> None:
    streams.assert_same(streams.analyse(kept_chunks(recording)), decoder)


def test_events_native_equal_those_of_the_twin(tmp_path: Path) -> None:
    program = compile_program([PROGRAMS / "events.c"], tmp_path / "events", "-pthread")
    command = [str(program), str(PROGRAMS / "events.c")]
    recording = record(tmp_path / "recording", *command, keep_accesses=True)
    chunks = kept_chunks(recording)
    decoder = twin.decode(chunks)
    streams.assert_same(streams.analyse(chunks), decoder)
    # The program does make events of all kinds.
    assert {change.event for change in decoder.mapping_changes} == set(streams.MAPPING_EVENTS)
    assert [p.name for p in decoder.phases[1:]] == [b"threads", b"mappings", b"files", b"clocks"]
    assert (len(decoder.threads), [s.signal for s in decoder.signals]) == (4, [10])
    assert len(decoder.clock_reads) == 1
    assert sum(decoder.phases[-1].traps.values()) == 1
    assert any(c.path == str(PROGRAMS / "events.c").encode() for c in decoder.system_calls)
    (failed,) = [c for c in decoder.system_calls if c.phase == 3 and (c.result or 0) < 0]
    assert failed.result == -9


def test_recorded_tables_are_those_of_the_twin(recording: Recording, decoder: twin.Decoder) -> None:
    # The recording was made while the program ran, not from the kept accesses.
    reuse = streams.twin_reuse(decoder)
    for phase in recording.phases:
        for granularity in streams.GRANULARITIES:
            of_phase = {
                (c, bounds): n
                for (p, g, c, bounds), n in reuse.items()
                if (p, g) == (phase.index, granularity)
            }
            assert phase_counts(recording, phase.index, granularity) == by_class(of_phase)
    footprints = streams.twin_footprints(decoder)
    names = ("fetch", "load", "store", "kernel_read", "kernel_write", "any")
    rows = recording.table("footprints").to_pylist()
    assert {
        (row["phase"], row["granularity"], names.index(row["access"])): (
            row["access_count"],
            row["block_count"],
            row["first_touch_count"],
        )
        for row in rows
    } == footprints


@pytest.mark.parametrize("rate", [0.2, 0.02])
def test_sampled_equals_the_twin(rate: float, recording: Recording, decoder: twin.Decoder) -> None:
    found = streams.native_reuse(streams.analyse(kept_chunks(recording), rate))
    for granularity in ("line", "page"):
        stack = ReuseStack("line" if granularity == "line" else "page", rate)
        for index, phase in enumerate(decoder.phases):
            stack.access(decoder.entries[phase.start_position : phase.end_position])
            counts = stack.end_phase()
            expected: dict[streams.ReuseKey, int] = {
                (index, granularity, *key): n for key, n in counts.distance_count.items()
            }
            for access_class, n in enumerate(counts.cold_count):
                if n:
                    expected[index, granularity, access_class, None] = n
            assert {
                key: n for key, n in found.items() if key[:2] == (index, granularity)
            } == expected
