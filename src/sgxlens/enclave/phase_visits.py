# SPDX-License-Identifier: Apache-2.0
"""The page visits of a process and its phases, with what was simulated of them.

All of it is of the recording, and serves every platform, size of EPC and policy: it is found once.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import cached_property
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sgxlens._native import NativeEpcVisitsError
from sgxlens.attribution.columns import rows_of
from sgxlens.attribution.facts import FACT_TABLES, PhaseFacts, facts_of
from sgxlens.enclave.epc import EpcPolicy, EpcSimulation, SimulationStoppedError, processor_count
from sgxlens.enclave.visited_pages import visited_pages
from sgxlens.errors import RecordingError
from sgxlens.recording.bitmaps import popcount
from sgxlens.recording.distinct import Places, distinct_values
from sgxlens.recording.phase_names import is_inference, is_warm_up
from sgxlens.recording.read_ahead import LARGEST
from sgxlens.recording.region_map import NO_REGION
from sgxlens.reuse.page_visits import PageVisits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from sgxlens.enclave.epc import Counts, EpcRun
    from sgxlens.enclave.page_loads import LoadKey
    from sgxlens.recording.bitmaps import Integers
    from sgxlens.recording.reader import Phase, Recording

_NO_ROLE = -1
#: Simulations with all events that are kept: of the least, likely and most EPC of a platform.
_RUNS_MAX = 3


class Simulation(NamedTuple):
    """What is simulated; ``counted``: for ``pinned`` the visits that count, else None."""

    policy: EpcPolicy
    capacity_pages: int
    replicas: int
    counted: tuple[int, int] | None


class ProcessVisits:
    """The page visits of a process.

    Attributes:
        page: number of the page of each visit.
        context: number of the context of each visit.
        phase: index of the phase of each visit.
        pages: numbers of the pages, in the order of their first visits.
        first_visit: for each of `pages` the number of its first visit.
    """

    def __init__(self, recording: Recording, facts: PhaseFacts, filter_page_count: int) -> None:
        rows = rows_of(recording, "page_visits", facts.phase.process, LARGEST["page_visits"])
        visits = PageVisits.from_rows(rows, filter_page_count)
        self.context = rows["context"].to_numpy()
        self.phase = facts.phases_of(self.context)
        try:
            self._simulation = EpcSimulation(visits, self.phase)
        except NativeEpcVisitsError as error:
            raise facts.corrupted("page_visits", str(error)) from error
        self.page = visits.page
        self.pages = self._simulation.pages
        order = np.argsort(self.pages)
        self.first_visit = np.empty(self.pages.size, dtype=np.int64)
        self.first_visit[order] = visited_pages(recording, facts.phase.process).first
        self._runs: dict[Simulation, EpcRun] = {}

    def capacity_min(self, policy: EpcPolicy, replicas: int) -> int:
        """Pages of the smallest EPC that can be simulated."""
        return self._simulation.capacity_min(policy, replicas)

    def sweep(self, simulations: Sequence[Simulation], **options: Any) -> list[EpcRun]:
        """Simulations that differ in their capacity only; `options` as of `EpcSimulation.sweep`."""
        first = simulations[0]
        return self._simulation.sweep(
            first.policy,
            [one.capacity_pages for one in simulations],
            replicas=first.replicas,
            counted=None if first.counted is None else slice(*first.counted),
            **options,
        )

    def runs(self, simulations: Sequence[Simulation]) -> list[EpcRun]:
        """The same with their events; they are kept of the last few, which phases share."""
        missing = [one for one in simulations if one not in self._runs]
        found = {one: self._runs[one] for one in simulations if one in self._runs}
        if missing:
            runs = self.sweep(missing, keep_events=True)
            found |= dict(zip(missing, runs, strict=True))
            self._runs = dict([*self._runs.items(), *found.items()][-_RUNS_MAX:])
        return [found[one] for one in simulations]


class LoadCounts(NamedTuple):
    """Pages loaded in a phase, and how many of them the phase that it repeats used, too."""

    all: int
    used_before: int


class PhaseVisits:
    """The page visits of one phase.

    Attributes:
        facts: the phase.
        process: the visits of its process.
        repeats: the inference or warm-up just before, where the phase is an inference; None: it is
            not.
        loads: what a simulation loads in the phase, by key.
    """

    def __init__(
        self, facts: PhaseFacts, process: ProcessVisits, repeats: PhaseFacts | None
    ) -> None:
        self.facts = facts
        self.process = process
        self.repeats = repeats
        self.loads: dict[Simulation, Mapping[LoadKey, int]] = {}
        self._load_counts: dict[Simulation, LoadCounts] = {}
        self._simulating = Lock()

    def load_counts(self, simulations: Sequence[Simulation], **options: Any) -> list[LoadCounts]:
        """What is loaded in the phase in simulations that differ in their capacity only.

        It waits for one of them that is made ahead; `options` are those of `EpcSimulation.sweep`.
        """
        with self._simulating:
            missing = [one for one in simulations if one not in self._load_counts]
            if missing:
                marked = None if self.repeats is None else self.was_used
                runs = self.process.sweep(missing, marked=marked, **options)
                for one, run in zip(missing, runs, strict=True):
                    self._load_counts[one] = LoadCounts(
                        *(self._here(counts) for counts in (run.load_count, run.marked_load_count))
                    )
            return [self._load_counts[one] for one in simulations]

    @contextmanager
    def simulated_ahead(self, sweeps: Sequence[Sequence[Simulation]]) -> Iterator[None]:
        """Makes simulations for `load_counts` beside what is done meanwhile, and stops at its end.

        Each of `sweeps` is of simulations that differ in their capacity only.
        """
        processors = processor_count()
        if processors < 2:
            yield
            return
        _ = self.was_used  # the thread has only to simulate
        is_over = Event()

        def simulate() -> None:
            # What cannot be simulated is told when it is asked for.
            with suppress(SimulationStoppedError, ValueError, MemoryError):
                for sweep in sweeps:
                    if is_over.is_set():
                        break
                    self.load_counts(sweep, threads=processors - 1, is_stopped=is_over.is_set)

        thread = Thread(target=simulate, name="sgxlens-simulations")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _here(self, by_phase: Counts) -> int:
        index = self.facts.phase.index
        return int(by_phase[index]) if index < by_phase.size else 0

    def simulation(self, policy: EpcPolicy, capacity_pages: int, replicas: int) -> Simulation:
        """What is simulated for the phase."""
        if policy == "out_of_tree" and replicas == 1:
            # One list for all enclaves, and one for each, are the same for one.
            policy = "linux"
        counted = self.bounds if policy == "pinned" else None
        return Simulation(policy, capacity_pages, replicas, counted)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """The first visit of the phase, and the one after the last."""
        here = np.flatnonzero(self.process.phase == self.facts.phase.index)
        return (int(here[0]), int(here[-1]) + 1) if here.size else (0, 0)

    @cached_property
    def new_page_count(self) -> int:
        """Pages that the phase is the first to use."""
        process = self.process
        return int((process.phase[process.first_visit] == self.facts.phase.index).sum())

    @cached_property
    def was_used(self) -> npt.NDArray[np.bool_]:
        """For each page of the process, whether `repeats` used it."""
        pages = self.process.pages
        if self.repeats is None:
            return np.zeros(pages.size, dtype=bool)
        return np.isin(pages, self.repeats.pages)

    def context_index(self, visit: Integers) -> Integers:
        """For each visit, by its number, the index of its context in the phase."""
        return self.facts.context_index(self.process.context[visit])

    def roles(self, context: Integers, page: Integers) -> Integers:
        """For each page the role of most of the lines that its context uses of it.

        One that is loaded again in its visit may be used in other contexts only: all of the phase.

        Args:
            context: indices of contexts.
            page: indices into `ProcessVisits.pages`.

        Returns:
            Indices as in `PhaseFacts.roles`.
        """
        facts, index = self.facts, self._page_index[page]
        if not facts.use_pieces.use.size:
            return np.full(page.size, facts.roles[1][NO_REGION])
        uses = self._places_of_uses.of(self._use_key_of(context, index))
        roles = np.append(self._use_roles, _NO_ROLE)[uses]
        is_elsewhere = roles < 0
        if is_elsewhere.any():
            roles[is_elsewhere] = self._roles_in_phase[index[is_elsewhere]]
        return roles

    @cached_property
    def _page_index(self) -> Integers:
        """For each page of the process its index in the phase; beyond the last one: not used."""
        pages, mine = self.process.pages, self.facts.pages
        index = np.searchsorted(mine, pages)
        index[np.append(mine, 0)[index] != pages] = mine.size
        return index

    @cached_property
    def _places_of_uses(self) -> Places:
        """Where uses are, by their context and page in one number."""
        uses = self.facts.uses
        return Places(self._use_key_of(uses.context, uses.page))

    @cached_property
    def _use_roles(self) -> Integers:
        """For each use the role of most of its lines."""
        facts = self.facts
        pieces, (_, role_of) = facts.use_pieces, facts.roles
        found = np.full(facts.uses.context.size, _NO_ROLE)
        found[pieces.use] = role_of[pieces.region]
        # Few uses are of several pieces, which follow each other.
        is_again = np.diff(pieces.use, prepend=-1) == 0
        several = np.flatnonzero(is_again | np.append(is_again[1:], [False]))
        if several.size:
            keys, roles = self._main_roles(pieces.use[several], several)
            found[keys] = roles
        return found

    def _use_key_of(self, context: Integers, page_index: Integers) -> Integers:
        # A page that the phase does not use comes after the last one.
        return context * (self.facts.pages.size + 1) + page_index

    @cached_property
    def _roles_in_phase(self) -> Integers:
        """For each page of the phase, and last for one that it does not use, the role."""
        facts = self.facts
        pages, roles = self._main_roles(facts.uses.page[facts.use_pieces.use], slice(None))
        found = np.full(facts.pages.size + 1, facts.roles[1][NO_REGION])
        found[pages] = roles
        return found

    def _main_roles(self, key: Integers, pieces: Integers | slice) -> tuple[Integers, Integers]:
        """By the key of some pieces, ascending, the role that most of their lines have."""
        names, role_of = self.facts.roles
        all_pieces = self.facts.use_pieces
        # Most keys have one role: a table of all keys and roles would be mostly empty.
        found = distinct_values(key * len(names) + role_of[all_pieces.region[pieces]])
        line_count = popcount(all_pieces.lines[pieces])
        lines = np.bincount(found.index, line_count, found.values.size)
        of_pair, role = np.divmod(found.values.astype(np.int64), len(names))
        starts = np.flatnonzero(np.diff(of_pair, prepend=-1))
        keys = of_pair[starts]
        most = np.repeat(np.maximum.reduceat(lines, starts), np.diff(starts, append=of_pair.size))
        # Of roles with as many lines, the first: what is written last stays.
        is_main = np.flatnonzero(lines == most)[::-1]
        main = np.empty(keys.size, dtype=np.int64)
        main[np.searchsorted(keys, of_pair[is_main])] = role[is_main]
        return keys, main


def phase_visits(recording: Recording, facts: PhaseFacts) -> PhaseVisits:
    """The page visits of a phase.

    Raises:
        RecordingError: the recording has no page visits, or is damaged.
    """
    phase = facts.phase
    filter_page_count = recording.metadata.settings.visit_page_count
    if not recording.has_table("page_visits") or filter_page_count is None:
        raise RecordingError(
            f"{recording.path} has no page visits, from which paging is told: record it again with"
            " this version of sgxlens, and without sampling"
        )
    tables = ("page_visits", *FACT_TABLES)
    process = recording.derived(
        (ProcessVisits, phase.process),
        lambda: ProcessVisits(recording, facts, filter_page_count),
        tables,
    )
    before = _repeated_phase(recording, phase)
    repeats = None if before is None else facts_of(recording, before)
    return recording.derived(
        (PhaseVisits, phase), lambda: PhaseVisits(facts, process, repeats), tables
    )


def _repeated_phase(recording: Recording, phase: Phase) -> Phase | None:
    """The inference or warm-up that came just before a phase that is an inference; None: none."""
    if not is_inference(phase.name):
        return None
    for other in recording.select_phases(None, phase.process):
        if other.index == phase.index - 1 and (is_inference(other.name) or is_warm_up(other.name)):
            return other
    return None
