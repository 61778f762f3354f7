# SPDX-License-Identifier: Apache-2.0
"""Simulates the enclave page cache (EPC) from the page visits of a recording.

A page that is accessed and not in the EPC is loaded. Who leaves for it is a matter of the policy:

- ``linux``: the reclaimer of the kernel (torvalds/linux@019bc1f:arch/x86/kernel/cpu/sgx/main.c).
  One list of all enclaves' pages, to whose end a page goes when it is loaded. When less than 32
  pages are free (`Reclaimer`), batches of the 16 pages at the head are looked at until 64 are
  free. One that was accessed since it was last looked at goes to the end, the others leave; a batch
  is not filled up. The kernel clears the accessed bit of a page that it has just loaded (encl.c
  there, @05f1941, sgx_vma_fault()), but then the access for which it was loaded is repeated, and
  sets it. Reclaiming is done in no time here; a thread of the kernel does it.
- ``out_of_tree``: Intel's driver (intel/linux-sgx-driver@fc0cb15:sgx_page_cache.c). The same but
  for one thing: each enclave has a list, and batches are taken from them in turn.
- ``lru``: the page accessed longest ago leaves. Exact for one enclave.
- ``fifo``: the page loaded longest ago.
- ``second_chance``: as ``fifo``, but a page that was accessed since it was last looked at goes to
  the end.
- ``mru``: of the pages not in a visit, the one whose visit ended last. What came first stays for
  good.
- ``pinned``: the pages that are visited most often stay, as many as leave room for the visits of
  the others; of those, the least recently used one leaves.
- ``optimum``: the page that is needed again last: Belady's optimum, the fewest loads there can be.

Whether the page that leaves was written does not matter: every page is encrypted and written back.
The module `sgxlens.reuse.page_visits` says what is known of accesses within visits and what is
assumed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from sgxlens._native import EpcVisits
from sgxlens.reuse.page_visits import native_visits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sgxlens.reuse.page_visits import PageVisits

EpcPolicy = Literal[
    "linux", "out_of_tree", "lru", "fifo", "second_chance", "mru", "pinned", "optimum"
]
EPC_POLICIES: tuple[EpcPolicy, ...] = get_args(EpcPolicy)
Counts = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Reclaimer:
    """How ``linux`` and ``out_of_tree`` reclaim; the values are those of both drivers.

    Attributes:
        scan_page_count: pages looked at in a batch.
        low_page_count: reclaiming starts when fewer pages are free.
        high_page_count: it stops when as many are.
    """

    scan_page_count: int = EpcVisits.SCAN_PAGE_COUNT
    low_page_count: int = EpcVisits.LOW_PAGE_COUNT
    high_page_count: int = EpcVisits.HIGH_PAGE_COUNT


@dataclass(frozen=True, eq=False)
class PageEvents:
    """Pages that came or left, in this order: arrays of one length.

    Attributes:
        visit: number of the visit at whose start, or just before.
        page: index of the page in `EpcSimulation.pages`.
    """

    visit: Indices
    page: Indices


@dataclass(frozen=True, eq=False)
class EpcRun:
    """What an EPC, empty at first, did.

    Attributes:
        capacity_pages: its size in pages.
        load_count: pages loaded, by group; of all replicas together.
        eviction_count: pages evicted, by group; of all replicas together.
        marked_load_count: pages loaded that are marked, by group.
        loads, evictions: those of all pages one by one; empty unless asked for.
    """

    capacity_pages: int
    load_count: Counts
    eviction_count: Counts
    marked_load_count: Counts
    loads: PageEvents
    evictions: PageEvents


class SimulationStoppedError(Exception):
    """A simulation was stopped before its end, as it was asked to be."""


class EpcSimulation:
    """Page visits, ready to be simulated with any policy and size.

    Args:
        visits: the visits of one process from its start.
        group: for each visit, a small number; loads and evictions at its start, or of pages that
            had left in their visits and come back just before, count to that group. None: one
            group.

    Raises:
        NativeEpcVisitsError: there cannot be such visits.
    """

    def __init__(self, visits: PageVisits, group: npt.NDArray[np.uint32] | None = None) -> None:
        self._visits = native_visits(visits, group)
        #: Numbers of the pages (addresses divided by 4,096), in the order of their first visits.
        self.pages: npt.NDArray[np.uint64] = self._visits.pages

    @property
    def group_count(self) -> int:
        """The largest group plus one; 0 where there are no visits."""
        return self._visits.group_count

    def capacity_min(
        self, policy: EpcPolicy, replicas: int = 1, reclaimer: Reclaimer | None = None
    ) -> int:
        """Pages of the smallest EPC that can be simulated: one with room for all visits."""
        high = (reclaimer or Reclaimer()).high_page_count
        return self._visits.capacity_min(policy, replicas, high)

    def run(
        self,
        policy: EpcPolicy,
        capacity_pages: int,
        *,
        replicas: int = 1,
        reclaimer: Reclaimer | None = None,
        counted: slice | None = None,
        keep_events: bool = False,
        marked: npt.NDArray[np.bool_] | None = None,
    ) -> EpcRun:
        """Simulates one size; see `sweep`."""
        (run,) = self.sweep(
            policy,
            [capacity_pages],
            replicas=replicas,
            reclaimer=reclaimer,
            counted=counted,
            keep_events=keep_events,
            marked=marked,
        )
        return run

    def sweep(
        self,
        policy: EpcPolicy,
        capacities_pages: Sequence[int] | npt.NDArray[np.int64],
        *,
        replicas: int = 1,
        reclaimer: Reclaimer | None = None,
        counted: slice | None = None,
        keep_events: bool = False,
        marked: npt.NDArray[np.bool_] | None = None,
        threads: int | None = None,
        is_stopped: Callable[[], bool] | None = None,
    ) -> list[EpcRun]:
        """Simulates several sizes.

        Args:
            policy: who leaves.
            capacities_pages: sizes: all pages that these enclaves can have at once.
            replicas: enclaves that share the EPC and do the same, visit by visit in turn, each
                with pages of its own.
            reclaimer: for ``linux`` and ``out_of_tree``; None: as in the drivers.
            counted: for ``pinned``, the visits that are counted, from its start to its stop; of
                pages with as many visits, those visited earlier in the recording stay. None: all.
            keep_events: give `EpcRun.loads` and `EpcRun.evictions`, too.
            marked: for each of `pages` whether it is marked; None: none is.
            threads: threads that simulate, at most; None: one for each processor.
            is_stopped: says that nobody waits for the results any more.

        Raises:
            SimulationStoppedError: `is_stopped` said so.
            ValueError: a size is below `capacity_min`, there is no such policy, or there is not
                one mark for every page.
            KeyboardInterrupt: the user interrupted.
        """
        sizes = np.asarray(capacities_pages, dtype=np.uint64)
        first, end, _ = (counted or slice(None)).indices(len(self._visits))
        settings = reclaimer or Reclaimer()
        results = self._visits.simulate(
            policy,
            sizes,
            replicas,
            settings.scan_page_count,
            settings.low_page_count,
            settings.high_page_count,
            first,
            end,
            keep_events,
            threads or processor_count(),
            marked,
            is_stopped,
        )
        if len(results) < len(sizes):
            raise SimulationStoppedError
        return [
            EpcRun(
                int(size),
                result[0],
                result[1],
                result[6],
                PageEvents(result[2], result[3]),
                PageEvents(result[4], result[5]),
            )
            for size, result in zip(sizes, results, strict=True)
        ]


def processor_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
