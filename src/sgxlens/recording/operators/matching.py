# SPDX-License-Identifier: Apache-2.0
"""Finds the events of an ONNX Runtime profile among the clock reads of the recorded process.

ONNX Runtime reads its clock when an event starts and when it ends, and keeps two numbers: from the
profiling's start to the event's start, and from there to its end, in whole microseconds (the rest
is cut off, towards zero). Under the tracer each read is a system call, whose value in nanoseconds
and whose position among the accesses are known. So an event is placed by the reads of its thread
that give exactly these two numbers.

Where several reads do, because they fall into the same microsecond, what remains is decided by two
facts: no read serves two events, and the events of one thread lie beside or within each other.
Choices that contradict them are dropped until nothing changes (arc consistency), which never drops
the true one. An event with more than one choice left is not placed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sgxlens.recording.operators.profile import Profile

Numbers = npt.NDArray[np.int64]
_Pair = tuple[int, int]

# More profiling starts that fit than these, and the profile tells next to nothing.
_START_COUNT_MAX = 64
# An event with more choices than these, or that shares one with more events, is in doubt without
# further search. A system call takes some 300 ns: no more than a few fall into a microsecond.
_PAIR_COUNT_MAX = 64
_CLAIM_COUNT_MAX = 16
# 146 years: see the limit of a profile's times.
_CLOCK_NS_MAX = 2**62


class Outcome(IntEnum):
    """Whether an event was placed, or why not."""

    PLACED = 0
    NO_READ = 1
    AMBIGUOUS = 2
    CONTRADICTORY = 3


@dataclass(frozen=True)
class Reads:
    """The reads of one clock in one process, in the order in which they were made."""

    values_ns: Numbers
    positions: Numbers
    threads: Numbers

    @classmethod
    def of_clocks(cls, clocks: Mapping[str, Any]) -> list[Reads]:
        """The reads in the columns of the table `clocks`, each clock for itself."""
        columns = {
            name: np.asarray(clocks[name]).astype(np.int64)
            for name in ("clock", "seconds", "nanoseconds", "position", "thread")
        }
        sane = (np.abs(columns["seconds"]) < _CLOCK_NS_MAX // 10**9) & (
            np.abs(columns["nanoseconds"]) < 10**9
        )
        values = np.where(sane, columns["seconds"] * 10**9 + columns["nanoseconds"], 0)
        result = []
        for clock in np.unique(columns["clock"][sane]):
            is_of = sane & (columns["clock"] == clock)
            result.append(cls(values[is_of], columns["position"][is_of], columns["thread"][is_of]))
        return result


@dataclass(frozen=True)
class Placement:
    """Where the events of a profile are; the arrays have one item for each event.

    `starts` and `ends` are positions, `threads` the recording's numbers; all are -1 for an event
    whose `outcomes` is not ``Outcome.PLACED``.
    """

    outcomes: npt.NDArray[np.int8]
    starts: Numbers
    ends: Numbers
    threads: Numbers

    def count(self, outcome: Outcome) -> int:
        """How many events have this outcome."""
        return int(np.count_nonzero(self.outcomes == outcome))


def match(profile: Profile, clocks: Mapping[str, Any], threads: Mapping[str, Any]) -> Placement:
    """Place the events of `profile` in a process.

    Args:
        profile: its start may be unknown: then it must be one of the clock reads.
        clocks: the analysis's clock reads, in the order in which they were made.
        threads: the analysis's threads.
    """
    starts_us = np.array([event.start_us for event in profile.events], dtype=np.int64)
    durations_us = np.array([event.duration_us for event in profile.events], dtype=np.int64)
    thread_ids = np.array([event.thread_id for event in profile.events], dtype=np.int64)
    placements: list[Placement] = []
    for reads in Reads.of_clocks(clocks):
        groups = []
        for thread_id in np.unique(thread_ids):
            own = np.flatnonzero(_is_of_thread(reads, threads, int(thread_id)))
            members = np.flatnonzero(thread_ids == thread_id)
            groups.append(_Group(reads, own, members, starts_us[members], durations_us[members]))
        if profile.start_ns is not None:
            candidates = np.array([profile.start_ns], dtype=np.int64)
        else:
            candidates = _possible_starts(reads, groups)
        if len(candidates) > _START_COUNT_MAX:
            return _nowhere(len(profile.events), Outcome.AMBIGUOUS)
        placements += [
            _place(reads, groups, len(profile.events), int(start_ns)) for start_ns in candidates
        ]
    return _agreed(placements, len(profile.events))


def _is_of_thread(
    reads: Reads, threads: Mapping[str, Any], thread_id: int
) -> npt.NDArray[np.bool_]:
    """Which reads the kernel's thread `thread_id` made; numbers of threads that ended return."""
    is_of = np.zeros(len(reads.threads), dtype=bool)
    for row in np.flatnonzero(np.asarray(threads["kernel_tid"]) == thread_id):
        within = reads.positions >= int(threads["start_position"][row])
        if threads["ended"][row]:
            within &= reads.positions <= int(threads["end_position"][row])
        is_of |= within & (reads.threads == int(threads["thread"][row]))
    return is_of


