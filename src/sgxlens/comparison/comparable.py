# SPDX-License-Identifier: Apache-2.0
"""Which recordings can be compared, and what one must know of those that can."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.metadata import RecordingMetadata
    from sgxlens.recording.reader import Phase, Recording

#: Medians of fewer samples say nothing of how far they can be trusted.
_SAMPLES_MIN = 5
_NUMBER = re.compile(r"\s*\d+\Z")


@dataclass(frozen=True, eq=False)
class Subject:
    """One of the recordings.

    Attributes:
        label: ``A``, ``B`` and so on.
        recording: the recording.
        phase: the steady inference.
        native_seconds: its native time, if one was given.
    """

    label: str
    recording: Recording
    phase: Phase
    native_seconds: float | None

    @property
    def metadata(self) -> RecordingMetadata:
        """What the recording says of itself."""
        return self.recording.metadata

    @property
    def has_time(self) -> bool:
        """Whether there is a native time to predict from."""
        return self.native_seconds is not None or self.recording.native is not None


def check_comparable(baseline: Subject, other: Subject, *, is_phase_given: bool) -> None:
    """Refuses two recordings whose differences would not be those of the programs.

    Raises:
        UsageError: they cannot be compared; the message says why.
    """
    reason = next(_reasons(baseline, other, is_phase_given=is_phase_given), None)
    if reason is not None:
        raise UsageError(
            f"cannot compare {other.recording.path} with {baseline.recording.path}: {reason}"
        )


def _reasons(baseline: Subject, other: Subject, *, is_phase_given: bool) -> Iterator[str]:
    first, second = baseline.metadata, other.metadata
    versions = (first.schema_version, second.schema_version)
    if versions[0] != versions[1]:
        yield (
            f"their schema versions are {versions[1]} and {versions[0]}, and an older one lacks"
            " facts; record the program again"
        )
    rates = (first.settings.sampling_rate, second.settings.sampling_rate)
    if rates[0] != rates[1]:
        yield (
            f"{_rate(rates[1])} and {_rate(rates[0])}: estimates differ from exact numbers by their"
            " errors; record both with the same --sampling-rate"
        )
    isas = (first.tracer.isa, second.tracer.isa)
    if isas[0] != isas[1]:
        # Libraries choose kernels by it. The difference would be one of tracers, not of programs:
        # natively both run with whatever the processor has.
        yield (
            f"the tracer showed the instruction sets {isas[1]} and {isas[0]} to them, for which"
            " libraries have different kernels; record both with the same"
        )
    if not is_phase_given and _stem(baseline.phase.name) != _stem(other.phase.name):
        yield (
            f"phase {other.phase.name!r} is no counterpart of {baseline.phase.name!r}; give --phase"
            " for each of them, in their order"
        )
    if baseline.has_time != other.has_time:
        lacking = other if baseline.has_time else baseline
        yield (
            f"{lacking.recording.path} has no native times and the other has: record it again"
            " without --no-native, or give --native-time for each of them, in their order"
        )
    hosts = [_host(subject) for subject in (baseline, other)]
    if None not in hosts and hosts[0] != hosts[1]:
        yield (
            f"their native times are of different hosts ({hosts[1]}; {hosts[0]}); take them on one"
            " (sgxlens time), or give --native-time for each of them, in their order"
        )


def _rate(rate: float) -> str:
    return "exact" if rate == 1 else f"sampled at a rate of {rate:g}"


def _stem(name: str) -> str:
    return _NUMBER.sub("", name).lower()


def _host(subject: Subject) -> str | None:
    native = subject.metadata.native
    if subject.native_seconds is not None or native is None:
        return None
    return f"{native.host.cpu}, {native.host.cores} cores"


def differences(subjects: Sequence[Subject], predictions: Sequence[Prediction]) -> Iterator[str]:
    """What one must know of recordings that are compared, one sentence each.

    Args:
        subjects: the recordings.
        predictions: what each would cost; none where nothing is predicted.
    """
    threads = [one.deployment.threads for one in predictions]
    if len(set(threads)) > 1:
        named = ", ".join(f"{s.label} {count}" for s, count in zip(subjects, threads, strict=True))
        # A question that users have; but what threads do is modelled more coarsely than the rest.
        yield (
            f"The numbers of threads differ ({named}): what changes is theirs, too. The tracer lets"
            " one run at a time, and prices of parallel regions and of page loads by threads are"
            " taken as independent."
        )
    marks = [s.metadata.settings.start_at_mark for s in subjects]
    if len(set(marks)) > 1:
        yield "They start at different marks: what was touched before counts as cold."
    tools = [(s.metadata.tracer.valgrind, s.metadata.sgxlens_version) for s in subjects]
    if len(set(tools)) > 1:
        listed = ", ".join(
            f"{s.label} sgxlens {version} on Valgrind {valgrind}"
            for s, (valgrind, version) in zip(subjects, tools, strict=True)
        )
        yield f"They were recorded by different versions: {listed}."
    kinds = [s.metadata.target.kind for s in subjects]
    if len(set(kinds)) > 1:
        listed = ", ".join(f"{s.label} {k}" for s, k in zip(subjects, kinds, strict=True))
        yield (
            f"They are of different kinds ({listed}): operators mean different things, and the"
            " start-up is of different programs."
        )
    for subject in subjects:
        yield from _own(subject)
    for subject, prediction in zip(subjects, predictions, strict=False):
        native = prediction.steady.native
        if native.source == "recorded" and native.sample_count < _SAMPLES_MIN:
            yield (
                f"The native time of {subject.label} was taken {native.sample_count} times: how far"
                " it can be trusted is not known."
            )


def _own(subject: Subject) -> Iterator[str]:
    outcome = subject.metadata.outcome
    if not outcome.is_clean:
        reason = outcome.message or outcome.status
        yield f"{subject.label} is not of a clean run: {reason}."
    native = subject.metadata.native
    if native is None or subject.native_seconds is not None:
        return
    for note in native.notes:
        yield f"{subject.label}: {note}."


def batch_sizes(subjects: Sequence[Subject]) -> list[int | None]:
    """How many samples one inference of each recording is of; None: not known.

    It is the first dimension of all inputs, where they agree on it. It is known only of recordings
    of models whose inputs are those of the baseline but for this dimension, and of the baseline if
    there is one; else a first dimension may mean anything.
    """
    shapes = [_input_shapes(subject.metadata) for subject in subjects]
    rests = [None if of is None else [(name, shape[1:]) for name, shape in of] for of in shapes]
    baseline = rests[0]
    is_alike = [baseline is not None and rest == baseline for rest in rests]
    if not any(is_alike[1:]):
        return [None] * len(subjects)
    firsts = [{shape[0] for _, shape in of or ()} for of in shapes]
    return [
        next(iter(of)) if alike and len(of) == 1 else None
        for of, alike in zip(firsts, is_alike, strict=True)
    ]


def sample_count(metadata: RecordingMetadata) -> int | None:
    """How many samples one inference of a model likely is of; None: not known.

    It is the first dimension of all inputs, where they agree on it; of one recording alone it is
    not certain that this is the batch.
    """
    firsts = {shape[0] for _, shape in _input_shapes(metadata) or ()}
    return next(iter(firsts)) if len(firsts) == 1 else None


def _input_shapes(metadata: RecordingMetadata) -> list[tuple[str, tuple[int, ...]]] | None:
    inputs = getattr(metadata.target, "inputs", None)
    if not isinstance(inputs, list) or not inputs:
        return None
    found = []
    for item in inputs:
        shape = item.get("shape") if isinstance(item, dict) else None
        if not isinstance(shape, list) or not shape:
            return None
        if not all(isinstance(size, int) and size > 0 for size in shape):
            return None
        found.append((str(item.get("name", "")), tuple(shape)))
    return found
