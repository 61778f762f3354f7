# SPDX-License-Identifier: Apache-2.0
"""A prediction of which only that is computed which is asked for.

Who looks for what a change would save asks of each change a few charges, not all of a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sgxlens.enclave.charges import Charge
from sgxlens.enclave.encryption import encryption_charges
from sgxlens.enclave.paging import paging_charges
from sgxlens.enclave.runtime_work import runtime_charges
from sgxlens.enclave.startup import startup_charges
from sgxlens.enclave.transitions import count_transitions, transition_charges
from sgxlens.prediction.compose import compose, compute_charges
from sgxlens.prediction.exits import exits
from sgxlens.prediction.inputs import native_basis
from sgxlens.prediction.limits import not_modelled, notes, warnings
from sgxlens.prediction.paging import epc_needs, epc_simulated_ahead, standing_loads
from sgxlens.prediction.result import Deployment, Prediction
from sgxlens.prediction.startup import phases_to_first_result, startup_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.enclave.files import FileKinds
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.prediction.model import PhaseTime, StartupTime
    from sgxlens.prediction.native import NativeTimes
    from sgxlens.prediction.paging import Enclaves
    from sgxlens.prediction.sizing import Sizing
    from sgxlens.recording.reader import Phase, Recording


@dataclass(frozen=True, eq=False)
class Model:
    """What the time of a phase inside depends on, beside the phase.

    Attributes:
        recording: the recording.
        platform: the platform, with an EPC or cache that was asked for.
        runtime: the runtime.
        enclaves: what paging must know of the enclaves.
        files: what the user says of files.
        natives: the native times.
        built_bytes: pages that are added before the program starts.
        repeated: the steady inference, if it is not the first run of the model.
    """

    recording: Recording
    platform: Platform
    runtime: Runtime
    enclaves: Enclaves
    files: FileKinds
    natives: NativeTimes
    built_bytes: int
    repeated: Phase | None


class PhaseInside:
    """All that an enclave adds to a phase that has a native time, which is `native`."""

    def __init__(self, model: Model, phase: Phase) -> None:
        self._model = model
        self._phase = phase
        self.native = native_basis(model.recording, model.natives, phase)
        where = (phase.process, phase.index)
        self._operators = [o for o in model.recording.operators if (o.process, o.phase) == where]

    @cached_property
    def _operator_seconds(self) -> dict[int, float]:
        return self._model.natives.of_operators(self._phase, self.native, self._operators)

    @cached_property
    def time(self) -> PhaseTime:
        """Its time inside."""
        return compose(
            self._phase, self.native, self.charges, self._operators, self._operator_seconds
        )

    @cached_property
    def charges(self) -> list[Charge]:
        """What that is made of."""
        model, phase = self._model, self._phase
        found = [
            *compute_charges(model.platform.compute.slowdown, self.native, self._operator_seconds),
            *transition_charges(
                model.recording,
                phase,
                model.platform,
                model.runtime,
                model.files,
                threads=model.enclaves.threads,
                native_seconds=self.native.median_seconds,
            ),
            *encryption_charges(
                model.recording, phase, model.platform, threads=model.enclaves.threads
            ),
            *self._paging(),
            *runtime_charges(
                model.recording,
                phase,
                model.runtime,
                model.platform,
                model.built_bytes,
                files=model.files,
                threads=model.enclaves.threads,
                replicas=model.enclaves.replicas,
                is_repeated=phase == model.repeated,
            ),
        ]
        return [charge for charge in found if charge.count.high > 0]

    def _paging(self) -> list[Charge]:
        """Pages loaded."""
        model = self._model
        enclaves = model.enclaves
        charges = paging_charges(
            model.recording,
            self._phase,
            model.platform,
            fixed_page_count=enclaves.fixed_page_count,
            committed_page_count=enclaves.committed_page_count,
            threads=enclaves.threads,
            policy=enclaves.policy,
            replicas=enclaves.replicas,
        )
        return standing_loads(
            charges, model.runtime.memory.commits, is_repeated=self._phase == model.repeated
        )


class _Charges(Mapping[int, Sequence[Charge]]):
    """Charges by the index of the phase."""

    def __init__(self, inside: Mapping[Phase, PhaseInside]) -> None:
        self._inside = {phase.index: one for phase, one in inside.items()}

    def __getitem__(self, index: int) -> Sequence[Charge]:
        return self._inside[index].charges

    def __iter__(self) -> Iterator[int]:
        return iter(self._inside)

    def __len__(self) -> int:
        return len(self._inside)


class Evaluation:
    """A prediction, and what its times are made of.

    Attributes:
        sizing: how large the enclave must be.
        charges: those of each of its phases, by the index of the phase.

    Raises:
        UsageError: what is asked for makes no sense.
        RecordingError: the recording is damaged, or lacks what a prediction needs.
    """

    def __init__(
        self,
        *,
        recording: Recording,
        platform: Platform,
        runtime: Runtime,
        steady: Phase,
        natives: NativeTimes,
        sizing: Sizing,
        enclaves: Enclaves,
        files: FileKinds,
        overheads_percent: Sequence[float],
    ) -> None:
        self.sizing = sizing
        self._steady = steady
        self._overheads_percent = overheads_percent
        self._to_first_result = phases_to_first_result(recording.phases, steady)
        self._model = Model(
            recording=recording,
            platform=platform,
            runtime=runtime,
            enclaves=enclaves,
            files=files,
            natives=natives,
            built_bytes=sizing.built_bytes,
            repeated=None if self._to_first_result[-1] == steady else steady,
        )
        self._build = startup_charges(platform, runtime, sizing.built_bytes)
        self._inside = {
            phase: PhaseInside(self._model, phase)
            for phase in recording.phases
            if phase.process == steady.process
            and phase.line_access_count
            and natives.of_phase(phase) is not None
        }
        self.charges: Mapping[int, Sequence[Charge]] = _Charges(self._inside)
        # What makes no sense makes none of any phase: it is found here.
        _ = self.steady

    @property
    def steady(self) -> Sequence[Charge]:
        """The charges of the steady inference."""
        return self._inside[self._steady].charges

    @property
    def steady_time(self) -> PhaseTime:
        """The time of the steady inference inside."""
        return self._inside[self._steady].time

    @cached_property
    def startup(self) -> tuple[Charge, ...]:
        """The charges of everything from the start of the enclave to its first result."""
        inside = self._inside_to_first_result.values()
        return (*self._build, *(charge for one in inside for charge in one.charges))

    @property
    def _inside_to_first_result(self) -> dict[Phase, PhaseInside]:
        inside = self._inside
        return {phase: inside[phase] for phase in self._to_first_result if phase in inside}

    @cached_property
    def startup_time(self) -> StartupTime:
        """The time from the start of the enclave to its first result."""
        return startup_time(
            self._build,
            self._to_first_result,
            {phase: one.native for phase, one in self._inside_to_first_result.items()},
            {phase: one.charges for phase, one in self._inside_to_first_result.items()},
        )

    @cached_property
    def prediction(self) -> Prediction:
        """All of the prediction."""
        model = self._model
        with epc_simulated_ahead(model.recording, self._steady, model.platform, model.enclaves):
            return self._composed()

    def _composed(self) -> Prediction:
        model = self._model
        recording, platform, runtime = model.recording, model.platform, model.runtime
        threads, replicas = model.enclaves.threads, model.enclaves.replicas
        times = {phase: one.time for phase, one in self._inside.items()}
        steady = times[self._steady]
        counts = count_transitions(recording, platform, runtime, model.files)
        return Prediction(
            recording=str(recording.path),
            deployment=Deployment(
                platform=platform.name,
                platform_title=platform.title,
                generation=platform.generation,
                runtime=runtime.name,
                runtime_title=runtime.title,
                epc_bytes=platform.epc.usable_bytes.range,
                llc_bytes=platform.cache.llc_bytes.range,
                threads=threads,
                replicas=replicas,
                policy=model.enclaves.policy,
            ),
            steady=steady,
            phases=tuple(times.values()),
            startup=self.startup_time,
            sizing=self.sizing,
            epc=epc_needs(
                recording,
                self._steady,
                platform,
                model.enclaves,
                commits=runtime.memory.commits,
                is_repeated=model.repeated is not None,
                native_seconds=steady.native.median_seconds,
                overheads_percent=self._overheads_percent,
            ),
            exits=exits(counts, self._steady),
            not_modelled=not_modelled(recording, platform, threads, replicas),
            warnings=warnings(recording, platform, steady),
            notes=notes(platform, runtime, counts),
        )
