# SPDX-License-Identifier: Apache-2.0
"""Pages that the EPC has no room for: how many are loaded again, by operator and role of memory.

The simulation (`sgxlens.enclave.epc`) runs from the start of the process, so that a phase finds the
EPC as the phases before have left it. It is of one process, that of the phase: each process has an
enclave of its own, and others that run at the same time are left out.

Of the EPC, the following is never free for the program's pages, of each enclave:

- the SECS, one page;
- version arrays, one page for every 512 pages added to the enclave (torvalds/linux@019bc1f:
  arch/x86/kernel/cpu/sgx/ioctl.c, sgx_encl_grow(); intel/linux-sgx-driver@fc0cb15 alike);
- what the runtime itself uses all the time, as the caller says.

All pages of an enclave are added when it is built. If they fit the EPC, nothing is ever loaded. If
not, those not accessed for longest have left by the time the program runs: the first access to a
page loads it. Where memory is added only when it is accessed (EDMM), the first loads are no loads;
they are counted on their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from sgxlens._native import NativeEpcVisitsError
from sgxlens.attribution.facts import NO_OPERATOR, facts_of
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.epc import EPC_POLICIES, EpcPolicy, EpcSimulation, Reclaimer
from sgxlens.enclave.platform import PAGE_BYTES
from sgxlens.enclave.quantities import Range
from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.bitmaps import popcount
from sgxlens.reuse.page_visits import PageVisits
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sgxlens.attribution.facts import PhaseFacts
    from sgxlens.enclave.epc import EpcRun
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.quantities import Constant
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording

#: What is counted, in the order of `Charge.what` here: pages that had been in the EPC before, and
#: pages at the first access to them.
PAGE_LOADS, FIRST_PAGE_LOADS = "page loads", "first page loads"
#: A version array has 512 slots of 8 bytes, one for each page that may be evicted.
_PAGES_PER_VERSION_ARRAY = 512
_SECS_PAGE_COUNT = 1
#: Sizes of a paging curve where none are given.
_CURVE_SIZE_COUNT = 40
#: Beyond the cliff a phase loads no more than this share of its pages.
_CLIFF_SHARE = 0.1


def paging_charges(
    recording: Recording,
    phase: Phase | int | str,
    platform: Platform,
    *,
    fixed_page_count: int = 0,
    committed_page_count: int | None = None,
    threads: int = 1,
    policy: EpcPolicy | None = None,
    replicas: int = 1,
) -> list[Charge]:
    """What paging costs in a phase: a charge for each operator and role of memory.

    A load of a page that had left in its visit counts to the operator that runs then. Counts are
    ranges as the usable size of the EPC is one; those of all charges move together.

    Args:
        recording: the recording.
        phase: the phase, its index in its process or its name.
        platform: gives the size of the EPC, its driver, and what a page costs.
        fixed_page_count: pages that the runtime itself uses all the time, of each enclave.
        committed_page_count: pages of each enclave when it is built; None: those that the program
            uses and the fixed ones.
        threads: threads of each enclave that work at once.
        policy: who leaves; None: as the platform's driver does it.
        replicas: enclaves that do the same at once and share the EPC. Loads of all of them count,
            because they wait for each other; at least (low) those of one.

    Raises:
        UsageError: there is no such phase, or the EPC is too small.
        RecordingError: the recording has no page visits, or is damaged.
    """
    paged = _paged_phase(
        recording,
        phase,
        policy or platform.epc.driver,
        fixed_page_count=fixed_page_count,
        committed_page_count=committed_page_count,
        replicas=replicas,
    )
    constant = platform.paging.page_swap_ns.at(threads * replicas)
    usable = platform.epc.usable_bytes
    counts = [paged.loads(int(size)) for size in (usable.high, usable.likely, usable.low)]
    charges = []
    for key in sorted(set().union(*counts), key=lambda key: (key.is_first, key.order, key.role)):
        least, likely, most = (count.get(key, 0) for count in counts)
        # More EPC means fewer loads all in all, but not of each operator.
        least = min(least, likely)
        charges.append(
            Charge(
                cause="paging",
                what=FIRST_PAGE_LOADS if key.is_first else PAGE_LOADS,
                constant=constant,
                count=Range(least / replicas, likely, max(most, likely)),
                operator=key.operator,
                role=key.role,
            )
        )
    return charges


@dataclass(frozen=True)
class PolicyLoads:
    """What a phase would load under a policy.

    Attributes:
        policy: see `sgxlens.enclave.epc`.
        load_count: pages loaded, of all replicas.
        seconds: what they cost.
    """

    policy: EpcPolicy
    load_count: int
    seconds: Range


def compare_policies(
    recording: Recording,
    phase: Phase | int | str,
    platform: Platform,
    *,
    policies: Iterable[EpcPolicy] = EPC_POLICIES,
    fixed_page_count: int = 0,
    committed_page_count: int | None = None,
    threads: int = 1,
    replicas: int = 1,
) -> list[PolicyLoads]:
    """What a phase would load if pages left in another order, in the platform's likely EPC.

    ``pinned`` keeps the pages that this phase visits most often.

    Raises:
        UsageError: there is no such phase, or the EPC is too small.
        RecordingError: the recording has no page visits, or is damaged.
    """
    constant = platform.paging.page_swap_ns.at(threads * replicas)
    found = []
    for policy in policies:
        paged = _paged_phase(
            recording,
            phase,
            policy,
            fixed_page_count=fixed_page_count,
            committed_page_count=committed_page_count,
            replicas=replicas,
        )
        (count,) = paged.load_counts([int(platform.epc.usable_bytes.likely)])
        found.append(PolicyLoads(policy, count, constant.range.scaled(count / 1e9)))
    return found


@dataclass(frozen=True, eq=False)
class PagingCurve:
    """How many pages a phase loads with EPCs of several sizes.

    Attributes:
        phase: the phase.
        policy: who leaves.
        replicas: enclaves that share the EPC.
        epc_bytes: usable sizes of the EPC, ascending.
        load_count: for each size the pages loaded in the phase, of all replicas.
        footprint_bytes: size of the pages that the phase accesses, of one enclave.
        reserved_bytes: what no page of the program can have of the EPC, of all enclaves.
        fitting_bytes: the smallest EPC from which on nothing is ever loaded.
        page_swap: what a load costs, in nanoseconds.
    """

    phase: Phase
    policy: EpcPolicy
    replicas: int
    epc_bytes: Integers
    load_count: Integers
    footprint_bytes: int
    reserved_bytes: int
    fitting_bytes: int
    page_swap: Constant
    _counts_at: Callable[[Sequence[int]], list[int]] = field(repr=False)

    @property
    def cliff_bytes(self) -> int | None:
        """The smallest EPC from which on a tenth of the pages accessed is loaded, or less.

        None: with all sizes of the curve, or with none; there is no cliff between them.
        """
        load_count_max = _CLIFF_SHARE * self.replicas * (self.footprint_bytes // PAGE_BYTES)
        is_more = self.load_count > load_count_max
        if not is_more.any() or is_more[-1]:
            return None
        return self._smallest(load_count_max)

    def seconds(self) -> list[Range]:
        """For each size what the loads cost."""
        return [self.page_swap.range.scaled(int(count) / 1e9) for count in self.load_count]

    def epc_for_overhead(self, native_seconds: float, percent: float) -> Range:
        """The smallest EPC, in bytes, with which paging costs at most `percent` of a native time.

        It is searched to 64 pages below the smallest size of the curve from which on this holds;
        low, likely and high are for what a load costs.

        Args:
            native_seconds: the native time of the phase.
            percent: how much paging may add to it, in percent.

        Raises:
            UsageError: these make no sense.
        """
        if not (0 < native_seconds < float("inf") and 0 <= percent < float("inf")):
            raise UsageError(
                "the native time must be above 0 seconds and the overhead at least 0 percent"
            )
        limit_ns = native_seconds * 1e9 * percent / 100
        swap = self.page_swap
        return Range(*(self._smallest(limit_ns / ns) for ns in (swap.low, swap.likely, swap.high)))

    def _smallest(self, load_count_max: float) -> int:
        is_more = np.flatnonzero(self.load_count > load_count_max)
        if not is_more.size:
            return int(self.epc_bytes[0])
        last = int(is_more[-1])
        low = int(self.epc_bytes[last])
        above = self.epc_bytes[last + 1 :]
        high = int(above[0]) if above.size else max(self.fitting_bytes, low)
        while high - low > 64 * PAGE_BYTES:
            middle = (low + high) // 2
            (count,) = self._counts_at([middle])
            if count > load_count_max:
                low = middle
            else:
                high = middle
        return high


def paging_curve(
    recording: Recording,
    phase: Phase | int | str,
    platform: Platform,
    sizes: Sequence[int] | None = None,
    *,
    fixed_page_count: int = 0,
    committed_page_count: int | None = None,
    threads: int = 1,
    policy: EpcPolicy | None = None,
    replicas: int = 1,
) -> PagingCurve:
    """How paging in a phase depends on the size of the EPC.

    Args:
        recording: the recording.
        phase: the phase, its index in its process or its name.
        platform: gives the driver, and what a page costs.
        sizes: usable sizes of the EPC in bytes; None: 40 from the smallest that can be simulated to
            what the phase needs, with the platform's own and the one in which everything fits.
        fixed_page_count: as for `paging_charges`.
        committed_page_count: as for `paging_charges`.
        threads: as for `paging_charges`.
        policy: as for `paging_charges`.
        replicas: as for `paging_charges`.

    Raises:
        UsageError: there is no such phase, or a size is too small.
        RecordingError: the recording has no page visits, or is damaged.
    """
    paged = _paged_phase(
        recording,
        phase,
        policy or platform.epc.driver,
        fixed_page_count=fixed_page_count,
        committed_page_count=committed_page_count,
        replicas=replicas,
    )
    chosen = sorted(set(paged.default_sizes(platform) if sizes is None else sizes))
    if not chosen:
        raise UsageError("a paging curve takes at least one size of EPC")
    return PagingCurve(
        phase=paged.facts.phase,
        policy=paged.policy,
        replicas=replicas,
        epc_bytes=np.array(chosen, dtype=np.int64),
        load_count=np.array(paged.load_counts(chosen), dtype=np.int64),
        footprint_bytes=paged.facts.pages.size * PAGE_BYTES,
        reserved_bytes=paged.reserved_page_count * PAGE_BYTES,
        fitting_bytes=paged.fitting_page_count * PAGE_BYTES,
        page_swap=platform.paging.page_swap_ns.at(threads * replicas),
        _counts_at=paged.load_counts,
    )


@dataclass(frozen=True)
class _Key:
    """What loads are summed by; `order` is the operator's place in the phase."""

    is_first: bool
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
            raise RecordingError(
                f"{recording.path} is corrupted: page_visits.parquet: {error}"
            ) from error
        pages = self.simulation.pages
        #: By index of the page, the number of its first visit.
        order = np.argsort(pages)
        self.first_visit = np.empty(pages.size, dtype=np.int64)
        self.first_visit[order] = np.unique(visits.page, return_index=True)[1]


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


