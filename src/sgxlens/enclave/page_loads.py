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
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args
from weakref import WeakKeyDictionary

import numpy as np

from sgxlens._native import NativeEpcVisitsError
from sgxlens.attribution.facts import NO_OPERATOR, facts_of
from sgxlens.enclave.epc import EPC_POLICIES, EpcPolicy, EpcSimulation, Reclaimer
from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.bitmaps import popcount
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.recording.phase_names import is_inference, is_warm_up
from sgxlens.recording.region_map import NO_REGION
from sgxlens.reuse.page_visits import PageVisits
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.enclave.epc import Counts, EpcRun
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
#: Simulations with all events that are kept: of the least, likely and most EPC of a platform.
_RUNS_MAX = 3
#: Policy, capacity, replicas, and for ``pinned`` the visits that are counted.
_SimulationKey: TypeAlias = "tuple[EpcPolicy, int, int, tuple[int, int] | None]"


@dataclass(frozen=True)
class LoadKey:
    """What loads are summed by; `order` is the operator's place in the phase."""

    kind: LoadKind
    order: int
    operator: int | None
    role: str


class _Visits:
    """The page visits of a process, simulated by phase."""

    def __init__(self, recording: Recording, facts: PhaseFacts, filter_page_count: int) -> None:
        visits = PageVisits.from_table(
            recording.table("page_visits"), filter_page_count, facts.phase.process
        )
        self.context = facts.column("page_visits", "context")
        self.phase = facts.phases_of(self.context).astype(np.uint32)
        try:
            self.simulation = EpcSimulation(visits, self.phase)
        except NativeEpcVisitsError as error:
            raise facts.corrupted("page_visits", str(error)) from error
        self.page = visits.page
        pages = self.simulation.pages
        #: By index of the page, the number of its first visit.
        order = np.argsort(pages)
        self.first_visit = np.empty(pages.size, dtype=np.int64)
        self.first_visit[order] = np.unique(visits.page, return_index=True)[1]
        self._counts: dict[_SimulationKey, Counts] = {}
        #: Of a phase that repeats another, whether pages that both use are loaded.
        self.has_again: dict[tuple[_SimulationKey, int], bool] = {}
        self._runs: dict[_SimulationKey, EpcRun] = {}

    def load_counts(
        self, policy: EpcPolicy, capacities: Sequence[int], replicas: int, counted: slice
    ) -> dict[int, Counts]:
        """Pages loaded by phase, by capacity in pages; what was simulated once is kept."""
        keys = {size: _simulation_key(policy, size, replicas, counted) for size in capacities}
        missing = [capacity for capacity, key in keys.items() if key not in self._counts]
        for run in self.simulation.sweep(policy, missing, replicas=replicas, counted=counted):
            self._counts[keys[run.capacity_pages]] = run.load_count
        return {capacity: self._counts[key] for capacity, key in keys.items()}

    def run(self, policy: EpcPolicy, capacity: int, replicas: int, counted: slice) -> EpcRun:
        """A simulation with its events; of the last few, which phases share, they are kept."""
        key = _simulation_key(policy, capacity, replicas, counted)
        if key not in self._runs:
            if len(self._runs) >= _RUNS_MAX:
                del self._runs[next(iter(self._runs))]
            self._runs[key] = self.simulation.run(
                policy, capacity, replicas=replicas, counted=counted, keep_events=True
            )
        return self._runs[key]


def _simulation_key(
    policy: EpcPolicy, capacity: int, replicas: int, counted: slice
) -> _SimulationKey:
    matters = (counted.start, counted.stop) if policy == "pinned" else None
    return policy, capacity, replicas, matters


_cache: WeakKeyDictionary[Recording, dict[int, _Visits]] = WeakKeyDictionary()


