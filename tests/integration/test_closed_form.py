# SPDX-License-Identifier: Apache-2.0
"""Whole histograms of programs whose every access is known.

The kernels are in programs/kernels.S, in assembly, because code and data share one LRU stack: the
distance of a load counts the lines of code fetched since. Each kernel runs in a phase of its own
and has its code in a page P of its own; P0, P1 ... are the lines of that page. A phase makes

    fetch P0                  what follows the request that started the phase: a jump. P0 was
                              fetched last of all, for that request, so the distance is 0,
                              of the line and of the page P
    the loop                  from P1 on, a line not fetched before: cold. P is not
    fetch of the last line    with the request that ends the phase: cold

Nothing else: a request touches no memory by itself, and between two requests only the kernel runs.
Arrays were never touched before, so that the first access to each of their lines and pages is cold.
A loop that is one superblock fetches its line once a turn.

Expected counts are {class: {distance: count}}, where COLD stands for no distance.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import pytest

import lru
from recordings import PROGRAMS, Counts, compile_program, needs_tracer, phase_counts, record
from sgxlens.recording.reader import Recording

pytestmark = needs_tracer

COLD = None
Distances = Mapping[int | None, int]
Expected = Mapping[str, Distances]
LINES_IN_PAGE = 64

CHAIN_LINES = 4096


def _chain() -> list[int]:
    """Where each line of the permutation kernel's chain leads: one cycle through all, at random."""
    order = list(range(1, CHAIN_LINES))
    random.Random(1).shuffle(order)  # noqa: S311
    successor = [0] * CHAIN_LINES
    for here, there in zip([0, *order], [*order, 0], strict=True):
        successor[here] = there
    return successor


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("kernels")
    chain = "".join(f".quad {64 * there}\n.skip 56\n" for there in _chain())
    (folder / "permutation.inc").write_text(chain)
    sources = [PROGRAMS / "kernels.S", PROGRAMS / "kernels.c"]
    program = compile_program(sources, folder / "kernels", f"-Wa,-I{folder}")
    return record(folder / "recording", str(program))


def counted(expected: Expected) -> Counts:
    counts: Counts = Counter()
    for access, distances in expected.items():
        for distance, count in distances.items():
            counts[access, None if distance is None else lru.bin_of(distance)] += count
    return counts


def check(recording: Recording, phase: str, lines: Expected, pages: Expected) -> None:
    if not any(p.name == phase for p in recording.phases):
        pytest.skip("the processor has no AVX")
    assert phase_counts(recording, phase, "line") == counted(lines)
    assert phase_counts(recording, phase, "page") == counted(pages)


def test_empty_phase(recording: Recording) -> None:
    check(recording, "empty", lines={"fetch": {0: 1, COLD: 1}}, pages={"fetch": {0: 2}})


def test_code(recording: Recording) -> None:
    # A turn fetches P1, P2, P3: two other lines in between, and one page for all.
    turns = 100
    check(
        recording,
        "code",
        lines={"fetch": {0: 1, COLD: 3 + 1, 2: 3 * (turns - 1)}},
        pages={"fetch": {0: 1 + 3 * turns + 1}},
    )
    (phase,) = recording.select_phases("code")
    # A jump, 26 instructions a turn, and two that prepare the request; it counts as one.
    assert phase.instruction_count == 1 + 26 * turns + 3


@pytest.mark.parametrize("kernel", ["stream_load", "stream_store", "indexed_load"])
def test_streaming(recording: Recording, kernel: str) -> None:
    # A turn fetches P1 and accesses 8 bytes: each has one other line since the turn before,
    # if its own is not new. 8 turns a line, 64 lines a page.
    turns = 8192
    lines, pages = turns // 8, turns // 8 // LINES_IN_PAGE
    access = kernel.partition("_")[2]
    check(
        recording,
        kernel,
        lines={
            "fetch": {0: 1, COLD: 1 + 1, 1: turns - 1},
            access: {COLD: lines, 1: turns - lines},
        },
        # P: at P0, and at P1 in the first turn just after P0; then always after one data page.
        pages={"fetch": {0: 1 + 1, 1: turns - 1 + 1}, access: {COLD: pages, 1: turns - pages}},
    )


@pytest.mark.parametrize(("kernel", "access"), [("push", "store"), ("pop", "load")])
def test_stack(recording: Recording, kernel: str, access: str) -> None:
    # 8 words a turn, which are one line, downwards or upwards.
    turns = 1024
    pages = turns // LINES_IN_PAGE
    check(
        recording,
        kernel,
        lines={
            "fetch": {0: 1, COLD: 1 + 1, 1: turns - 1},
            access: {COLD: turns, 0: 7 * turns},
        },
        pages={
            "fetch": {0: 1 + 1, 1: turns},
            access: {COLD: pages, 1: turns - pages, 0: 7 * turns},
        },
    )


