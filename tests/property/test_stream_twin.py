# SPDX-License-Identifier: Apache-2.0
"""The native decoder against its twin, on streams that follow the format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from sgxlens.recording import _reference as twin
from sgxlens.recording._reference import Kind, Op, decode
from streams import Record, analyse, assert_same, define, exit_word, operation, record, words_of


# The native core has code for several processors; a lesser set than the best can be asked for.
@pytest.fixture(params=["baseline", "avx2", "best"], scope="module")
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGXLENS_INSTRUCTION_SET", request.param)
        yield request.param


@given(streams.valid_streams())
@settings(max_examples=100)
def test_native_equals_twin(instruction_set: str, records: list[Record]) -> None:
    words = words_of(records)
    assert_same(analyse([words]), decode([words]))


@given(streams.valid_streams(), st.data())
@settings(max_examples=50)
def test_chunks_may_be_cut_between_any_two_records(
    records: list[Record], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(records)))
    chunks = [words_of(records[:cut]), words_of(records[cut:])]
    assert_same(analyse(chunks), decode([words_of(records)]))


def test_more_accesses_than_a_batch_holds(instruction_set: str) -> None:
    # 2,000 accesses a run, every one across two lines: the buffer of accesses fills and is emptied
    # within superblocks, at each place of it.
    crossing = [operation(Op.LOAD, 0, 8, 60 + 64 * i) for i in range(2000)]
    large = [operation(Op.STORE, 0, 4096, 4096 * i) for i in range(100)]
    records = [
        define(0, [exit_word(2000, 1, 3)], crossing),
        define(1, [exit_word(100, 1, 3)], large),
    ]
    for i in range(12):
        records.append(record(Kind.RUN, i % 4 == 3, [0x10000 + 8 * i]))
        if i % 5 == 4:
            records.append(streams.mark(b"next"))
    words = words_of(records)
    assert_same(analyse([words]), decode([words]))


def test_kernel_accesses_of_many_pages() -> None:
    records = [
        record(Kind.SYSCALL_ENTER, 0, [0x401002, 3, 0x700000, 1 << 20, 0, 0, 0]),
        record(Kind.KERNEL_WRITE, 0, [0x700010, 1 << 20]),
        record(Kind.SYSCALL_EXIT, 0, [1 << 20]),
        record(Kind.KERNEL_READ, 0, [0x7FFF_FFFF_F000, 8192]),  # wraps around
    ]
    words = words_of(records)
    decoder = decode([words])
    assert_same(analyse([words]), decoder)
    assert decoder.system_calls[0].kernel_write_bytes == 1 << 20
    assert len(twin.page_accesses(decoder.entries)) == 257 + 2


def test_traps_are_counted_by_leaf() -> None:
    operations = [operation(Op.CPUID, 0, 0, 0), operation(Op.RDTSC, streams.BASE_NONE, 0, 0)]
    records = [define(0, [exit_word(2, 1, 2)], operations)]
    records += [record(Kind.RUN, 0, [7 | subleaf << 32]) for subleaf in (0, 1, 1)]
    words = words_of(records)
    traps = decode([words]).phases[0].traps
    assert traps == {(Op.CPUID, 7): 1, (Op.CPUID, 7 | 1 << 32): 2, (Op.RDTSC, 0): 3}
    assert_same(analyse([words]), decode([words]))


def test_an_empty_stream_is_a_phase_without_accesses() -> None:
    analysis = analyse([np.zeros(0, dtype=np.uint64)])
    assert_same(analysis, decode([]))
    assert analysis.phases()["name"] == [b"start"]


HEADER = Path(__file__).parents[2] / "tracer/include/sgxlens/stream.h"


@pytest.mark.parametrize(("prefix", "members"), [("", Kind), ("OP_", Op)])
def test_twin_has_the_numbers_of_the_header(prefix: str, members: type[Kind | Op]) -> None:
    enum = "kind" if members is Kind else "operation_kind"
    body = re.search(rf"enum sgxlens_{enum} {{(.*?)}};", HEADER.read_text(), re.DOTALL)
    assert body is not None
    numbers = re.findall(rf"SGXLENS_{prefix}(\w+) = (\d+)", body[1])
    assert {name: int(number) for name, number in numbers} == {m.name: m.value for m in members}