class _Group:
    """The events of one thread, and the reads of that thread sorted by value."""

    def __init__(
        self,
        reads: Reads,
        own: npt.NDArray[np.intp],
        members: npt.NDArray[np.intp],
        starts_us: Numbers,
        durations_us: Numbers,
    ) -> None:
        values = reads.values_ns[own]
        by_value = np.argsort(values, kind="stable")
        self.own = own
        self.values = values[by_value]
        self.order = by_value.astype(np.int64)  # rank by value -> rank in time
        self.members = members
        self.starts_us = starts_us
        self.durations_us = durations_us

    def window(self, from_ns: Numbers, microseconds: Numbers) -> tuple[Numbers, Numbers]:
        """The reads, by rank of their values, that are these whole microseconds after `from_ns`."""
        middle = from_ns + microseconds * 1000
        low = np.searchsorted(self.values, middle - 999 * (microseconds <= 0), side="left")
        high = np.searchsorted(self.values, middle + 999 * (microseconds >= 0), side="right")
        return low.astype(np.int64), high.astype(np.int64)


def _possible_starts(reads: Reads, groups: Sequence[_Group]) -> Numbers:
    """The clock reads from which on every event starts at a read of its thread."""
    possible = np.unique(reads.values_ns)
    for group in groups:
        for start_us in group.starts_us:
            low, high = group.window(possible, start_us)
            possible = possible[high > low]
            if len(possible) <= 1:
                return possible
    return possible


def _nowhere(count: int, outcome: Outcome) -> Placement:
    nowhere = np.full(count, -1, dtype=np.int64)
    return Placement(np.full(count, outcome, dtype=np.int8), nowhere, nowhere, nowhere)


def _agreed(placements: Sequence[Placement], count: int) -> Placement:
    """The best of several placements, less what others that are as good place elsewhere."""
    if not placements:
        return _nowhere(count, Outcome.NO_READ)
    # A start that leaves an event without a read is not the start.
    missing = [p.count(Outcome.NO_READ) + p.count(Outcome.CONTRADICTORY) for p in placements]
    best = [p for p, m in zip(placements, missing, strict=True) if m == min(missing)]
    first = best[0]
    outcomes = first.outcomes.copy()
    for other in best[1:]:
        differs = (
            (other.outcomes != first.outcomes)
            | (other.starts != first.starts)
            | (other.ends != first.ends)
        )
        outcomes[differs] = Outcome.AMBIGUOUS
    is_placed = outcomes == Outcome.PLACED
    return Placement(
        outcomes,
        np.where(is_placed, first.starts, -1),
        np.where(is_placed, first.ends, -1),
        np.where(is_placed, first.threads, -1),
    )


def _place(reads: Reads, groups: Sequence[_Group], count: int, start_ns: int) -> Placement:
    outcomes = np.full(count, Outcome.NO_READ, dtype=np.int8)
    starts, ends, threads = (np.full(count, -1, dtype=np.int64) for _ in range(3))
    for group in groups:
        domains, group_outcomes = _domains(group, start_ns)
        _make_consistent(domains, group_outcomes)
        _refuse_crossing(domains, group_outcomes)
        outcomes[group.members] = group_outcomes
        positions = reads.positions[group.own]
        placed: list[tuple[int, int, int]] = []
        for event, pairs in enumerate(domains):
            if group_outcomes[event] != Outcome.PLACED:
                continue
            if len(pairs) > 1 and len({(positions[a], positions[b]) for a, b in pairs}) > 1:
                outcomes[group.members[event]] = Outcome.AMBIGUOUS
            else:
                placed.append((event, *pairs[0]))
        events, first, last = np.array(placed, dtype=np.int64).reshape(-1, 3).T
        members = group.members[events]
        starts[members] = positions[first]
        ends[members] = positions[last]
        threads[members] = reads.threads[group.own[first]]
    return Placement(outcomes, starts, ends, threads)


