# SPDX-License-Identifier: Apache-2.0
"""Pages that a phase loads into the EPC, by operator and role of memory.

The simulation (`sgxlens.enclave.epc`) runs from the start of the process, so that a phase finds the
EPC as the phases before have left it. It is of one process, that of the phase: each process has an
enclave of its own, and others that run at the same time are left out.

Of the EPC, the following is never free for the program's pages, of each enclave:

- the SECS, one page;
- version arrays, one page for every 512 pages of the enclave and its SECS
  (torvalds/linux@1260ed7:arch/x86/kernel/cpu/sgx/ioctl.c, sgx_encl_grow(), and alike
  intel/linux-sgx-driver@dd4db1f:sgx_encl.c);
- what the runtime itself uses all the time, as the caller says.

All pages of an enclave are added when it is built. If they fit the EPC, nothing is ever loaded. If
not, those not accessed for longest have left by the time the program runs: the first access to a
page loads it. Where memory is added only when it is accessed (EDMM), the first loads are no loads;
they are counted on their own.

An inference that follows another one still loads pages that the one before did not use: memory that
grows as a runtime records what it does, a path that an interpreter takes once. Few inferences are
recorded, of many that will be made; such loads are counted on their own, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from sgxlens.attribution.facts import NO_OPERATOR, facts_of
from sgxlens.enclave.epc import EPC_POLICIES, EpcPolicy, Reclaimer
from sgxlens.enclave.phase_visits import LoadCounts, phase_visits
from sgxlens.errors import UsageError
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sgxlens.enclave.epc import EpcRun
    from sgxlens.enclave.phase_visits import PhaseVisits, Simulation
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording

#: A version array has 512 slots of 8 bytes, one for each page that may be evicted.
_PAGES_PER_VERSION_ARRAY = 512
_SECS_PAGE_COUNT = 1
#: Sizes of a curve where none are given: up to what the phase uses, and from there on to where
#: everything fits.
_NEAR_SIZE_COUNT, _FAR_SIZE_COUNT = 30, 9


#: Before its first access a page was never used. Else it was used in this phase or, in an inference
#: that follows another, in the one before; or it is seldom used, earlier than that.
LoadKind = Literal["again", "first", "seldom"]
_KINDS: tuple[LoadKind, ...] = get_args(LoadKind)


@dataclass(frozen=True)
class LoadKey:
    """What loads are summed by; `order` is the operator's place in the phase."""

    kind: LoadKind
    order: int
    operator: int | None
    role: str


def fitting_page_count(added_page_count: int, policy: EpcPolicy, replicas: int = 1) -> int:
    """Pages of the smallest EPC that holds all enclaves, with so many pages added to each."""
    kept_free = Reclaimer().low_page_count if policy in ("linux", "out_of_tree") else 0
    return replicas * (_metadata_page_count(added_page_count) + added_page_count) + kept_free


