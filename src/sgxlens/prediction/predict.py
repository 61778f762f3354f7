# SPDX-License-Identifier: Apache-2.0
"""`predict`: from a recording, a platform and a runtime to times inside an enclave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sgxlens.enclave.encryption import encryption_charges
from sgxlens.enclave.files import FileKinds
from sgxlens.enclave.paging import paging_charges
from sgxlens.enclave.platform import Platform, load_platform
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.enclave.runtime_work import runtime_charges
from sgxlens.enclave.startup import startup_charges
from sgxlens.enclave.transitions import count_transitions, transition_charges
from sgxlens.errors import UsageError
from sgxlens.prediction.compose import compose, compute_charges
from sgxlens.prediction.exits import exits
from sgxlens.prediction.inputs import chosen_phase, native_basis, opened, thread_count
from sgxlens.prediction.limits import not_modelled, notes, warnings
from sgxlens.prediction.native import NativeTimes
from sgxlens.prediction.paging import (
    OVERHEADS_PERCENT,
    Enclaves,
    epc_needs,
    standing_loads,
)
from sgxlens.prediction.result import Deployment, Prediction
from sgxlens.prediction.sizing import sizing
from sgxlens.prediction.startup import phases_to_first_result, startup_time
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.units import parse_size

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from sgxlens.enclave.charges import Charge
    from sgxlens.enclave.epc import EpcPolicy
    from sgxlens.prediction.model import PhaseTime
    from sgxlens.recording.reader import Operator, Phase, Recording

DEFAULT_RUNTIME: Final = "gramine"


@dataclass(frozen=True)
class Settings:
    """What is asked for beside the recording, the platform and the runtime; as for `predict`."""

    epc: int | str | None = None
    llc: int | str | None = None
    threads: int | None = None
    enclave_size: int | str | None = None
    replicas: int = 1
    policy: EpcPolicy | None = None
    overheads_percent: Sequence[float] = OVERHEADS_PERCENT
    trusted: Sequence[str] = ()
    allowed: Sequence[str] = ()
    encrypted: Sequence[str] = ()


@dataclass(frozen=True)
class Evaluation:
    """A prediction, and what its times are made of.

    Attributes:
        prediction: the prediction.
        charges: those of each of its phases, by the index of the phase.
        startup: those of everything from the start of the enclave to its first result.
    """

    prediction: Prediction
    charges: Mapping[int, Sequence[Charge]]
    startup: tuple[Charge, ...]

    @property
    def steady(self) -> Sequence[Charge]:
        """The charges of the steady inference."""
        return self.charges[self.prediction.steady.phase]


def predict(
    recording: Recording | str | os.PathLike[str],
    platform: Platform | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str] = DEFAULT_RUNTIME,
    *,
    phase: int | str | None = None,
    epc: int | str | None = None,
    llc: int | str | None = None,
    threads: int | None = None,
    native_seconds: float | None = None,
    enclave_size: int | str | None = None,
    replicas: int = 1,
    policy: EpcPolicy | None = None,
    overheads_percent: Sequence[float] = OVERHEADS_PERCENT,
    trusted: Sequence[str] = (),
    allowed: Sequence[str] = (),
    encrypted: Sequence[str] = (),
) -> Prediction:
    """What a recorded program would cost inside an enclave.

    Every count comes from the recording, every constant from the platform and the runtime; nothing
    is extrapolated from a smaller model or another input.

    Args:
        recording: the recording, or its folder.
        platform: the platform, its name (see `sgxlens platforms`) or the file that describes it.
        runtime: the runtime, its name or the file that describes it.
        phase: index or name of the phase that counts as the steady inference; None: the last
            inference, else the longest phase after the start.
        epc: size of the EPC that enclaves can use, in bytes or as in ``"64M"``; None: the
            platform's.
        llc: size of the last-level cache, as `epc`.
        threads: threads that work at once; None: as recorded.
        native_seconds: native time of the steady inference on the machine that counts; None: as
            recorded. With it, only that phase is predicted: the recorded times of the others are
            of another machine.
        enclave_size: size of the enclave, as `epc`; None: the least that is enough.
        replicas: enclaves of this program that run at once and share the EPC.
        policy: which pages leave the EPC, see `sgxlens.enclave.epc`; None: as the platform's driver
            does it.
        overheads_percent: overheads of paging that the EPC is told for.
        trusted: patterns of absolute paths of files that the manifest hashes, as for
            `sgxlens.enclave.files.FileKinds`.
        allowed: the same of files that are used on the host as they are.
        encrypted: the same of files that the runtime seals. Files that no pattern is of are what
            the runtime takes them for.

    Raises:
        UsageError: an argument makes no sense, or contradicts another or the recording.
        RecordingError: the recording is damaged, or lacks what a prediction needs.
    """
    settings = Settings(
        epc=epc,
        llc=llc,
        threads=threads,
        enclave_size=enclave_size,
        replicas=replicas,
        policy=policy,
        overheads_percent=overheads_percent,
        trusted=trusted,
        allowed=allowed,
        encrypted=encrypted,
    )
    found = evaluate(
        recording, platform, runtime, settings, phase=phase, native_seconds=native_seconds
    )
    return found.prediction


def evaluate(
    recording: Recording | str | os.PathLike[str],
    platform: Platform | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str],
    settings: Settings,
    *,
    phase: Phase | int | str | None = None,
    native_seconds: float | None = None,
) -> Evaluation:
    """A prediction, as of `predict`, with the charges that it was made of.

    Raises:
        UsageError: an argument makes no sense, or contradicts another or the recording.
        RecordingError: the recording is damaged, or lacks what a prediction needs.
    """
    source = opened(recording)
    place = _platform(platform, settings.epc, settings.llc)
    inside = runtime if isinstance(runtime, Runtime) else load_runtime(runtime)
    if native_seconds is not None and not 0 < native_seconds < float("inf"):
        raise UsageError(f"a native time of {native_seconds} s: give one of more than nothing")
    steady = chosen_phase(source, phase)
    natives = NativeTimes(source, steady, native_seconds)
    native_basis(source, natives, steady)
    count = thread_count(
        source, steady, settings.threads, native_is_given=native_seconds is not None
    )
    size = sizing(source, steady, inside, count, _size(settings.enclave_size))
    enclaves = Enclaves(
        # What the runtime itself uses all the time is little, and not known: see `limits`.
        fixed_page_count=0,
        committed_page_count=-(-size.added_page_bytes // PAGE_BYTES),
        threads=count,
        replicas=settings.replicas,
        policy=settings.policy,
    )
    to_first_result = phases_to_first_result(source.phases, steady)
    files = FileKinds(tuple(settings.trusted), tuple(settings.allowed), tuple(settings.encrypted))
    model = _Model(
        recording=source,
        platform=place,
        runtime=inside,
        enclaves=enclaves,
        files=files,
        natives=natives,
        built_bytes=size.built_bytes,
        repeated=None if to_first_result[-1] == steady else steady,
    )
    build = startup_charges(place, inside, size.built_bytes)
    of_process = [p for p in source.phases if p.process == steady.process and p.line_access_count]
    times: dict[Phase, PhaseTime] = {}
    charges: dict[Phase, Sequence[Charge]] = {}
    for one in of_process:
        if natives.of_phase(one) is not None:
            times[one], charges[one] = model.time(one)
    counts = count_transitions(source, place, inside, files)
    prediction = Prediction(
        recording=str(source.path),
        deployment=Deployment(
            platform=place.name,
            platform_title=place.title,
            generation=place.generation,
            runtime=inside.name,
            runtime_title=inside.title,
            epc_bytes=place.epc.usable_bytes.range,
            llc_bytes=place.cache.llc_bytes.range,
            threads=count,
            replicas=settings.replicas,
            policy=settings.policy,
        ),
        steady=times[steady],
        phases=tuple(times.values()),
        startup=startup_time(build, to_first_result, times, charges),
        sizing=size,
        epc=epc_needs(
            source,
            steady,
            place,
            enclaves,
            commits=inside.memory.commits,
            is_repeated=model.repeated is not None,
            native_seconds=times[steady].native.median_seconds,
            overheads_percent=settings.overheads_percent,
        ),
        exits=exits(counts, steady),
        not_modelled=not_modelled(source, place, count, settings.replicas),
        warnings=warnings(source, place, times[steady]),
        notes=notes(place, inside, counts),
    )
    return Evaluation(
        prediction,
        {one.index: found for one, found in charges.items()},
        (*build, *(charge for one in to_first_result if one in charges for charge in charges[one])),
    )


@dataclass(frozen=True, eq=False)
class _Model:
    """All that an enclave adds to the phases of one recording.

    ``repeated`` is the steady inference, if it is not the first run of the model.
    """

    recording: Recording
    platform: Platform
    runtime: Runtime
    enclaves: Enclaves
    files: FileKinds
    natives: NativeTimes
    built_bytes: int
    repeated: Phase | None

    def time(self, phase: Phase) -> tuple[PhaseTime, list[Charge]]:
        """The time of a phase that has a native one, and what it was made of."""
        basis = native_basis(self.recording, self.natives, phase)
        operators = self._operators(phase)
        native = self.natives.of_operators(phase, basis, operators)
        found = [
            *compute_charges(self.platform.compute.slowdown, basis, native),
            *transition_charges(
                self.recording,
                phase,
                self.platform,
                self.runtime,
                self.files,
                threads=self.enclaves.threads,
                native_seconds=basis.median_seconds,
            ),
            *encryption_charges(
                self.recording, phase, self.platform, threads=self.enclaves.threads
            ),
            *self._paging(phase),
            *runtime_charges(
                self.recording,
                phase,
                self.runtime,
                self.platform,
                self.built_bytes,
                files=self.files,
                threads=self.enclaves.threads,
                replicas=self.enclaves.replicas,
                is_repeated=phase == self.repeated,
            ),
        ]
        charges = [charge for charge in found if charge.count.high > 0]
        return compose(phase, basis, charges, operators, native), charges

    def _paging(self, phase: Phase) -> list[Charge]:
        """Pages loaded."""
        enclaves = self.enclaves
        charges = paging_charges(
            self.recording,
            phase,
            self.platform,
            fixed_page_count=enclaves.fixed_page_count,
            committed_page_count=enclaves.committed_page_count,
            threads=enclaves.threads,
            policy=enclaves.policy,
            replicas=enclaves.replicas,
        )
        return standing_loads(
            charges, self.runtime.memory.commits, is_repeated=phase == self.repeated
        )

    def _operators(self, phase: Phase) -> list[Operator]:
        return [
            operator
            for operator in self.recording.operators
            if (operator.process, operator.phase) == (phase.process, phase.index)
        ]


def _platform(
    platform: Platform | str | os.PathLike[str], epc: int | str | None, llc: int | str | None
) -> Platform:
    found = platform if isinstance(platform, Platform) else load_platform(platform)
    return found.overridden(epc_bytes=_size(epc), llc_bytes=_size(llc))


def _size(size: int | str | None) -> int | None:
    return parse_size(size) if isinstance(size, str) else size