@pytest.mark.parametrize(("kernel", "loads"), [("load_twice", 2), ("load_unused", 1)])
def test_a_load_that_is_overwritten_unused_is_not_seen(
    recording: Recording, kernel: str, loads: int
) -> None:
    # Valgrind removes the first of two loads into one register: a limit of the recorder. Compilers
    # do not make such loads.
    (phase,) = recording.select_phases(kernel)
    rows = recording.table("footprints").to_pylist()
    counts = {
        row["access_count"]
        for row in rows
        if (row["phase"], row["access"]) == (phase.index, "load")
    }
    assert counts == {100 * loads}


def test_call(recording: Recording) -> None:
    # A turn: fetch P1, store the return address in a line S, fetch P3, load from S, fetch P1, where
    # the loop goes on and, but for the last time, back to P1.
    turns = 1000
    check(
        recording,
        "call",
        lines={
            # After the return P3 and S lie in between, before P3 S and P1.
            "fetch": {0: 1 + turns - 1, COLD: 3, 2: turns + turns - 1},
            "store": {COLD: 1, 1: turns - 1},
            "load": {1: turns},
        },
        # P again at once: P0, P1 at the start of each turn, and the last line, P2.
        pages={
            "fetch": {0: 1 + turns + 1, 1: 2 * turns},
            "store": {COLD: 1, 1: turns - 1},
            "load": {1: turns},
        },
    )


def test_cyclic(recording: Recording) -> None:
    # A round loads each line once, with P1 fetched before each; P2 ends the round.
    lines, rounds = 4096, 5
    pages = lines // LINES_IN_PAGE
    check(
        recording,
        "cyclic",
        lines={
            # P1: after a data line; at the start of a later round, after the last data line and P2.
            # P2: after all data lines and P1.
            "fetch": {
                0: 1,
                COLD: 2 + 1,
                1: rounds * (lines - 1),
                2: rounds - 1,
                lines + 1: rounds - 1,
            },
            # All other data lines, P1 and P2.
            "load": {COLD: lines, lines + 1: (rounds - 1) * lines},
        },
        pages={
            # P again without data in between: P1 after P0 or P2, and the last line after P2.
            "fetch": {0: 1 + 1 + (rounds - 1) + 1, 1: rounds * (lines - 1) + rounds},
            # Within a page P only; at its first line all other pages and P.
            "load": {
                COLD: pages,
                1: rounds * (lines - pages),
                pages: (rounds - 1) * pages,
            },
        },
    )


def test_permutation(recording: Recording) -> None:
    # Every line once a round, in one random order: at its next turn all others lie in between.
    rounds = 3
    turns = rounds * CHAIN_LINES
    pages = _pages_of_chain(rounds)
    check(
        recording,
        "permutation",
        lines={
            "fetch": {0: 1, COLD: 1 + 1, 1: turns - 1},
            "load": {COLD: CHAIN_LINES, CHAIN_LINES: turns - CHAIN_LINES},
        },
        pages={"fetch": {0: 1 + 1, 1: turns}, "load": pages},
    )


