# SPDX-License-Identifier: Apache-2.0
"""Attribution against counting the accesses of made-up programs one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from made_up import PHASES, REGIONS, programs
from sgxlens.attribution import (
    SOURCE_KINDS,
    ByteCounts,
    Misses,
    Usage,
    line_bytes,
    operator_table,
    region_table,
    reuse_of,
    sharing,
    sources,
    spatial_use,
    timeline,
    working_sets,
)
from sgxlens.recording._attribution_reference import is_followed
from sgxlens.recording.format import BLOCK_BYTES
from simulated import Access, Program


def kind_of(accesses: list[Access], access: Access, granularity: str) -> str:
    index = access.source(granularity)
    if index is None:
        return "cold"
    source = accesses[index]
    if source.phase != access.phase:
        return ("load", "warm_up", "previous_inference", "previous_inference")[source.phase]
    if source.operator is None:
        return "outside_operators"
    return "same_operator" if source.operator == access.operator else "earlier_operator"


def misses(chosen: Iterable[Access], granularity: str, capacity: int, width: int) -> Misses:
    low = high = 0
    for access in chosen:
        distance = access.distance(granularity)
        low += distance is None or distance // width * width >= capacity
        high += distance is None or distance // width * width + width - 1 >= capacity
    return Misses(low, high)


def usage(
    program: Program,
    accesses: list[Access],
    chosen: list[Access],
    granularity: str,
    memory_bytes: int,
    *,
    region_of: Callable[[Access], int] | None = None,
    regions: set[int] | None = None,
) -> Usage:
    """Of the accesses chosen; `regions` chooses by line for blocks and by page for accesses."""
    counted = chosen
    touched = chosen
    if regions is not None:
        assert region_of is not None
        counted = [a for a in chosen if region_of(a) in regions]
        touched = [a for a in chosen if a.region in regions]
    kinds = Counter(kind_of(accesses, a, granularity) for a in counted)
    size = BLOCK_BYTES[granularity]
    return Usage(
        block_bytes=size,
        access_count=len(counted),
        block_count=len({a.block(granularity) for a in touched}),
        written_block_count=len({a.block(granularity) for a in touched if a.is_write}),
        misses=misses(counted, granularity, memory_bytes // size, program.bin_width),
        by_source={kind: kinds[kind] for kind in SOURCE_KINDS},
    )


PHASE = st.integers(0, len(PHASES) - 1)


@settings(max_examples=60)
@given(programs(), PHASE, st.integers(0, 3 * 4096))
def test_operators_use_what_their_accesses_touch(
    program: Program, phase: int, memory_bytes: int
) -> None:
    accesses = program.run()
    table = operator_table(program.record(), phase, memory_bytes)
    here = [a for a in accesses if a.phase == phase]
    expected = dict.fromkeys(sorted({a.operator for a in here if a.operator is not None}))
    assert [row.operator.number for row in table.rows if row.operator] == list(expected)
    for row in (*table.rows, table.between):
        number = None if row.operator is None else row.operator.number
        mine = [a for a in here if a.operator == number]
        assert row.line == usage(program, accesses, mine, "line", memory_bytes)
        assert row.page == usage(program, accesses, mine, "page", memory_bytes)
        roles: dict[str, set[int]] = defaultdict(set)
        for access in mine:
            roles[REGIONS[access.region][1]].add(access.line)
        assert row.lines_by_role == {role: len(lines) for role, lines in roles.items()}
    assert table.total.line == usage(program, accesses, here, "line", memory_bytes)
    assert table.total.page == usage(program, accesses, here, "page", memory_bytes)


@settings(max_examples=60)
@given(programs(), PHASE, st.integers(0, 3 * 4096))
def test_sources_add_up_to_the_reuse_of_the_phase(
    program: Program, phase: int, memory_bytes: int
) -> None:
    accesses = program.run()
    recording = program.record()
    table = sources(recording, phase, memory_bytes)
    here = [a for a in accesses if a.phase == phase]
    for granularity, size in BLOCK_BYTES.items():
        rows = table.rows[granularity]
        assert [row.kind for row in rows] == list(SOURCE_KINDS)
        assert sum(row.access_count for row in rows) == recording.reuse(granularity, phase).total
        for row in rows:
            mine = [a for a in here if kind_of(accesses, a, granularity) == row.kind]
            other = [
                a
                for a in mine
                if (index := a.source(granularity)) is not None
                and accesses[index].thread != a.thread
            ]
            assert (row.access_count, row.other_thread_count) == (len(mine), len(other))
            assert row.misses == misses(mine, granularity, memory_bytes // size, program.bin_width)
        total = reuse_of(recording, phase, granularity)
        assert total == recording.reuse(granularity, phase)


@settings(max_examples=60)
@given(programs(), PHASE, st.integers(0, 3 * 4096))
def test_flows_go_from_the_operator_that_accessed_last(
    program: Program, phase: int, memory_bytes: int
) -> None:
    accesses = program.run()
    table = sources(program.record(), phase, memory_bytes)
    for granularity, size in BLOCK_BYTES.items():
        expected: dict[tuple[int, int], list[Access]] = defaultdict(list)
        for access in accesses:
            index = access.source(granularity)
            if access.phase != phase or access.operator is None or index is None:
                continue
            if kind_of(accesses, access, granularity) == "earlier_operator":
                producer = accesses[index].operator
                assert producer is not None
                expected[producer, access.operator].append(access)
        flows = table.flows[granularity]
        found = {}
        for i in range(flows.access_count.size):
            pair = (
                table.operators[flows.producer[i]].number,
                table.operators[flows.consumer[i]].number,
            )
            found[pair] = (
                int(flows.access_count[i]),
                Misses(int(flows.miss_count_low[i]), int(flows.miss_count_high[i])),
            )
        capacity = memory_bytes // size
        assert found == {
            pair: (len(mine), misses(mine, granularity, capacity, program.bin_width))
            for pair, mine in expected.items()
        }
        assert np.all(np.diff(flows.access_count) <= 0)


@settings(max_examples=60)
@given(programs(), PHASE, st.integers(0, 3 * 4096))
def test_regions_are_of_the_line_at_the_time(
    program: Program, phase: int, memory_bytes: int
) -> None:
    accesses = program.run()
    table = region_table(program.record(), phase, memory_bytes)
    here = [a for a in accesses if a.phase == phase]

    def expected(regions: set[int]) -> tuple[Usage, Usage]:
        return (
            usage(
                program, accesses, here, "line", memory_bytes,
                region_of=lambda a: a.region, regions=regions,
            ),
            usage(
                program, accesses, here, "page", memory_bytes,
                region_of=lambda a: a.page_region, regions=regions,
            ),
        )  # fmt: skip

    assert {row.region.number for row in table.rows if row.region} == {a.region for a in here}
    for row in table.rows:
        assert row.region is not None
        assert (row.line, row.page) == expected({row.region.number})
    assert {row.role for row in table.roles} == {REGIONS[a.region][1] for a in here}
    for row in table.roles:
        regions = {i for i, (_, role) in enumerate(REGIONS) if role == row.role}
        assert (row.line, row.page) == expected(regions)
    lines = {(a.region, a.line) for a in here}
    unknown = sum(REGIONS[region][1] == "unclassified" for region, _ in lines)
    if len({line for _, line in lines}) == len(lines):
        assert table.unclassified_share == (unknown / len(lines) if lines else 0)


@settings(max_examples=60)
@given(programs(), PHASE)
def test_regions_know_their_operators(program: Program, phase: int) -> None:
    here = [a for a in program.run() if a.phase == phase]
    table = region_table(program.record(), phase)
    lines: dict[tuple[int | None, int], set[int]] = defaultdict(set)
    written: dict[tuple[int | None, int], set[int]] = defaultdict(set)
    weights: dict[int | None, set[tuple[int, int]]] = defaultdict(set)
    for access in here:
        lines[access.operator, access.region].add(access.line)
        if access.is_write:
            written[access.operator, access.region].add(access.line)
        if REGIONS[access.region][1] == "weights":
            weights[access.operator].add((access.region, access.line))
    uses = table.uses
    numbers: list[int | None] = [o.number for o in table.operators]
    numbers.append(None)
    found = {
        (numbers[uses.operator[i]], int(uses.region[i])): (
            int(uses.line_count[i]),
            int(uses.read_line_count[i]),
            int(uses.written_line_count[i]),
        )
        for i in range(uses.line_count.size)
    }
    assert found == {
        key: (len(lines[key]), len(lines[key]) - len(written[key]), len(written[key]))
        for key in lines
    }
    in_bytes = [64 * len(weights[number]) for number in numbers]
    assert table.bytes_by_operator("weights").tolist() == in_bytes


@settings(max_examples=60)
@given(programs(), PHASE, st.integers(1, 30))
def test_working_sets_are_of_whole_spans(program: Program, phase: int, window: int) -> None:
    here = [a for a in program.run() if a.phase == phase]
    windows: list[list[Access]] = []
    for span in sorted({a.span for a in here}):
        if not windows or len(windows[-1]) >= window:
            windows.append([])
        windows[-1] += [a for a in here if a.span == span]
    found = working_sets(program.record(), phase, window)

    def count(what: Callable[[Access], Any]) -> list[int]:
        return [len({what(a) for a in part} - {None}) for part in windows]

    assert found.start_position.tolist() == [part[0].position for part in windows]
    assert found.end_position.tolist() == [part[-1].position + 1 for part in windows]
    assert found.access_count.tolist() == [len(part) for part in windows]
    assert found.lines.tolist() == count(lambda a: a.line)
    assert found.pages.tolist() == count(lambda a: a.page)
    assert found.written_lines.tolist() == count(lambda a: a.line if a.is_write else None)
    assert found.written_pages.tolist() == count(lambda a: a.page if a.is_write else None)
    spans = Counter(a.span for a in here)
    assert found.longest_span_accesses == max(spans.values(), default=0)


@settings(max_examples=60)
@given(programs(), PHASE)
def test_what_threads_share(program: Program, phase: int) -> None:
    accesses = program.run()
    here = [a for a in accesses if a.phase == phase]
    found = sharing(program.record(), phase)
    assert found.threads == tuple(sorted({a.thread for a in here}))
    for granularity, shared in (("line", found.line), ("page", found.page)):
        threads: dict[int, set[int]] = defaultdict(set)
        written = set()
        for access in here:
            threads[access.block(granularity)].add(access.thread)
            if access.is_write:
                written.add(access.block(granularity))
        several = {block for block, users in threads.items() if len(users) > 1}
        assert shared.block_count == len(threads)
        assert shared.shared_count == len(several)
        assert shared.shared_written_count == len(several & written)
        sources_ = [(a, a.source(granularity)) for a in here]
        assert shared.reuse_count == sum(s is not None for _, s in sources_)
        assert shared.other_thread_reuse_count == sum(
            s is not None and accesses[s].thread != a.thread for a, s in sources_
        )


@settings(max_examples=60)
@given(programs(), PHASE, st.integers(1, 40), st.none() | st.integers(1, 4))
def test_the_timeline_shows_every_page(
    program: Program, phase: int, limit: int, rows: int | None
) -> None:
    here = [a for a in program.run() if a.phase == phase]
    found = timeline(program.record(), phase, limit, max_rows=rows)
    assert found.column.size <= limit
    assert rows is None or -(-found.pages.size // found.pages_per_cell) <= rows
    assert found.pages.tolist() == sorted({a.page for a in here})
    pages = found.pages.tolist()
    step_of_span: dict[int, int] = {}
    before: tuple[int, int | None] | None = None
    for access in here:
        if access.span not in step_of_span:
            with_operators = any(a.operator is not None for a in here)
            is_same = before is not None and with_operators and before[1] == access.operator
            step_of_span[access.span] = (before[0] if before else -1) + (not is_same)
        before = (step_of_span[access.span], access.operator)
    numbers: list[int | None] = [o.number for o in found.operators]
    numbers.append(None)
    by_step = {step_of_span[a.span]: a.operator for a in here}
    assert [numbers[i] for i in found.step_operator] == [by_step[i] for i in sorted(by_step)]
    exact: dict[tuple[int, int], int] = Counter()
    lines: dict[tuple[int, int, int], set[str]] = defaultdict(set)
    for access in here:
        # Threads of a span are told apart: each has a bit map of its own.
        lines[access.span, access.thread, access.line].add(access.name)
    for (span, _, line), names in lines.items():
        flag = 0
        flag |= 2 * bool(names & {"store", "kernel_write"}) | 4 * ("fetch" in names)
        cell = (
            step_of_span[span] // found.steps_per_cell,
            pages.index(line // 64) // found.pages_per_cell,
        )
        exact[cell] |= flag or 1
    drawn: dict[tuple[int, int], int] = {}
    for i in range(found.column.size):
        for cell_index in range(int(found.cell_count[i])):
            key = (int(found.column[i]), int(found.first_cell[i]) + cell_index)
            assert key not in drawn
            drawn[key] = int(found.flags[i])
    assert drawn == dict(exact)


def stays_in_memory(accesses: list[Access], capacity: int) -> list[list[Access]]:
    """The accesses of each stay of a page in an LRU memory."""
    stays: list[list[Access]] = []
    memory: dict[int, int] = {}
    for access in accesses:
        if access.page in memory:
            number = memory.pop(access.page)
        else:
            number = len(stays)
            stays.append([])
            if len(memory) == capacity:
                del memory[next(iter(memory))]
        memory[access.page] = number
        stays[number].append(access)
    return stays


@settings(max_examples=60)
@given(programs(), PHASE, st.integers(2, 4))
def test_lines_used_of_each_page(program: Program, phase: int, capacity: int) -> None:
    accesses = program.run()
    here = [a for a in accesses if a.phase == phase]
    found = spatial_use(program.record(), phase, capacity * 4096 + 5)
    lines: dict[int, set[int]] = defaultdict(set)
    by_role: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for access in here:
        lines[access.page].add(access.line)
        by_role[REGIONS[access.region][1]][access.page].add(access.line)
    pages = found.pages.tolist()
    assert dict(zip(pages, found.line_count.tolist(), strict=True)) == {
        page: len(used) for page, used in lines.items()
    }
    written = Counter(line // 64 for line in {a.line for a in here if a.is_write})
    assert found.written_line_count.tolist() == [written[page] for page in pages]
    regions: dict[int, Counter[int]] = defaultdict(Counter)
    for page, region, _ in {(a.page, a.region, a.line) for a in here}:
        regions[page][region] += 1
    for page, role in zip(pages, found.page_role.tolist(), strict=True):
        most = max(regions[page].values())
        largest = {REGIONS[r][1] for r, count in regions[page].items() if count == most}
        assert found.roles[role] in largest
    counts = Counter(len(used) for used in lines.values())
    assert found.pages_by_line_count.tolist() == [counts[n] for n in range(65)]
    assert {role: n.tolist() for role, n in found.lines_by_role.items()} == {
        role: [sum(len(used) == n for used in of.values()) for n in range(65)]
        for role, of in by_role.items()
    }
    stays = found.stays
    assert stays is not None
    everywhere = stays_in_memory(accesses, capacity)
    assert stays.capacity_pages == capacity
    assert stays.load_count == sum(stay[0].phase == phase for stay in everywhere)
    expected: dict[int, list[int]] = defaultdict(list)
    for stay in everywhere:
        used = {a.line for a in stay if a.phase == phase}
        if used:
            expected[stay[0].page].append(len(used))
    bounds: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i in range(stays.page.size):
        low, high = int(stays.line_count_low[i]), int(stays.line_count_high[i])
        assert low <= high
        bounds[pages[stays.page[i]]].append((low, high))
    for page, true in expected.items():
        # A stay that may have had accesses in the phase but had none has a lower bound of 0.
        assert sum(low > 0 for low, _ in bounds[page]) <= len(true) <= len(bounds[page])
        certain = [low for low, high in bounds[page] if low == high]
        assert not Counter(certain) - Counter(true)
        assert sum(true) >= sum(low for low, _ in bounds[page])
        assert max(true) <= max(high for _, high in bounds[page])


def byte_counts(accesses: Iterable[Access]) -> tuple[list[int], list[int]]:
    """Of their lines, how many have 0, 1 ... 64 bytes accessed, and written."""
    used: dict[int, int] = defaultdict(int)
    written: dict[int, int] = defaultdict(int)
    for access in accesses:
        used[access.line] |= access.bytes
        written[access.line] |= access.bytes if access.is_write else 0
    sizes = Counter(bits.bit_count() for bits in used.values())
    written_sizes = Counter(written[line].bit_count() for line in used)
    return [sizes[n] for n in range(65)], [written_sizes[n] for n in range(65)]


@settings(max_examples=60)
@given(programs(), PHASE, st.sampled_from([1, 1, 2, 8]))
def test_bytes_used_of_each_line(program: Program, phase: int, interval: int) -> None:
    program.line_use_interval = interval
    here = [a for a in program.run() if a.phase == phase and is_followed(a.line, interval)]
    found = line_bytes(program.record(), phase)

    def same(counts: ByteCounts, accesses: list[Access]) -> bool:
        used, written = byte_counts(accesses)
        assert counts.line_count == len({a.line for a in accesses})
        assert counts.byte_count == sum(n * lines for n, lines in enumerate(used))
        assert counts.written_line_count == len({a.line for a in accesses if a.is_write})
        assert counts.written_byte_count == sum(n * lines for n, lines in enumerate(written))
        lists = counts.lines_by_byte_count.tolist(), counts.lines_by_written_byte_count.tolist()
        return lists == (used, written)

    assert found.interval == interval
    assert same(found.total, here)
    assert set(found.by_role) == {REGIONS[a.region][1] for a in here}
    for role, counts in found.by_role.items():
        assert same(counts, [a for a in here if REGIONS[a.region][1] == role])
    for operator, counts in zip(found.operators, found.by_operator, strict=True):
        assert same(counts, [a for a in here if a.operator == operator.number])
    assert same(found.between, [a for a in here if a.operator is None])
