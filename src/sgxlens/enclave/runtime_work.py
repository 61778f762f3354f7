# SPDX-License-Identifier: Apache-2.0
"""What the runtime does in place of the kernel: it clears and adds memory, hashes files, copies.

The kernel clears memory too, page by page as the program first touches it, and that is in the
native time. So only what the runtime does beyond it is charged: what it clears in its whole length
although the program touches a part of it. A native page fault that an enclave does not take (a
block mapped again in memory that is there already) is not taken off the native time.

What threads do in the background is left out, since the phase does not wait for it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sgxlens.enclave.charges import Charge
from sgxlens.enclave.page_loads import fitting_page_count
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.stacks import inside_address_space
from sgxlens.enclave.system_calls.callers import background_threads, operator_finder
from sgxlens.enclave.transition_counts import count_transitions
from sgxlens.recording.format import LINE_BYTES, MAPPING_KINDS, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from sgxlens.enclave.files import FileKinds
    from sgxlens.enclave.mappings.history import AddressSpaceHistory, Change, Integers
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.enclave.transition_counts import TransitionRow
    from sgxlens.recording.reader import Phase, Recording

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
    files: FileKinds | None = None,
    threads: int = 1,
    replicas: int = 1,
    is_repeated: bool = False,
) -> list[Charge]:
    """What the runtime's own work costs in a phase.

    - Bytes hashed, encrypted and copied across the border, by the rules of the system calls.
    - Memory cleared: in whole lengths, where the runtime does (``work.clears``). The lines written
      go through memory encryption if there are more of them than the last-level cache holds.
    - Pages of an enclave that is built at once: each is mapped into the process by a fault when it
      is first accessed, if only to be cleared. New pages are accessed as the mapped memory grows
      beyond what it was before. If the enclave does not fit the EPC, those that the program does
      not touch are loaded to be cleared; the first loads of the others are paging's. Where a phase
      is repeated, those that it cleared the time before have likely stayed if all that it uses and
      clears fits.
    - Pages added to the running enclave: EAUG and EACCEPT; the faults of those that are added when
      memory is mapped are in the rules of the system calls. Where a phase is repeated, pages of
      memory that was mapped before are likely growth, which the times that follow do not have.

    Args:
        recording: the recording.
        phase: the phase.
        runtime: the runtime.
        platform: the platform.
        built_bytes: pages that were added before the start, as `MemoryNeeds.built_bytes`.
        files: what the user says of files.
        threads: threads of each enclave that page at once.
        replicas: enclaves that do the same at once and share the EPC.
        is_repeated: whether the phase is an inference that is repeated for ever.

    Raises:
        RecordingError: the recording holds no mappings, or is damaged.
        UsageError: a rule gives no number for a call.
    """
    counts = count_transitions(recording, platform, runtime, files)
    space = inside_address_space(recording, phase.process, runtime.memory)
    history = _foreground(recording, phase, space)
    cleared = list(_cleared(recording, phase, history, runtime))
    charges = [
        Charge("runtime", "bytes of memory cleared", runtime.work.clear_byte_ns, size, operator)
        for operator, size in _by_operator(cleared).items()
    ]
    extra = sum((item.extra_bytes for item in cleared), _NONE)
    charges.append(_encryption(extra, platform))
    if runtime.memory.commits == "at_build":
        fits = _fits(platform, built_bytes, replicas)
        charges.append(_first_faults(history, runtime, platform, fits))
        used = recording.footprint_blocks("page", phase.index, phase.process) * PAGE_BYTES
        if is_repeated and replicas * (used + extra.likely) <= platform.epc.usable_bytes.likely:
            fits = fits._replace(likely=True)  # what is used and cleared each time stays
        charges.append(_loads_to_clear(extra, platform, fits, threads, replicas))
    else:
        charges += _added_pages(history, runtime, platform, is_repeated=is_repeated)
    charges += _byte_charges(counts.of_phase(phase), runtime)
    return [charge for charge in charges if charge.count.high > 0]


def _byte_charges(rows: tuple[TransitionRow, ...], runtime: Runtime) -> list[Charge]:
    hashed: dict[int | None, Range] = defaultdict(lambda: _NONE)
    encrypted: dict[int | None, Range] = defaultdict(lambda: _NONE)
    copied: dict[int | None, Range] = defaultdict(lambda: _NONE)
    for row in rows:
        if not row.is_background:
            hashed[row.operator] += row.hashed_bytes
            encrypted[row.operator] += row.encrypted_bytes
            copied[row.operator] += row.copied_bytes
    work = runtime.work
    return [
        Charge("runtime", what, constant, count, operator)
        for what, constant, found in (
            ("bytes of files hashed", work.hash_byte_ns, hashed),
            ("bytes encrypted or decrypted", work.encrypt_byte_ns, encrypted),
            ("bytes copied across the border", work.copy_byte_ns, copied),
        )
        for operator, count in found.items()
    ]


@dataclass(frozen=True, eq=False)
class _Foreground:
    """What the threads that a phase waits for do with the address space.

    Attributes:
        history: what is done with it.
        chosen: the intervals of `history` that begin in the phase.
        is_background: those that begin with what other threads do.
        changes: the changes in the phase.
    """

    history: AddressSpaceHistory
    chosen: npt.NDArray[np.bool_]
    is_background: npt.NDArray[np.bool_]
    changes: tuple[Change, ...]

    def sum(self, counts: Integers | None) -> int:
        """The sum of what is counted in the intervals; 0: it is not known."""
        return 0 if counts is None else int(counts[self.chosen].sum())


def _foreground(recording: Recording, phase: Phase, history: AddressSpaceHistory) -> _Foreground:
    others = {t for process, t in background_threads(recording) if process == phase.process}
    start, end = phase.start_position, phase.end_position
    return _Foreground(
        history=history,
        chosen=(history.position >= start) & (history.position < end),
        is_background=np.isin(history.thread, list(others)),
        changes=tuple(
            change
            for change in history.changes
            if start <= change.event.position < end and change.event.thread not in others
        ),
    )


def _cleared(
    recording: Recording, phase: Phase, history: _Foreground, runtime: Runtime
) -> Iterator[_Cleared]:
    operators = operator_finder(recording)
    for change in history.changes:
        event = change.event
        if event.action in runtime.work.clears:
            operator = None
            if event.thread is not None:
                operator = operators.at(phase.process, event.thread, event.position)
            yield _Cleared(operator, event.size_bytes, _extra(change))


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


class _Fits(NamedTuple):
    """Whether all enclaves fit the EPC, if that is the least, likely and most."""

    surely: bool
    likely: bool
    perhaps: bool


def _fits(platform: Platform, built_bytes: int, replicas: int) -> _Fits:
    pages = fitting_page_count(-(-built_bytes // PAGE_BYTES), platform.epc.driver, replicas)
    epc = platform.epc.usable_bytes
    return _Fits(*(pages <= size // PAGE_BYTES for size in (epc.low, epc.likely, epc.high)))


def _first_faults(
    history: _Foreground, runtime: Runtime, platform: Platform, fits: _Fits
) -> Charge:
    most = np.maximum.accumulate(history.history.mapped_bytes)
    new_bytes = np.where(history.is_background, 0, np.diff(most, prepend=0))
    new = 0 if runtime.work.preheats else history.sum(new_bytes) // PAGE_BYTES
    touched = history.sum(history.history.touched_page_count)
    # What is not cleared when it is mapped may never be accessed.
    accessed = new if "map" in runtime.work.clears else min(new, touched)
    # The kernel takes a fault for each page touched natively.
    least = max(accessed - touched, 0) if fits.surely else 0
    count = Range(least, accessed if fits.likely else least, new if fits.perhaps else least)
    aex_ns = platform.transitions.aex_ns
    return Charge("transitions", "first faults of enclave pages", aex_ns, count)


def _loads_to_clear(
    extra_bytes: Range, platform: Platform, fits: _Fits, threads: int, replicas: int
) -> Charge:
    # Some of the pages may be in the EPC still. Replicas wait for each other's.
    most = replicas * extra_bytes.likely / PAGE_BYTES
    count = Range(0, 0 if fits.likely else most, 0 if fits.surely else most)
    swap_ns = platform.paging.page_swap(threads, replicas)
    return Charge("paging", "pages loaded to be cleared", swap_ns, count)


def _added_pages(
    history: _Foreground, runtime: Runtime, platform: Platform, *, is_repeated: bool
) -> list[Charge]:
    mapped, touched_page_count = 0, history.history.touched_page_count
    if runtime.memory.commits == "at_map":
        mapped = sum(
            change.event.size_bytes // PAGE_BYTES
            for change in history.changes
            if change.event.action == "map" and not change.event.state.is_lazy
        )
        touched_page_count = history.history.lazy_touched_page_count
    most = history.sum(touched_page_count)
    touched = most
    if is_repeated:
        # Pages that were mapped before and not used until now are growth: the inferences that
        # follow have them, unless memory is mapped, or discarded, anew in each.
        anew = (c.touched_page_count or 0 for c in history.changes if c.event.action != "unmap")
        touched = min(sum(anew), most)
    asked = Range(touched, touched, most)
    added = Range.exact(mapped) + asked
    transitions = platform.transitions
    # A page touched faults twice: the kernel adds it at the first fault; the second one, for it is
    # not accepted yet, is delivered to the runtime, and its AEX is in what an exception costs.
    return [
        Charge("runtime", "pages added to the enclave", runtime.work.commit_page_ns, added),
        Charge("transitions", "faults of pages added when touched", transitions.aex_ns, asked),
        Charge("transitions", "traps of pages added when touched", transitions.exception_ns, asked),
    ]
