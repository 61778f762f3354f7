# SPDX-License-Identifier: Apache-2.0
"""How the steady inference depends on the size of the EPC, and on which pages leave it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sgxlens.enclave.epc import EpcPolicy
from sgxlens.enclave.paging import (
    FIRST_PAGE_LOADS,
    PAGE_LOADS,
    SELDOM_PAGE_LOADS,
    compare_policies,
    paging_curve,
    simulated_ahead,
)
from sgxlens.enclave.quantities import Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from sgxlens.enclave.charges import Charge
    from sgxlens.enclave.memory_rules import Commits
    from sgxlens.enclave.platform import Platform
    from sgxlens.recording.reader import Phase, Recording

#: Overheads of paging, in percent, that the EPC is told for.
OVERHEADS_PERCENT = (5.0, 10.0, 25.0)


@dataclass(frozen=True)
class CurvePoint:
    """Paging of the steady inference with one size of the EPC."""

    epc_bytes: int
    load_count: int
    added_seconds: Range


@dataclass(frozen=True)
class EpcForOverhead:
    """The EPC with which paging adds at most some percent to the native time.

    Attributes:
        overhead_percent: how much it may add.
        epc_bytes: the least EPC for that; low, likely and high are for what a load costs.
    """

    overhead_percent: float
    epc_bytes: Range


@dataclass(frozen=True)
class PolicyTime:
    """Paging of the steady inference if pages left in another order.

    Attributes:
        policy: the order, see `sgxlens.enclave.epc`.
        is_used: whether the prediction is of this one.
        load_count: pages loaded, of all replicas.
        added_seconds: what they cost.
    """

    policy: EpcPolicy
    is_used: bool
    load_count: int
    added_seconds: Range


@dataclass(frozen=True)
class EpcNeeds:
    """What the steady inference asks of the EPC.

    Attributes:
        policy: which pages leave.
        footprint_bytes: pages that it accesses.
        reserved_bytes: what no page of the program can have: of the runtime, and metadata.
        fitting_bytes: the EPC with which no page is ever loaded again.
        cliff_bytes: the EPC below which more than a tenth of the pages is loaded each time; None:
            there is no such size on the curve.
        for_overhead: the EPC for some overheads, the smallest overhead first.
        curve: paging by size of the EPC, ascending.
        policies: paging with other policies in the EPC of the platform.
    """

    policy: EpcPolicy
    footprint_bytes: int
    reserved_bytes: int
    fitting_bytes: int
    cliff_bytes: int | None
    for_overhead: tuple[EpcForOverhead, ...]
    curve: tuple[CurvePoint, ...]
    policies: tuple[PolicyTime, ...]


@dataclass(frozen=True)
class Enclaves:
    """What paging must know of the enclaves, as `sgxlens.enclave.paging.paging_charges` says."""

    fixed_page_count: int
    committed_page_count: int | None
    threads: int
    replicas: int
    policy: EpcPolicy | None


def epc_simulated_ahead(
    recording: Recording, phase: Phase, platform: Platform, enclaves: Enclaves
) -> AbstractContextManager[None]:
    """Simulates what `epc_needs` takes, beside what is done meanwhile."""
    return simulated_ahead(
        recording,
        phase,
        platform,
        fixed_page_count=enclaves.fixed_page_count,
        committed_page_count=enclaves.committed_page_count,
        policy=enclaves.policy,
        replicas=enclaves.replicas,
    )


def epc_needs(
    recording: Recording,
    phase: Phase,
    platform: Platform,
    enclaves: Enclaves,
    *,
    commits: Commits,
    is_repeated: bool,
    native_seconds: float,
    overheads_percent: Sequence[float] = OVERHEADS_PERCENT,
) -> EpcNeeds:
    """What `phase`, which natively takes `native_seconds`, asks of the EPC.

    Loads are counted as `standing_loads` likely leaves them, with which the arguments agree.

    Raises:
        UsageError: the EPC is too small, or an overhead makes no sense.
    """
    first = _has_first_loads(commits, is_repeated=is_repeated)
    curve = paging_curve(
        recording,
        phase,
        platform,
        fixed_page_count=enclaves.fixed_page_count,
        committed_page_count=enclaves.committed_page_count,
        threads=enclaves.threads,
        policy=enclaves.policy,
        replicas=enclaves.replicas,
        first=first,
        is_repeated=is_repeated,
    )
    policies = compare_policies(
        recording,
        phase,
        platform,
        fixed_page_count=enclaves.fixed_page_count,
        committed_page_count=enclaves.committed_page_count,
        threads=enclaves.threads,
        replicas=enclaves.replicas,
        first=first,
        is_repeated=is_repeated,
    )
    overheads = curve.epc_for_overheads(native_seconds, sorted(set(overheads_percent)))
    points = zip(curve.epc_bytes.tolist(), curve.load_count.tolist(), curve.seconds(), strict=True)
    return EpcNeeds(
        policy=curve.policy,
        footprint_bytes=curve.footprint_bytes,
        reserved_bytes=curve.reserved_bytes,
        fitting_bytes=curve.fitting_bytes,
        cliff_bytes=curve.cliff_bytes,
        for_overhead=tuple(EpcForOverhead(*overhead) for overhead in overheads.items()),
        curve=tuple(CurvePoint(*point) for point in points),
        policies=tuple(
            PolicyTime(row.policy, row.policy == curve.policy, row.load_count, row.seconds)
            for row in policies
        ),
    )


def standing_loads(
    charges: Iterable[Charge], commits: Commits, *, is_repeated: bool
) -> list[Charge]:
    """Charges for page loads, with counts that the phase stands for.

    In an inference that is repeated for ever,

    - pages that are new are growth, as of ONNX Runtime's profile in memory: the inferences that
      follow do not have them;
    - if all pages that the inference before used have stayed, so will those that it did not.

    At most such pages are loaded each time.

    Args:
        charges: of `sgxlens.enclave.paging.paging_charges`.
        commits: when the runtime adds pages to the enclave.
        is_repeated: whether the phase is an inference that is repeated, and not the first one.
    """
    found = list(charges)
    has_stayed = not any(c.what == PAGE_LOADS and c.count.likely for c in found)

    def standing(what: str, count: Range) -> Range:
        if what == FIRST_PAGE_LOADS:
            if commits == "at_touch":
                return Range.exact(0)
            if not _has_first_loads(commits, is_repeated=is_repeated):
                return Range(0, 0, count.high)
            # A page that was added when it was mapped may have left before it is used.
            return count if commits == "at_build" else Range(0, count.likely, count.high)
        if what == SELDOM_PAGE_LOADS and is_repeated and has_stayed:
            return Range(0, 0, count.high)
        return count

    return [replace(charge, count=standing(charge.what, charge.count)) for charge in found]


def _has_first_loads(commits: Commits, *, is_repeated: bool) -> bool:
    """Whether it is likely that a page is loaded when it is first accessed."""
    return not is_repeated and commits != "at_touch"