def _visits_of(recording: Recording, facts: PhaseFacts) -> _Visits:
    filter_page_count = recording.metadata.settings.visit_page_count
    if filter_page_count is None:
        raise _no_visits(recording)
    kept = _cache.setdefault(recording, {})
    process = facts.phase.process
    if process not in kept:
        kept[process] = _Visits(recording, facts, filter_page_count)
    return kept[process]


def _no_visits(recording: Recording) -> RecordingError:
    return RecordingError(
        f"{recording.path} has no page visits, from which paging is told: record it again with this"
        " version of sgxlens, and without sampling"
    )


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
        facts: PhaseFacts,
        repeats: PhaseFacts | None,
        visits: _Visits,
        policy: EpcPolicy,
        *,
        fixed_page_count: int,
        committed_page_count: int | None,
        replicas: int,
    ) -> None:
        self.facts = facts
        #: The inference or warm-up just before, where the phase is an inference; None: it is not.
        self.repeats = repeats
        self.policy = policy
        self._visits = visits
        self._replicas = replicas
        self._seldom_visit_count = 0
        if repeats is not None:
            page = visits.page[visits.phase == facts.phase.index]
            self._seldom_visit_count = int((~np.isin(page, repeats.pages)).sum())
        used = visits.simulation.pages.size + fixed_page_count
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
        return self._visits.simulation.capacity_min(self.policy, self._replicas)

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

    def _counted(self) -> slice:
        """The visits of the phase, for ``pinned``."""
        here = np.flatnonzero(self._visits.phase == self.facts.phase.index)
        return slice(int(here[0]), int(here[-1]) + 1) if here.size else slice(0, 0)

    def load_counts(self, sizes: Sequence[int]) -> list[int]:
        """Pages loaded in the phase with EPCs of these sizes in bytes."""
        capacities = [self._capacity(size) for size in sizes]
        simulated = sorted({capacity for capacity in capacities if capacity is not None})
        counts = self._visits.load_counts(self.policy, simulated, self._replicas, self._counted())
        index = self.facts.phase.index
        found: dict[int | None, int] = {None: 0}
        for capacity, count in counts.items():
            found[capacity] = int(count[index]) if index < count.size else 0
        return [found[capacity] for capacity in capacities]

    def standing_counts(self, sizes: Sequence[int], *, first: bool, is_repeated: bool) -> list[int]:
        """As `load_counts`, but of loads that the phase stands for.

        Args:
            sizes: sizes of the EPC in bytes.
            first: whether first loads count.
            is_repeated: whether the phase is repeated for ever: then pages seldom used do not count
                if no other is loaded.
        """
        here = self._visits.phase == self.facts.phase.index
        new = 0 if first else self._replicas * int(here[self._visits.first_visit].sum())
        counts = []
        for size, count in zip(sizes, self.load_counts(sizes), strict=True):
            rest = max(count - new, 0)
            counts.append(0 if rest and is_repeated and not self._loads_again(size, rest) else rest)
        return counts

    def _loads_again(self, epc_bytes: int, load_count: int) -> bool:
        """Whether some of so many loads are of pages used in the phase that this one repeats."""
        capacity = self._capacity(epc_bytes)
        if capacity is None or self.repeats is None:
            return capacity is not None
        # In a visit a page is loaded at its start, and again at most once.
        if load_count > 2 * self._replicas * self._seldom_visit_count:
            return True
        simulated = _simulation_key(self.policy, capacity, self._replicas, self._counted())
        key = (simulated, self.facts.phase.index)
        known = self._visits.has_again
        if key not in known:
            run = self._visits.simulation.run(
                self.policy,
                capacity,
                replicas=self._replicas,
                counted=self._counted(),
                keep_events=True,
            )
            known[key] = bool((self._kinds(run)[2] == _KINDS.index("again")).any())
        return known[key]

    def loads(self, epc_bytes: int) -> dict[LoadKey, int]:
        """Pages loaded in the phase with an EPC of this size."""
        capacity = self._capacity(epc_bytes)
        if capacity is None:
            return {}
        run = self._visits.run(self.policy, capacity, self._replicas, self._counted())
        return self._by_key(run)

    def _kinds(self, run: EpcRun) -> tuple[Integers, Integers, Integers]:
        """Of each page loaded in the phase: the visit, the index of the page, and of its kind."""
        visits, facts = self._visits, self.facts
        here = visits.phase[run.loads.visit] == facts.phase.index
        visit = run.loads.visit[here].astype(np.int64)
        page = run.loads.page[here].astype(np.int64)
        # Nothing but the start of a page's first visit loads it for the first time.
        is_first = visits.first_visit[page] == visit
        kind = np.where(is_first, _KINDS.index("first"), _KINDS.index("again"))
        if self.repeats is not None:
            was_used = np.isin(visits.simulation.pages[page], self.repeats.pages)
            kind[~is_first & ~was_used] = _KINDS.index("seldom")
        return visit, page, kind

    def _by_key(self, run: EpcRun) -> dict[LoadKey, int]:
        visits, facts = self._visits, self.facts
        visit, page, kind = self._kinds(run)
        context = np.searchsorted(facts.contexts.number, visits.context[visit])
        operator = facts.contexts.operator[context]
        role = self._roles(context, visits.simulation.pages[page])
        names, _ = facts.roles
        key = (kind * (len(facts.operators) + 1) + operator + 1) * len(names) + role
        found, counts = np.unique(key, return_counts=True)
        result = {}
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            rest, role_index = divmod(value, len(names))
            kind_index, place = divmod(rest, len(facts.operators) + 1)
            index = place - 1
            number = None if index == NO_OPERATOR else facts.operators[index].number
            result[LoadKey(_KINDS[kind_index], index, number, names[role_index])] = count
        return result

    def _roles(self, context: Integers, page: npt.NDArray[np.uint64]) -> Integers:
        """For each page, by its number, the role of most of the lines that its context uses of it.

        One that is loaded again in its visit may be used in other contexts only: all of the phase.
        """
        facts = self.facts
        index = np.minimum(np.searchsorted(facts.pages, page), max(facts.pages.size - 1, 0))
        uses, pieces = facts.uses, facts.use_pieces
        used, width = uses.page[pieces.use], max(facts.pages.size, 1)
        found = self._main_roles(uses.context[pieces.use] * width + used, context * width + index)
        in_phase = self._main_roles(used, index)
        role: Integers = np.where(found >= 0, found, in_phase)
        return np.where(role >= 0, role, facts.roles[1][NO_REGION])

    def _main_roles(self, key: Integers, wanted: Integers) -> Integers:
        """For each wanted key of pieces the role with most lines; -1: there is no such piece."""
        names, role_of = self.facts.roles
        pieces = self.facts.use_pieces
        keys, index = np.unique(key, return_inverse=True)
        by_role = index * len(names) + role_of[pieces.region]
        lines = np.bincount(by_role, popcount(pieces.lines), keys.size * len(names))
        if not keys.size:
            return np.full(wanted.size, -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
        main = lines.reshape(keys.size, len(names)).argmax(axis=1)
        return np.where(keys[at] == wanted, main[at], -1)


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
    if not recording.has_table("page_visits"):
        raise _no_visits(recording)
    facts = facts_of(recording, phase)
    before = _repeated_phase(recording, facts.phase)
    return PagedPhase(
        facts,
        None if before is None else facts_of(recording, before),
        _visits_of(recording, facts),
        policy,
        fixed_page_count=fixed_page_count,
        committed_page_count=committed_page_count,
        replicas=replicas,
    )


def _repeated_phase(recording: Recording, phase: Phase) -> Phase | None:
    """The inference or warm-up that came just before a phase that is an inference; None: none."""
    if not is_inference(phase.name):
        return None
    for other in recording.select_phases(None, phase.process):
        if other.index == phase.index - 1 and (is_inference(other.name) or is_warm_up(other.name)):
            return other
    return None
