# SPDX-License-Identifier: Apache-2.0
"""What paging costs: charges of a phase, curves over sizes of EPC, other policies of eviction.

What is simulated, `sgxlens.enclave.page_loads` says.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.enclave.charges import Charge
from sgxlens.enclave.epc import EPC_POLICIES, EpcPolicy
from sgxlens.enclave.page_loads import paged_phase
from sgxlens.enclave.quantities import Range
from sgxlens.errors import UsageError
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from sgxlens.enclave.page_loads import LoadKey, LoadKind, PagedPhase
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.quantities import Constant
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording

#: `Charge.what` of pages that had been in the EPC before, and of pages at the first access to them.
PAGE_LOADS, FIRST_PAGE_LOADS = "page loads", "first page loads"
#: In an inference that follows another, pages that had been in the EPC and were not used in the one
#: before.
SELDOM_PAGE_LOADS = "loads of pages seldom used"
_WHAT: dict[LoadKind, str] = {
    "again": PAGE_LOADS,
    "first": FIRST_PAGE_LOADS,
    "seldom": SELDOM_PAGE_LOADS,
}
#: Beyond the cliff a phase loads no more than this share of its pages.
_CLIFF_SHARE = 0.1
#: A size of the EPC is searched until it is as near as this.
_NEAR_BYTES = 64 * PAGE_BYTES


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
    paged = paged_phase(
        recording,
        phase,
        policy or platform.epc.driver,
        fixed_page_count=fixed_page_count,
        committed_page_count=committed_page_count,
        replicas=replicas,
    )
    constant = platform.paging.page_swap(threads, replicas)
    usable = platform.epc.usable_bytes
    counts = paged.loads([int(size) for size in (usable.high, usable.likely, usable.low)])
    charges = []
    keys: set[LoadKey] = set().union(*counts)
    order = {kind: number for number, kind in enumerate(_WHAT)}
    for key in sorted(keys, key=lambda key: (order[key.kind], key.order, key.role)):
        least, likely, most = (count.get(key, 0) for count in counts)
        # More EPC means fewer loads all in all, but not of each operator.
        least, most = min(least, likely), max(most, likely)
        charges.append(
            Charge(
                cause="paging",
                what=_WHAT[key.kind],
                constant=constant,
                count=Range(least / replicas, likely, most),
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
    first: bool = True,
    is_repeated: bool = False,
) -> list[PolicyLoads]:
    """What a phase would load if pages left in another order, in the platform's likely EPC.

    ``pinned`` keeps the pages that this phase visits most often. The arguments are those of
    `paging_curve`.

    Raises:
        UsageError: there is no such phase, or the EPC is too small.
        RecordingError: the recording has no page visits, or is damaged.
    """
    constant = platform.paging.page_swap(threads, replicas)
    found = []
    for policy in policies:
        paged = paged_phase(
            recording,
            phase,
            policy,
            fixed_page_count=fixed_page_count,
            committed_page_count=committed_page_count,
            replicas=replicas,
        )
        (count,) = paged.standing_counts(
            [int(platform.epc.usable_bytes.likely)], first=first, is_repeated=is_repeated
        )
        found.append(PolicyLoads(policy, count, constant.range.scaled(count / 1e9)))
    return found


def simulated_ahead(
    recording: Recording,
    phase: Phase | int | str,
    platform: Platform,
    *,
    fixed_page_count: int = 0,
    committed_page_count: int | None = None,
    policy: EpcPolicy | None = None,
    replicas: int = 1,
) -> AbstractContextManager[None]:
    """Simulates what a curve and a comparison of policies take, beside what is done meanwhile.

    The arguments are those of `paging_curve`, of its own sizes, and `compare_policies`.

    Raises:
        UsageError: there is no such phase.
        RecordingError: the recording has no page visits, or is damaged.
    """

    def paged(by: EpcPolicy) -> PagedPhase:
        return paged_phase(
            recording,
            phase,
            by,
            fixed_page_count=fixed_page_count,
            committed_page_count=committed_page_count,
            replicas=replicas,
        )

    likely = int(platform.epc.usable_bytes.likely)
    own = paged(policy or platform.epc.driver)
    sweeps = [own.simulations(own.default_sizes(likely)).values()]
    for other in EPC_POLICIES:
        with suppress(UsageError):  # told where it is asked for
            sweeps.append(paged(other).simulations([likely]).values())
    return own.simulated_ahead(sweeps)


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
        is_more = self.load_count > self._cliff_load_count
        if not is_more.any() or is_more[-1]:
            return None
        return self._smallest([self._cliff_load_count])[0]

    @property
    def _cliff_load_count(self) -> float:
        return _CLIFF_SHARE * self.replicas * (self.footprint_bytes // PAGE_BYTES)

    def seconds(self) -> list[Range]:
        """For each size what the loads cost."""
        return [self.page_swap.range.scaled(int(count) / 1e9) for count in self.load_count]

    def epc_for_overheads(
        self, native_seconds: float, percents: Sequence[float]
    ) -> dict[float, Range]:
        """By overhead the smallest EPC, in bytes, with which paging costs at most that.

        It is searched to 64 pages below the smallest size of the curve from which on this holds;
        low, likely and high are for what a load costs.

        Args:
            native_seconds: the native time of the phase.
            percents: how much paging may add to it, in percent.

        Raises:
            UsageError: these make no sense.
        """
        is_possible = all(0 <= percent < float("inf") for percent in percents)
        if not (0 < native_seconds < float("inf") and is_possible):
            raise UsageError(
                "the native time must be above 0 seconds and the overhead at least 0 percent"
            )
        swap = self.page_swap
        limits = [
            native_seconds * 1e9 * percent / 100 / ns
            for percent in percents
            for ns in (swap.low, swap.likely, swap.high)
        ]
        # The cliff is searched with them.
        found = self._smallest([*limits, self._cliff_load_count])
        return {p: Range(*found[3 * i : 3 * i + 3]) for i, p in enumerate(percents)}

    def _smallest(self, load_count_maxima: Sequence[float]) -> list[int]:
        """For each of these numbers of loads the smallest EPC with no more of them."""
        bounds = [self._bounds(load_count_max) for load_count_max in load_count_maxima]
        # All are halved at once: simulations of several sizes share the passes over the visits.
        while wide := [i for i, (low, high) in enumerate(bounds) if high - low > _NEAR_BYTES]:
            middles = sorted({sum(bounds[i]) // 2 for i in wide})
            counts = dict(zip(middles, self._counts_at(middles), strict=True))
            for i in wide:
                low, high = bounds[i]
                middle = (low + high) // 2
                is_more = counts[middle] > load_count_maxima[i]
                bounds[i] = (middle, high) if is_more else (low, middle)
        return [high for _, high in bounds]

    def _bounds(self, load_count_max: float) -> tuple[int, int]:
        """Sizes between which the smallest EPC is with no more loads than that."""
        is_more = np.flatnonzero(self.load_count > load_count_max)
        if not is_more.size:
            return int(self.epc_bytes[0]), int(self.epc_bytes[0])
        last = int(is_more[-1])
        low = int(self.epc_bytes[last])
        above = self.epc_bytes[last + 1 :]
        return low, int(above[0]) if above.size else max(self.fitting_bytes, low)


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
    first: bool = True,
    is_repeated: bool = False,
) -> PagingCurve:
    """How paging in a phase depends on the size of the EPC.

    Args:
        recording: the recording.
        phase: the phase, its index in its process or its name.
        platform: gives the driver, and what a page costs.
        sizes: usable sizes of the EPC in bytes; None: 40 from the smallest that can be simulated to
            the one in which everything fits, and the platform's own.
        fixed_page_count: as for `paging_charges`.
        committed_page_count: as for `paging_charges`.
        threads: as for `paging_charges`.
        policy: as for `paging_charges`.
        replicas: as for `paging_charges`.
        first: whether first page loads count.
        is_repeated: whether the phase is an inference that is repeated for ever. Then loads of
            pages seldom used do not count where no other page is loaded: all has stayed.

    Raises:
        UsageError: there is no such phase, or a size is too small.
        RecordingError: the recording has no page visits, or is damaged.
    """
    paged = paged_phase(
        recording,
        phase,
        policy or platform.epc.driver,
        fixed_page_count=fixed_page_count,
        committed_page_count=committed_page_count,
        replicas=replicas,
    )
    if sizes is None:
        sizes = paged.default_sizes(int(platform.epc.usable_bytes.likely))
    chosen = sorted(set(sizes))
    if not chosen:
        raise UsageError("a paging curve takes at least one size of EPC")
    counts_at = partial(paged.standing_counts, first=first, is_repeated=is_repeated)
    return PagingCurve(
        phase=paged.facts.phase,
        policy=paged.policy,
        replicas=replicas,
        epc_bytes=np.array(chosen, dtype=np.int64),
        load_count=np.array(counts_at(chosen), dtype=np.int64),
        footprint_bytes=paged.facts.pages.size * PAGE_BYTES,
        reserved_bytes=paged.reserved_page_count * PAGE_BYTES,
        fitting_bytes=paged.fitting_page_count * PAGE_BYTES,
        page_swap=platform.paging.page_swap(threads, replicas),
        _counts_at=counts_at,
    )
