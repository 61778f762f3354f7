# SPDX-License-Identifier: Apache-2.0
"""`advise`: what to change, ranked by what it likely saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sgxlens.advice.advice import CHANGES, Advice, Declined
from sgxlens.advice.registry import BrokenRule, Rule, chosen_rules
from sgxlens.advice.situation import Situation
from sgxlens.enclave.files import FileKinds
from sgxlens.enclave.platform import Platform, load_platform
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.extensions import problem_of
from sgxlens.prediction.inputs import chosen_phase, opened
from sgxlens.prediction.predict import DEFAULT_RUNTIME, Settings, evaluate
from sgxlens.prediction.result import Prediction
from sgxlens.units import parse_size

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from sgxlens.recording.reader import Recording


@dataclass(frozen=True)
class RankedAdvice:
    """A piece of advice, and the rule that it is from."""

    rule: str
    advice: Advice


@dataclass(frozen=True)
class Silence:
    """A rule that has no advice, and why."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Advisory:
    """All advice for one recording on one platform, in one runtime.

    Gains are each of one change alone: two that shorten the same thing do not add up.

    Attributes:
        prediction: what it is like now.
        advice: what to change: first what shortens the inference, then what shortens the start,
            then what only makes the enclave smaller. Of each, what leaves the outputs and the
            machine as they are comes first, then what changes outputs, then what takes another
            machine or kernel; and then the largest gain.
        silent: rules that have no advice, and why.
        broken: rules that could not be asked.
    """

    prediction: Prediction
    advice: tuple[RankedAdvice, ...]
    silent: tuple[Silence, ...]
    broken: tuple[BrokenRule, ...]


def advise(
    recording: Recording | str | os.PathLike[str],
    platform: Platform | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str] = DEFAULT_RUNTIME,
    *,
    phase: int | str | None = None,
    native_seconds: float | None = None,
    epc: int | str | None = None,
    llc: int | str | None = None,
    only: Sequence[str] = (),
    **settings: Any,
) -> Advisory:
    """What to change so that a recorded program gets faster inside an enclave.

    Args:
        recording: the recording, or its folder.
        platform: the platform, its name or the file that describes it.
        runtime: the runtime, its name or the file that describes it.
        phase: as for `sgxlens.predict`, and so are all that follow.
        native_seconds: native time of the steady inference on the machine that counts.
        epc: size of the EPC.
        llc: size of the last-level cache.
        only: names of the rules that are asked; none: all.
        settings: ``threads``, ``enclave_size``, ``replicas``, ``policy``, ``trusted``, ``allowed``
            and ``encrypted``.

    Raises:
        UsageError: an argument makes no sense, or contradicts another or the recording.
        RecordingError: the recording is damaged, or lacks what a prediction needs.
    """
    found, broken = chosen_rules(only)
    situation = situation_of(
        recording,
        platform,
        runtime,
        phase=phase,
        native_seconds=native_seconds,
        epc=epc,
        llc=llc,
        **settings,
    )
    return asked_all(situation, found, broken)


def situation_of(
    recording: Recording | str | os.PathLike[str],
    platform: Platform | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str] = DEFAULT_RUNTIME,
    *,
    phase: int | str | None = None,
    native_seconds: float | None = None,
    epc: int | str | None = None,
    llc: int | str | None = None,
    **settings: Any,
) -> Situation:
    """What rules see; arguments and errors as of `advise`."""
    source = opened(recording)
    place = platform if isinstance(platform, Platform) else load_platform(platform)
    # Once for all: a rule may ask for a third size.
    place = place.overridden(epc_bytes=_size(epc), llc_bytes=_size(llc))
    inside = runtime if isinstance(runtime, Runtime) else load_runtime(runtime)
    asked = Settings(**settings)
    steady = chosen_phase(source, phase)
    return Situation(
        recording=source,
        platform=place,
        runtime=inside,
        settings=asked,
        phase=steady,
        native_seconds=native_seconds,
        files=FileKinds(tuple(asked.trusted), tuple(asked.allowed), tuple(asked.encrypted)),
        evaluation=evaluate(
            source, place, inside, asked, phase=steady, native_seconds=native_seconds
        ),
    )


def asked_all(
    situation: Situation, found: Sequence[Rule], broken: Sequence[BrokenRule] = ()
) -> Advisory:
    """The answers of all rules; of one that raises, what it raised."""
    ranked: list[RankedAdvice] = []
    silent: list[Silence] = []
    failed = list(broken)
    for rule in found:
        try:
            answer = rule.find(situation)
            if isinstance(answer, Declined):
                silent.append(Silence(rule.name, answer.reason))
                continue
            ranked += [RankedAdvice(rule.name, _checked(advice)) for advice in answer]
        except Exception as error:  # noqa: BLE001 - one rule must not silence the others
            failed.append(BrokenRule(rule.name, problem_of(error)))
    ranked.sort(key=lambda one: _rank(one.advice))
    return Advisory(situation.prediction, tuple(ranked), tuple(silent), tuple(failed))


def _checked(advice: Advice) -> Advice:
    if not isinstance(advice, Advice) or not advice.gains:
        raise TypeError("a rule should return advice with at least one gain")
    return advice


def _rank(advice: Advice) -> tuple[int, int, float]:
    first = advice.gains[0]
    place = {"startup": 1, "memory": 2}.get(first.of, 0)
    return place, CHANGES.index(advice.changes), -first.share


def _size(size: int | str | None) -> int | None:
    return parse_size(size) if isinstance(size, str) else size