class _PagedPhase:
    """One phase and the enclaves that it runs in."""

    def __init__(
        self,
        facts: PhaseFacts,
        visits: _Visits,
        policy: EpcPolicy,
        *,
        fixed_page_count: int,
        committed_page_count: int | None,
        replicas: int,
    ) -> None:
        self.facts = facts
        self.policy = policy
        self._visits = visits
        self._replicas = replicas
        used = visits.simulation.pages.size + fixed_page_count
        added = max(used, committed_page_count or 0)
        version_arrays = -(-added // _PAGES_PER_VERSION_ARRAY)
        self.reserved_page_count = replicas * (_SECS_PAGE_COUNT + version_arrays + fixed_page_count)
        kept_free = Reclaimer().low_page_count if policy in ("linux", "out_of_tree") else 0
        #: Pages of the smallest EPC into which all pages of the enclaves go.
        self.fitting_page_count = replicas * (_SECS_PAGE_COUNT + version_arrays + added) + kept_free

    def default_sizes(self, platform: Platform) -> list[int]:
        """Sizes of EPC from the smallest on, in bytes."""
        least = self.reserved_page_count + self._least_capacity
        enough = self.reserved_page_count + int(self._replicas * self.facts.pages.size * 1.2)
        enough = min(max(enough, least), self.fitting_page_count)
        pages = np.linspace(least, enough, _CURVE_SIZE_COUNT - 2).astype(np.int64)
        likely = int(platform.epc.usable_bytes.likely)
        more = [size for size in (likely,) if size // PAGE_BYTES >= least]
        return [*(pages * PAGE_BYTES).tolist(), self.fitting_page_count * PAGE_BYTES, *more]

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
            enclaves = "the enclave" if self._replicas == 1 else f"{self._replicas} enclaves"
            raise UsageError(
                f"an EPC of {format_bytes(epc_bytes)} is too small for {enclaves}:"
                f" {format_bytes(self.reserved_page_count * PAGE_BYTES)} of it are taken by SECS,"
                f" version arrays and the runtime, and it takes {format_bytes(needed)} in all"
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
        runs = self._visits.simulation.sweep(
            self.policy, simulated, replicas=self._replicas, counted=self._counted()
        )
        index = self.facts.phase.index
        found: dict[int | None, int] = {None: 0}
        for run in runs:
            is_there = index < run.load_count.size
            found[run.capacity_pages] = int(run.load_count[index]) if is_there else 0
        return [found[capacity] for capacity in capacities]

    def loads(self, epc_bytes: int) -> dict[_Key, int]:
        """Pages loaded in the phase with an EPC of this size."""
        capacity = self._capacity(epc_bytes)
        if capacity is None:
            return {}
        run = self._visits.simulation.run(
            self.policy,
            capacity,
            replicas=self._replicas,
            counted=self._counted(),
            keep_events=True,
        )
        return self._by_key(run)

    def _by_key(self, run: EpcRun) -> dict[_Key, int]:
        visits, facts = self._visits, self.facts
        here = visits.phase[run.loads.visit] == facts.phase.index
        visit = run.loads.visit[here].astype(np.int64)
        page = run.loads.page[here].astype(np.int64)
        # Nothing but the start of a page's first visit loads it for the first time.
        is_first = visits.first_visit[page] == visit
        context = np.searchsorted(facts.contexts.number, visits.context[visit])
        operator = facts.contexts.operator[context]
        end = np.maximum(facts.contexts.end_position[context], 1) - 1
        role = self._roles(visits.simulation.pages[page], end)
        names, _ = facts.roles
        key = (is_first * (len(facts.operators) + 1) + operator + 1) * len(names) + role
        found, counts = np.unique(key, return_counts=True)
        result = {}
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            rest, role_index = divmod(value, len(names))
            first, place = divmod(rest, len(facts.operators) + 1)
            index = place - 1
            number = None if index == NO_OPERATOR else facts.operators[index].number
            result[_Key(bool(first), index, number, names[role_index])] = count
        return result

    def _roles(self, page: Integers, position: Integers) -> Integers:
        """For each page the role of most of its lines then, as in `PhaseFacts.roles`."""
        names, role_of = self.facts.roles
        pieces = self.facts.region_map.pieces(page, position)
        key = pieces.row * len(names) + role_of[pieces.region]
        lines = np.bincount(key, popcount(pieces.lines), page.size * len(names))
        found: Integers = lines.reshape(page.size, len(names)).argmax(axis=1)
        return found


def _paged_phase(
    recording: Recording,
    phase: Phase | int | str,
    policy: EpcPolicy,
    *,
    fixed_page_count: int,
    committed_page_count: int | None,
    replicas: int,
) -> _PagedPhase:
    if replicas < 1:
        raise UsageError(f"{replicas} replicas make no sense: give at least 1")
    if policy not in EPC_POLICIES:
        raise UsageError(f"no policy {policy!r}: there is {', '.join(EPC_POLICIES)}")
    if not recording.has_table("page_visits"):
        raise _no_visits(recording)
    facts = facts_of(recording, phase)
    return _PagedPhase(
        facts,
        _visits_of(recording, facts),
        policy,
        fixed_page_count=fixed_page_count,
        committed_page_count=committed_page_count,
        replicas=replicas,
    )