def _pages_of_chain(rounds: int) -> Distances:
    """Distances of the loads' pages: those of the chain's pages by the book, and P."""
    successor, line, stack = _chain(), 0, lru.Stack()
    distances: Counter[int | None] = Counter()
    for _ in range(rounds * CHAIN_LINES):
        distance = stack.distance(line // LINES_IN_PAGE)
        distances[None if distance is None else distance + 1] += 1
        line = successor[line]
    return distances


@pytest.mark.parametrize("what", ["load", "store", "vector"])
def test_line_and_page_crossing(recording: Recording, what: str) -> None:
    # Turn i accesses bytes of the lines i and i + 1. Line i was accessed in the turn before,
    # with only P1 since; line i + 1 is new.
    turns = 1024
    pages = turns // LINES_IN_PAGE
    access = "store" if what == "store" else "load"
    check(
        recording,
        f"crossing_{what}",
        lines={
            "fetch": {0: 1, COLD: 1 + 1, 2: turns - 1},
            access: {COLD: turns + 1, 1: turns - 1},
        },
        # Every 64th turn accesses the next page too, a new one, so that two data pages lie
        # before the fetch that follows: of P1, after the last turn of P2.
        pages={
            "fetch": {0: 1 + 1, 1: turns - pages, 2: pages},
            access: {COLD: 1 + pages, 1: turns - 1},
        },
    )


@pytest.mark.parametrize(
    "kernel",
    ["add_memory", "lock_add", "lock_xadd", "exchange", "lock_cmpxchg", "lock_cmpxchg16b"],
)
def test_read_modify_write_is_a_load_and_a_store(recording: Recording, kernel: str) -> None:
    # A new line each turn; its store follows its load.
    turns = 1024
    pages = turns // LINES_IN_PAGE
    check(
        recording,
        kernel,
        lines={
            "fetch": {0: 1, COLD: 1 + 1, 1: turns - 1},
            "load": {COLD: turns},
            "store": {0: turns},
        },
        pages={
            "fetch": {0: 1 + 1, 1: turns},
            "load": {COLD: pages, 1: turns - pages},
            "store": {0: turns},
        },
    )


def test_rep_movs(recording: Recording) -> None:
    # Each word is a load and a store, and one more pass finds the count at 0. A pass fetches P2.
    words, lines, pages = 1024, 1024 // 8, 2
    check(
        recording,
        "rep_movs",
        lines={
            # P0, P1, P2 and P3, the last line; P2 after the load's and the store's line, but
            # after the last pass again at once: what follows the loop is in it.
            "fetch": {0: 1 + 1, COLD: 3, 2: words},
            # P2 and the other array's line.
            "load": {COLD: lines, 2: words - lines},
            "store": {COLD: lines, 2: words - lines},
        },
        pages={
            # P0, P1 and the first P2; after the last pass what follows in P2, and P3.
            "fetch": {0: 3 + 2, 2: words},
            "load": {COLD: pages, 2: words - pages},
            "store": {COLD: pages, 2: words - pages},
        },
    )


@pytest.mark.parametrize("access", ["load", "store"])
def test_guarded_lanes_that_are_let_through(recording: Recording, access: str) -> None:
    # Lanes 0 and 1, both in one line, new each turn; the lanes masked out, which would be in
    # the next line and page, make no access.
    turns = 1024
    pages = turns // LINES_IN_PAGE
    check(
        recording,
        f"masked_{access}",
        lines={
            "fetch": {0: 1, COLD: 1 + 1, 1: turns - 1},
            access: {COLD: turns, 0: turns},
        },
        pages={
            "fetch": {0: 1 + 1, 1: turns},
            access: {COLD: pages, 1: turns - pages, 0: turns},
        },
    )


def test_guarded_lanes_in_two_lines(recording: Recording) -> None:
    # Lanes 0 and 7: as an access that crosses, but from lane to lane.
    turns = 1024
    pages = turns // LINES_IN_PAGE
    check(
        recording,
        "masked_load_over",
        lines={
            "fetch": {0: 1, COLD: 1 + 1, 2: turns - 1},
            "load": {COLD: turns + 1, 1: turns - 1},
        },
        # Two accesses a turn, to one page except at its last line.
        pages={
            "fetch": {0: 1 + 1, 1: turns - pages, 2: pages},
            "load": {COLD: 1 + pages, 1: turns - 1, 0: turns - pages},
        },
    )


def test_guarded_lanes_none(recording: Recording) -> None:
    turns = 1024
    check(
        recording,
        "masked_nothing",
        lines={"fetch": {0: 1 + turns - 1, COLD: 1 + 1}},
        pages={"fetch": {0: 1 + turns + 1}},
    )


def test_kernel_accesses(recording: Recording) -> None:
    # read() fills 1,024 lines, write() reads them in the same order; both are called in P1,
    # which is fetched before, between and after them.
    lines = 1024
    pages = lines // LINES_IN_PAGE
    check(
        recording,
        "transfer",
        lines={
            "fetch": {0: 1, COLD: 1 + 1, lines: 2},
            "kernel_write": {COLD: lines},
            "kernel_read": {lines: lines},
        },
        # One access to each page: the kernel's is one access of 64 KiB.
        pages={
            "fetch": {0: 1 + 1 + 1, pages: 2},
            "kernel_write": {COLD: pages},
            "kernel_read": {pages: pages},
        },
    )
    calls = recording.table("syscalls").to_pylist()
    (phase,) = recording.select_phases("transfer")
    made = [c for c in calls if c["phase"] == phase.index]
    assert [(c["name"], c["result"]) for c in made] == [("read", 65536), ("write", 65536)]
    assert [c["kernel_write_bytes"] for c in made] == [65536, 0]
    assert [c["kernel_read_bytes"] for c in made] == [0, 65536]
    assert made[0]["caller"].endswith("/kernels")


def test_traps(recording: Recording) -> None:
    (phase,) = recording.select_phases("traps")
    rows = recording.table("traps").to_pylist()
    found = {
        (r["kind"], r["leaf"], r["subleaf"]): r["count"] for r in rows if r["phase"] == phase.index
    }
    assert found == {("cpuid", 4, 2): 3, ("rdtsc", None, None): 3, ("rdtscp", None, None): 6}
    turns = 3
    check(
        recording,
        "traps",
        lines={"fetch": {0: 1 + turns - 1, COLD: 1 + 1}},
        pages={"fetch": {0: 1 + turns + 1}},
    )


def test_footprints(recording: Recording) -> None:
    def blocks(phase: str, granularity: str, access: str = "any") -> int:
        (found,) = recording.select_phases(phase)
        return recording.footprint_blocks(granularity, found.index, access=access)

    assert blocks("cyclic", "line") == 4096 + 4
    assert blocks("cyclic", "page") == 64 + 1
    assert blocks("cyclic", "line", "fetch") == 4
    assert blocks("crossing_store", "line", "store") == 1025
    assert blocks("transfer", "page", "kernel_read") == 16
    assert blocks("transfer", "page", "load") == 0