def _metadata_page_count(added_page_count: int) -> int:
    """Pages of the EPC that an enclave takes beside those added to it."""
    slots = _SECS_PAGE_COUNT + added_page_count
    return _SECS_PAGE_COUNT + -(-slots // _PAGES_PER_VERSION_ARRAY)


class PagedPhase:
    """One phase and the enclaves that it runs in."""

    def __init__(
        self,
        phase: PhaseVisits,
        policy: EpcPolicy,
        *,
        fixed_page_count: int,
        committed_page_count: int | None,
        replicas: int,
    ) -> None:
        self.facts = phase.facts
        self.policy = policy
        self._phase = phase
        self._process = phase.process
        self._replicas = replicas
        used = self._process.pages.size + fixed_page_count
        self._added_page_count = added = max(used, committed_page_count or 0)
        self.reserved_page_count = replicas * (_metadata_page_count(added) + fixed_page_count)
        #: Pages of the smallest EPC into which all pages of the enclaves go.
        self.fitting_page_count = fitting_page_count(added, policy, replicas)

    def default_sizes(self, likely_bytes: int) -> list[int]:
        """40 sizes of EPC, in bytes, from the smallest there can be; `likely_bytes` is one of them.

        Ascending; fewer where some are the same or `likely_bytes` is too small.
        """
        least = self.reserved_page_count + self._least_capacity
        most = max(self.fitting_page_count, least)
        near = self.reserved_page_count + int(self._replicas * self.facts.pages.size * 1.2)
        near = min(max(near, least), most)
        pages = np.concatenate(
            [
                np.linspace(least, near, _NEAR_SIZE_COUNT),
                np.geomspace(near, most, _FAR_SIZE_COUNT + 1)[1:],
                [likely_bytes // PAGE_BYTES],
            ]
        )
        sizes = np.unique(np.rint(pages).astype(np.int64)) * PAGE_BYTES
        return [int(size) for size in sizes if size >= least * PAGE_BYTES]

    @property
    def _least_capacity(self) -> int:
        return self._process.capacity_min(self.policy, self._replicas)

    def _capacity(self, epc_bytes: int) -> int | None:
        """Pages that the program can have at once; None: it can have all of its pages."""
        pages = epc_bytes // PAGE_BYTES
        if pages >= self.fitting_page_count:
            return None
        capacity = pages - self.reserved_page_count
        if capacity < self._least_capacity:
            needed = (self.reserved_page_count + self._least_capacity) * PAGE_BYTES
            enclaves = "an enclave" if self._replicas == 1 else f"{self._replicas} enclaves"
            size = format_bytes(self._added_page_count * PAGE_BYTES)
            raise UsageError(
                f"an EPC of {format_bytes(epc_bytes)} is too small for {enclaves} of {size}:"
                f" {format_bytes(self.reserved_page_count * PAGE_BYTES)} of it are taken by SECS,"
                f" version arrays and the runtime, and it takes {format_bytes(needed)} in all; give"
                " a larger EPC, or smaller or fewer enclaves"
            )
        return capacity

    def simulations(self, sizes: Iterable[int]) -> dict[int, Simulation]:
        """What tells the loads with EPCs of these sizes in bytes; none where everything fits."""
        capacities = {size: self._capacity(size) for size in sizes}
        return {
            size: self._phase.simulation(self.policy, capacity, self._replicas)
            for size, capacity in capacities.items()
            if capacity is not None
        }

    def _load_counts(self, sizes: Sequence[int]) -> list[LoadCounts]:
        """Pages loaded in the phase with EPCs of these sizes in bytes."""
        simulations = self.simulations(sizes)
        different = sorted(set(simulations.values()))
        counts = dict(zip(different, self._phase.load_counts(different), strict=True))
        none = LoadCounts(0, 0)
        return [counts[simulations[size]] if size in simulations else none for size in sizes]

    def simulated_ahead(
        self, sweeps: Iterable[Iterable[Simulation]]
    ) -> AbstractContextManager[None]:
        """Makes `simulations` beside what is done meanwhile, as `PhaseVisits.simulated_ahead`."""
        return self._phase.simulated_ahead([sorted(set(sweep)) for sweep in sweeps])

    def standing_counts(self, sizes: Sequence[int], *, first: bool, is_repeated: bool) -> list[int]:
        """Pages loaded in the phase, of loads that it stands for.

        Args:
            sizes: sizes of the EPC in bytes.
            first: whether first loads count.
            is_repeated: whether the phase is repeated for ever: then pages seldom used do not count
                if no other is loaded.
        """
        new = 0 if first else self._replicas * self._phase.new_page_count
        counts = []
        for count in self._load_counts(sizes):
            is_again = count.used_before > 0 or self._phase.repeats is None
            counts.append(max(count.all - new, 0) if is_again or not is_repeated else 0)
        return counts

    def loads(self, sizes: Sequence[int]) -> list[Mapping[LoadKey, int]]:
        """Pages loaded in the phase with EPCs of these sizes in bytes."""
        simulations, known = self.simulations(sizes), self._phase.loads
        missing = [one for one in dict.fromkeys(simulations.values()) if one not in known]
        if missing:
            known |= zip(missing, self._by_key(self._process.runs(missing)), strict=True)
        return [known[simulations[size]] if size in simulations else {} for size in sizes]

    def _kinds(self, run: EpcRun) -> tuple[Integers, Integers, Integers]:
        """Of each page loaded in the phase: the visit, the index of the page, and of its kind."""
        process = self._process
        # Loads come in the order of visits.
        low, high = np.searchsorted(run.loads.visit, self._phase.bounds)
        visit, page = (a[low:high].astype(np.int64) for a in (run.loads.visit, run.loads.page))
        here = process.phase[visit] == self.facts.phase.index
        visit, page = visit[here], page[here]
        # Nothing but the start of a page's first visit loads it for the first time.
        is_first = process.first_visit[page] == visit
        kind = np.where(is_first, _KINDS.index("first"), _KINDS.index("again"))
        if self._phase.repeats is not None:
            kind[~is_first & ~self._phase.was_used[page]] = _KINDS.index("seldom")
        return visit, page, kind

    def _by_key(self, runs: Sequence[EpcRun]) -> list[dict[LoadKey, int]]:
        facts = self.facts
        loaded = [self._kinds(run) for run in runs]
        # Most loads are of all runs: roles are found for all of them at once.
        visit, page, kind = (np.concatenate(columns) for columns in zip(*loaded, strict=True))
        context = self._phase.context_index(visit)
        operator = facts.contexts.operator[context]
        role = self._phase.roles(context, page)
        names, _ = facts.roles
        key = (kind * (len(facts.operators) + 1) + operator + 1) * len(names) + role
        ends = np.cumsum([visit.size for visit, _, _ in loaded])[:-1]
        return [self._counts(keys) for keys in np.split(key, ends)]

    def _counts(self, keys: Integers) -> dict[LoadKey, int]:
        facts = self.facts
        names, _ = facts.roles
        found, counts = np.unique(keys, return_counts=True)
        result = {}
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            rest, role_index = divmod(value, len(names))
            kind_index, place = divmod(rest, len(facts.operators) + 1)
            index = place - 1
            number = None if index == NO_OPERATOR else facts.operators[index].number
            result[LoadKey(_KINDS[kind_index], index, number, names[role_index])] = count
        return result


def paged_phase(
    recording: Recording,
    phase: Phase | int | str,
    policy: EpcPolicy,
    *,
    fixed_page_count: int,
    committed_page_count: int | None,
    replicas: int,
) -> PagedPhase:
    """A phase in enclaves; the arguments are those of `sgxlens.enclave.paging.paging_charges`.

    Raises:
        UsageError: there is no such phase or policy, or there are no enclaves.
        RecordingError: the recording has no page visits, or is damaged.
    """
    if replicas < 1:
        raise UsageError(f"{replicas} replicas make no sense: give at least 1")
    if policy not in EPC_POLICIES:
        raise UsageError(f"no policy {policy!r}: there is {', '.join(EPC_POLICIES)}")
    facts = facts_of(recording, phase)
    return PagedPhase(
        phase_visits(recording, facts),
        policy,
        fixed_page_count=fixed_page_count,
        committed_page_count=committed_page_count,
        replicas=replicas,
    )
