# SPDX-License-Identifier: Apache-2.0
"""Memory that the runtime clears and adds in place of the kernel.

The kernel clears memory too, page by page as the program first touches it, and that is in the
native time. So only what the runtime does beyond it is charged: what it clears in its whole length
although the program touches a part of it. A native page fault that an enclave does not take (a
block mapped again in memory that is there already) is not taken off the native time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgxlens.enclave.address_space import PAGE_BYTES, AddressSpaceHistory, Change
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.mapping_events import address_space
from sgxlens.enclave.platform import LINE_BYTES
from sgxlens.enclave.quantities import Range
from sgxlens.recording.format import MAPPING_KINDS

if TYPE_CHECKING:
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.recording.reader import Operator, Phase, Recording

_FILE = MAPPING_KINDS.index("file")
_NONE = Range.exact(0)


@dataclass(frozen=True)
class _Cleared:
    """A range of memory that the runtime clears.

    Attributes:
        operator: number of the operator that has it cleared; None: it happens between operators.
        size_bytes: its size.
        extra_bytes: what of it the kernel would not have cleared.
    """

    operator: int | None
    size_bytes: int
    extra_bytes: Range


def runtime_charges(
    recording: Recording,
    phase: Phase,
    runtime: Runtime,
    platform: Platform,
    built_bytes: int,
    *,
    threads: int = 1,
) -> list[Charge]:
    """What clearing and adding memory costs in a phase.

    - Memory cleared: in whole lengths, where the runtime does (``work.clears``). The lines written
      go through memory encryption if there are more of them than the last-level cache holds.
    - Pages of an enclave that is built at once: each is mapped into the process by a fault when it
      is first accessed, if only to be cleared. New pages are accessed as the mapped memory grows
      beyond what it was before. If the enclave does not fit the EPC, those that the program does
      not touch are loaded to be cleared; the first loads of the others are paging's.
    - Pages added to the running enclave: EAUG and EACCEPT; the faults of those that are added when
      memory is mapped are in the rules of the system calls.

    Args:
        recording: the recording.
        phase: the phase.
        runtime: the runtime.
        platform: the platform.
        built_bytes: pages that were added before the start, as `MemoryNeeds.built_bytes`.
        threads: threads that page at once.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
    """
    history = address_space(recording, phase.process)
    cleared = list(_cleared(recording, phase, history, runtime))
    charges = [
        Charge("runtime", "memory cleared", runtime.work.clear_byte_ns, size, operator)
        for operator, size in _by_operator(cleared).items()
    ]
    extra = sum((item.extra_bytes for item in cleared), _NONE)
    charges.append(_encryption(extra, platform))
    if runtime.memory.commits == "at_build":
        faults = _first_faults(phase, history, runtime, platform, built_bytes)
        charges += [faults, _loads_to_clear(extra, platform, built_bytes, threads)]
    else:
        charges += _added_pages(phase, history, runtime, platform)
    return [charge for charge in charges if charge.count.high > 0]


def _cleared(
    recording: Recording, phase: Phase, history: AddressSpaceHistory, runtime: Runtime
) -> Iterator[_Cleared]:
    operators = _Operators(recording, phase)
    for change in history.changes:
        event = change.event
        is_here = phase.start_position <= event.position < phase.end_position
        if is_here and event.action in runtime.work.clears:
            yield _Cleared(operators.at(event.position), event.size_bytes, _extra(change))


def _extra(change: Change) -> Range:
    size_bytes = change.event.size_bytes
    if change.event.action == "map" and change.event.state.kind == _FILE:
        # The kernel maps the pages of the file.
        return Range.exact(size_bytes)
    if change.touched_page_count is None:
        return Range(0, size_bytes, size_bytes)
    # Where it reaches beyond what is mapped, a range has more pages touched than cleared.
    least = max(size_bytes - change.touched_page_count * PAGE_BYTES, 0)
    return Range(least, least, size_bytes)


def _by_operator(cleared: list[_Cleared]) -> dict[int | None, Range]:
    found: dict[int | None, Range] = defaultdict(lambda: _NONE)
    for item in cleared:
        found[item.operator] += item.extra_bytes
    return found


def _encryption(extra_bytes: Range, platform: Platform) -> Charge:
    llc = platform.cache.llc_bytes
    lines = Range(
        extra_bytes.low / LINE_BYTES if extra_bytes.low > llc.high else 0,
        extra_bytes.likely / LINE_BYTES if extra_bytes.likely > llc.likely else 0,
        extra_bytes.high / LINE_BYTES if extra_bytes.high > llc.low else 0,
    )
    # It is the thread that maps that clears.
    sequential = platform.encryption.sequential_ns.at(1)
    return Charge("encryption", "lines cleared", sequential, lines)


def _fits(platform: Platform, built_bytes: int) -> tuple[bool, bool, bool]:
    """Whether an enclave fits the EPC, if that is the least, likely and most."""
    epc = platform.epc.usable_bytes
    return built_bytes <= epc.low, built_bytes <= epc.likely, built_bytes <= epc.high


def _first_faults(
    phase: Phase,
    history: AddressSpaceHistory,
    runtime: Runtime,
    platform: Platform,
    built_bytes: int,
) -> Charge:
    surely, likely, perhaps = _fits(platform, built_bytes)
    most = np.maximum.accumulate(history.mapped_bytes)
    new = _in_phase(history, phase, np.diff(most, prepend=0)) // PAGE_BYTES
    if runtime.work.preheats:
        new = 0
    # The kernel takes a fault for each page touched natively.
    least = max(new - _in_phase(history, phase, history.touched_page_count), 0)
    least = least if surely else 0
    count = Range(least, new if likely else least, new if perhaps else least)
    return Charge(
        "transitions", "first faults of enclave pages", platform.transitions.aex_ns, count
    )


def _loads_to_clear(
    extra_bytes: Range, platform: Platform, built_bytes: int, threads: int
) -> Charge:
    surely, likely, _ = _fits(platform, built_bytes)
    # Some of the pages may be in the EPC still.
    most = extra_bytes.likely / PAGE_BYTES
    count = Range(0, 0 if likely else most, 0 if surely else most)
    swap_ns = platform.paging.page_swap_ns.at(threads)
    return Charge("paging", "pages loaded to be cleared", swap_ns, count)


def _added_pages(
    phase: Phase, history: AddressSpaceHistory, runtime: Runtime, platform: Platform
) -> list[Charge]:
    if runtime.memory.commits == "at_map":
        mapped = sum(
            change.event.size_bytes // PAGE_BYTES
            for change in history.changes
            if change.event.action == "map"
            and not change.event.state.is_lazy
            and phase.start_position <= change.event.position < phase.end_position
        )
        touched = _in_phase(history, phase, history.lazy_touched_page_count)
        # The fault of the program, its delivery, and the fault of EACCEPT.
        faults = Range.exact(2 * touched)
        traps = Range.exact(touched)
    else:
        mapped, touched = 0, _in_phase(history, phase, history.touched_page_count)
        faults, traps = Range.exact(touched), Range.exact(touched)
    transitions = platform.transitions
    added = Range.exact(mapped + touched)
    return [
        Charge("runtime", "pages added to the enclave", runtime.work.commit_page_ns, added),
        Charge("transitions", "faults of pages added when touched", transitions.aex_ns, faults),
        Charge("transitions", "traps of pages added when touched", transitions.exception_ns, traps),
    ]


def _in_phase(history: AddressSpaceHistory, phase: Phase, counts: object) -> int:
    """The sum of what is counted in the intervals of a phase; 0: it is not known."""
    if counts is None:
        return 0
    chosen = (history.position >= phase.start_position) & (history.position < phase.end_position)
    return int(np.asarray(counts)[chosen].sum())


class _Operators:
    """Which operator of a phase runs at a position: the innermost."""

    def __init__(self, recording: Recording, phase: Phase) -> None:
        self._operators: dict[int, Operator] = {
            operator.number: operator
            for operator in recording.operators
            if (operator.process, operator.phase) == (phase.process, phase.index)
        }
        by_start = sorted(self._operators.values(), key=lambda o: (o.start_position, o.number))
        self._numbers = [operator.number for operator in by_start]
        self._starts = np.array([o.start_position for o in by_start], dtype=np.int64)

    def at(self, position: int) -> int | None:
        """The operator's number; None: there is none."""
        last = int(np.searchsorted(self._starts, position, "right")) - 1
        number = self._numbers[last] if last >= 0 else None
        while number is not None:
            operator = self._operators.get(number)
            if operator is None or position < operator.end_position:
                return number if operator else None
            number = operator.parent
        return None
