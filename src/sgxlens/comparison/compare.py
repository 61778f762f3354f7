# SPDX-License-Identifier: Apache-2.0
"""`compare`: from several recordings to what changed between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, TypeVar

from sgxlens.attribution.facts import has_attribution
from sgxlens.attribution.operators import operator_table
from sgxlens.comparison.comparable import Subject, batch_sizes, check_comparable, differences
from sgxlens.comparison.facts import fact_changes
from sgxlens.comparison.model import Changes, Comparison, Side
from sgxlens.comparison.times import time_changes
from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.runtime import load_runtime
from sgxlens.errors import UsageError
from sgxlens.prediction.inputs import chosen_phase
from sgxlens.prediction.predict import DEFAULT_RUNTIME, Settings, evaluate
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.comparison.model import FactChanges
    from sgxlens.enclave.epc import EpcPolicy
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.prediction.evaluation import Evaluation

#: Labels of recordings are letters, and more than a few side by side can be read by nobody.
RECORDINGS_MAX: Final = 16
_NOT_PREDICTED = "Nothing is predicted: "

Value = TypeVar("Value")


def compare(
    recordings: Sequence[Recording | str | os.PathLike[str]],
    platform: Platform | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str] = DEFAULT_RUNTIME,
    *,
    phase: int | str | Sequence[int | str] | None = None,
    native_seconds: Sequence[float] | None = None,
    epc: int | str | None = None,
    llc: int | str | None = None,
    threads: int | None = None,
    enclave_size: int | str | None = None,
    replicas: int = 1,
    policy: EpcPolicy | None = None,
    trusted: Sequence[str] = (),
    allowed: Sequence[str] = (),
    encrypted: Sequence[str] = (),
) -> Comparison:
    """What changed between recordings, on one platform and under one runtime.

    Args:
        recordings: the recordings, or their folders; the first is what the others are compared
            with.
        platform: the platform, as for `sgxlens.predict`.
        runtime: the runtime, as for `sgxlens.predict`.
        phase: index or name of the phase that counts as the steady inference, of all recordings or
            one for each (an index may be text); None: as `sgxlens.predict` chooses.
        native_seconds: native time of the steady inference of each recording, all measured on one
            machine; None: as recorded.
        epc: this and what follows is the same for all recordings, and as for `sgxlens.predict`.
        llc: size of the last-level cache.
        threads: threads that work at once.
        enclave_size: size of the enclave.
        replicas: enclaves that share the EPC.
        policy: which pages leave the EPC.
        trusted: patterns of files that the manifest hashes.
        allowed: patterns of files that are used on the host as they are.
        encrypted: patterns of files that the runtime seals.

    Raises:
        UsageError: an argument makes no sense, or the recordings cannot be compared: the message
            says why.
        RecordingError: a recording is damaged, or lacks what a prediction needs.
    """
    settings = Settings(
        epc=epc,
        llc=llc,
        threads=threads,
        enclave_size=enclave_size,
        replicas=replicas,
        policy=policy,
        trusted=trusted,
        allowed=allowed,
        encrypted=encrypted,
    )
    return Comparer(recordings, phase, native_seconds).on(platform, runtime, settings)


class Comparer:
    """Recordings that can be compared; what is no matter of platforms is worked out once.

    Args:
        recordings: as for `compare`.
        phase: as for `compare`.
        native_seconds: as for `compare`.

    Raises:
        UsageError: they cannot be compared, or an argument makes no sense.
        RecordingError: a recording is damaged.
    """

    def __init__(
        self,
        recordings: Sequence[Recording | str | os.PathLike[str]],
        phase: int | str | Sequence[int | str] | None = None,
        native_seconds: Sequence[float] | None = None,
    ) -> None:
        if isinstance(recordings, (str, os.PathLike, Recording)) or len(recordings) < 2:
            raise UsageError("nothing to compare with: give two recordings or more")
        if len(recordings) > RECORDINGS_MAX:
            raise UsageError(f"{len(recordings)} recordings: at most {RECORDINGS_MAX} are compared")
        count = len(recordings)
        phases = _phases(phase, count)
        natives: Sequence[float | None] = [None] * count
        if native_seconds is not None:
            natives = _one_each(native_seconds, count, "native times")
        self.subjects = tuple(
            _subject(index, *parts)
            for index, parts in enumerate(zip(recordings, phases, natives, strict=True))
        )
        for other in self.subjects[1:]:
            check_comparable(self.subjects[0], other, is_phase_given=phase is not None)
        self.batch_sizes = batch_sizes(self.subjects)
        self.no_times = self._no_times()
        self._facts: list[FactChanges] = []

    def on(
        self,
        platform: Platform | str | os.PathLike[str],
        runtime: Runtime | str | os.PathLike[str],
        settings: Settings,
    ) -> Comparison:
        """The comparison on one platform.

        Raises:
            UsageError: an argument makes no sense.
            RecordingError: a recording is damaged, or lacks what a prediction needs.
        """
        place = (
            platform if not isinstance(platform, (str, os.PathLike)) else load_platform(platform)
        )
        inside = runtime if not isinstance(runtime, (str, os.PathLike)) else load_runtime(runtime)
        found: list[Evaluation] = []
        if not self.no_times:
            found = [
                evaluate(
                    subject.recording,
                    place,
                    inside,
                    settings,
                    phase=subject.phase,
                    native_seconds=subject.native_seconds,
                )
                for subject in self.subjects
            ]
        predictions = [one.prediction for one in found]
        return Comparison(
            deployment=found[0].prediction.deployment if found else None,
            sides=tuple(self._sides(found)),
            changes=tuple(self._changes(found)),
            no_times=self.no_times,
            warnings=tuple(differences(self.subjects, predictions)),
        )

    def _no_times(self) -> str:
        first = self.subjects[0]
        if first.metadata.settings.sampling_rate < 1:
            return f"{_NOT_PREDICTED}the recordings are sampled, and lack what that needs."
        if not first.has_time:
            return f"{_NOT_PREDICTED}the recordings have no native times."
        return ""

    def _sides(self, found: Sequence[Evaluation]) -> list[Side]:
        return [
            Side(
                label=subject.label,
                recording=str(subject.recording.path),
                target=_target(subject),
                process=subject.phase.process,
                phase=subject.phase.index,
                phase_name=subject.phase.name,
                batch_size=batch_size,
                isa=subject.metadata.tracer.isa,
                prediction=found[index].prediction if found else None,
            )
            for index, (subject, batch_size) in enumerate(
                zip(self.subjects, self.batch_sizes, strict=True)
            )
        ]

    def _changes(self, found: Sequence[Evaluation]) -> list[Changes]:
        first = self.subjects[0]
        if not self._facts:
            self._facts = [
                fact_changes((first.recording, first.phase), (other.recording, other.phase))
                for other in self.subjects[1:]
            ]
        footprints = [_footprints(subject) for subject in self.subjects] if found else []
        rows = []
        for index, subject in enumerate(self.subjects[1:], 1):
            sizes = (self.batch_sizes[0], self.batch_sizes[index])
            is_known = sizes[0] is not None and sizes[1] is not None and sizes[0] != sizes[1]
            times = (
                time_changes(
                    found[0],
                    found[index],
                    (footprints[0], footprints[index]),
                    (sizes[0] or 1, sizes[1] or 1) if is_known else None,
                )
                if found
                else None
            )
            rows.append(Changes(subject.label, times, self._facts[index - 1]))
        return rows


def _phases(
    given: int | str | Sequence[int | str] | None, count: int
) -> Sequence[int | str | None]:
    if given is None or isinstance(given, (int, str)):
        return [given] * count
    return list(given) * count if len(given) == 1 else _one_each(given, count, "phases")


def _one_each(given: Sequence[Value], count: int, what: str) -> Sequence[Value]:
    if len(given) != count:
        raise UsageError(f"{len(given)} {what} for {count} recordings: give one for each")
    return given


def _subject(
    index: int,
    recording: Recording | str | os.PathLike[str],
    phase: int | str | None,
    native_seconds: float | None,
) -> Subject:
    opened = recording if isinstance(recording, Recording) else open_recording(recording)
    return Subject(chr(ord("A") + index), opened, chosen_phase(opened, phase), native_seconds)


def _target(subject: Subject) -> str:
    target = subject.metadata.target
    model = getattr(target, "model", None)
    name = PurePath(str(model)).name if model else " ".join(subject.metadata.command)
    return one_line(f"{target.kind}: {name}", 200)


def _footprints(subject: Subject) -> dict[int, int]:
    """Bytes of the pages that each operator of the phase touches, by its number."""
    if not has_attribution(subject.recording):
        return {}
    rows = operator_table(subject.recording, subject.phase).rows
    return {r.operator.number: r.page.footprint_bytes for r in rows if r.operator is not None}
