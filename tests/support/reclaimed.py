# SPDX-License-Identifier: Apache-2.0
"""A memory of pages under the kernel's reclaimer, simulated access by access."""

from __future__ import annotations

from collections import deque

from sgxlens.enclave.epc import Reclaimer
from sgxlens.reuse.page_memory import PageMemory


class ReclaimedMemory(PageMemory):
    """A memory as `PageMemory`; pages leave as under the policy ``linux`` of one enclave."""

    def __init__(self, capacity: int) -> None:
        super().__init__("second_chance", capacity)
        self._list: deque[int] = deque()

    def _miss(self, page: int, writes: bool) -> None:
        self._miss_count += 1
        reclaimer = Reclaimer()
        free = self._capacity - len(self._list) - 1
        if free < reclaimer.low_page_count:
            while self._capacity - len(self._list) - 1 < reclaimer.high_page_count:
                self._scan(reclaimer.scan_page_count)
        self._list.append(page)
        self._resident[page] = True
        self._dirty[page] = writes
        self._accessed[page] = True

    def _scan(self, page_count: int) -> None:
        for _ in range(min(page_count, len(self._list))):
            page = self._list.popleft()
            if self._accessed[page]:
                self._accessed[page] = False
                self._list.append(page)
            else:
                self._resident[page] = False
                self._eviction_count += 1
                self._dirty_eviction_count += int(self._dirty[page])