def _domains(group: _Group, start_ns: int) -> tuple[list[list[_Pair]], npt.NDArray[np.int8]]:
    """For each event the pairs of reads (ranks in time) that give its numbers."""
    low, high = group.window(np.full(len(group.members), start_ns), group.starts_us)
    # One for each event and possible start: nearly always one for each event.
    sizes = np.minimum(high - low, _PAIR_COUNT_MAX + 1)
    events = np.repeat(np.arange(len(sizes)), sizes)
    ranks = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + low[events]
    first, last = group.window(group.values[ranks], group.durations_us[events])
    domains: list[list[_Pair]] = [[] for _ in sizes]
    for event, rank, left, right in zip(
        events.tolist(), ranks.tolist(), first.tolist(), last.tolist(), strict=True
    ):
        start = int(group.order[rank])
        ends = group.order[left : min(right, left + _PAIR_COUNT_MAX + 2)].tolist()
        domains[event] += [(start, end) for end in ends if end > start]
    outcomes = np.full(len(sizes), Outcome.PLACED, dtype=np.int8)
    crowded = {r for r, claims in _claims(domains).items() if len(claims) > _CLAIM_COUNT_MAX}
    for event, pairs in enumerate(domains):
        if not pairs:
            outcomes[event] = Outcome.NO_READ
        elif len(pairs) > _PAIR_COUNT_MAX or (
            crowded and any(not crowded.isdisjoint(pair) for pair in pairs)
        ):
            outcomes[event] = Outcome.AMBIGUOUS
            domains[event] = []
    return domains, outcomes


def _claims(domains: Sequence[Sequence[_Pair]]) -> dict[int, list[int]]:
    """The events that each read may serve."""
    claims: dict[int, list[int]] = {}
    for event, pairs in enumerate(domains):
        reads = pairs[0] if len(pairs) == 1 else {read for pair in pairs for read in pair}
        for read in reads:
            claims.setdefault(read, []).append(event)
    return claims


def _fit(one: _Pair, other: _Pair) -> bool:
    """Whether two events can have these reads: beside or within each other, none shared."""
    (a, b), (c, d) = one, other
    return b < c or d < a or a < c < d < b or c < a < b < d


def _make_consistent(domains: list[list[_Pair]], outcomes: npt.NDArray[np.int8]) -> None:
    """Drop the pairs that fit no pair of some other event, in place."""
    claims = _claims(domains)
    in_doubt = {event for event, pairs in enumerate(domains) if len(pairs) > 1}
    in_doubt.update(event for events in claims.values() if len(events) > 1 for event in events)
    todo = deque(sorted(in_doubt))
    waiting = set(todo)
    while todo:
        event = todo.popleft()
        waiting.discard(event)
        pairs = domains[event]
        neighbours = _neighbours(event, pairs, claims)
        kept = [
            pair
            for pair in pairs
            if all(any(_fit(pair, other) for other in domains[n]) for n in neighbours)
        ]
        if not kept:
            outcomes[event] = Outcome.CONTRADICTORY
            for other in neighbours:
                if not all(any(_fit(pair, choice) for choice in domains[other]) for pair in pairs):
                    outcomes[other] = Outcome.CONTRADICTORY
        elif len(kept) < len(pairs):
            domains[event] = kept
            todo += [n for n in neighbours if n not in waiting]
            waiting |= neighbours


def _refuse_crossing(domains: Sequence[Sequence[_Pair]], outcomes: npt.NDArray[np.int8]) -> None:
    """Mark placed events that neither lie beside nor within each other."""
    placed = [
        (pairs[0], event)
        for event, pairs in enumerate(domains)
        if outcomes[event] == Outcome.PLACED and len(pairs) == 1
    ]
    around: list[tuple[_Pair, int]] = []
    for pair, event in sorted(placed):
        while around and around[-1][0][1] < pair[0]:
            around.pop()
        if around and not _fit(around[-1][0], pair):
            outcomes[around[-1][1]] = outcomes[event] = Outcome.CONTRADICTORY
        around.append((pair, event))


def _neighbours(
    event: int, pairs: Sequence[_Pair], claims: Mapping[int, Sequence[int]]
) -> set[int]:
    """The events that some pairs of `event` fit and others may not.

    Those have a read among or between the starts that `event` may have, or the ends: where any
    other event lies is the same for all pairs.
    """
    found: set[int] = set()
    for side in (0, 1):
        ends = [pair[side] for pair in pairs]
        for read in range(min(ends), max(ends) + 1):
            found.update(claims.get(read, ()))
    found.discard(event)
    return found
