# SPDX-License-Identifier: Apache-2.0
"""`verify`: applies advice to a copy, records it, and says what that saves beside what was said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgxlens.advice.advice import Advice, Gain, GainOf, Verified
from sgxlens.advice.advise import situation_of
from sgxlens.advice.modification import verification_folder
from sgxlens.advice.telemetry import is_beside_telemetry, telemetry_of, without_telemetry
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime
from sgxlens.errors import SgxlensError, UsageError
from sgxlens.prediction.evaluation import Evaluation
from sgxlens.prediction.predict import evaluate
from sgxlens.prediction.ranges import added_seconds, difference_seconds
from sgxlens.verification.chance import as_before, is_seldom_load, is_waiting
from sgxlens.verification.original import original_of
from sgxlens.verification.paired_times import (
    STEADY_SPREAD,
    inference_ratio,
    startup_ratio,
    turn_spread,
)
from sgxlens.verification.plan import Plan, plan_of
from sgxlens.verification.preparation import (
    Prepared,
    alone_in,
    prepare,
    prepared_before,
    time_again,
)
from sgxlens.verification.recorder import finished, jobs_for, record_all

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from sgxlens.advice.advise import Advisory
    from sgxlens.advice.modification import Modification
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge
    from sgxlens.recording.reader import Recording

BY_A_PERSON = "nothing that a machine can change: follow the steps, and record the program so"
OF_THE_RUNTIME = (
    "it changes the runtime or its settings, not the program: the prediction is of this recording,"
    " and a new one would say the same"
)


@dataclass(frozen=True)
class Variant:
    """A changed program and its recording.

    Attributes:
        plan: what it is.
        prepared: its native times and outputs.
        recording: its recording.
        was_there: that was made before.
    """

    plan: Plan
    prepared: Prepared
    recording: Recording
    was_there: bool


def verify(
    situation: Situation,
    advisory: Advisory,
    *,
    folder: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    tolerance: float | None = None,
    only_finished: bool = False,
    native_again: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Advisory:
    """Apply each piece of advice to a copy of the recorded program, where a machine can.

    The changed program is timed natively in turns with the recorded one, recorded, and predicted
    for the same platform, runtime and settings. Advice for which that fails stays predicted, and
    says why.

    Args:
        situation: the recording where and as it would run.
        advisory: its advice.
        folder: where the changed programs and their recordings are kept, one folder each; what is
            finished there is used again. None: the recording's name with ``.verify`` after it.
        jobs: recordings at once; None: as many as memory and processors allow.
        tolerance: of outputs, as a share of their largest magnitude in a sample; None: 1e-4, or
            what the transformation of the model says.
        only_finished: take what was verified before, and make nothing.
        native_again: take native times anew, also of what is finished.
        on_progress: called a few times a second with what is being done.

    Raises:
        UsageError: the recorded program is not there any more, or was changed.
    """
    if only_finished and not _base(situation.recording, folder).is_dir():
        return advisory
    wanted = {
        index: row.advice.modification
        for index, row in enumerate(advisory.advice)
        if row.advice.modification is not None and row.advice.modification.needs_recording
    }
    if not wanted:
        return _with(advisory, {})
    variants, reasons = make_variants(
        situation.recording,
        list(wanted.values()),
        folder=folder,
        jobs=jobs,
        tolerance=tolerance,
        only_finished=only_finished,
        native_again=native_again,
        on_progress=on_progress,
    )
    found: dict[int, Verified | str] = {}
    for place, (index, modification) in enumerate(wanted.items()):
        variant = variants[place]
        if variant is None:
            found[index] = reasons[place]
            continue
        on_progress(f"predicting {variant.plan.name}")
        try:
            found[index] = verified(situation, advisory.advice[index].advice, modification, variant)
        except SgxlensError as error:
            found[index] = error.message
    return _with(advisory, found)


def make_variants(
    recording: Recording,
    modifications: Sequence[Modification],
    *,
    folder: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    tolerance: float | None = None,
    only_finished: bool = False,
    native_again: bool = False,
    refusal: Callable[[Plan, Prepared], str] = lambda _, __: "",
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Variant | None], list[str]]:
    """Make and record the program as each of `modifications` changes it.

    Native times are taken first, one after the other; then the recordings are made side by side.
    Arguments are those of `verify`, and `refusal`: why one that is ready is not recorded; empty: it
    is.

    Returns:
        The variants, None where one could not be made; and why not, empty where it was made.

    Raises:
        UsageError: the recorded program is not there any more, or was changed.
    """
    original = original_of(recording)
    base = _base(recording, folder)
    plans: list[Plan | None] = []
    reasons = [""] * len(modifications)
    for index, modification in enumerate(modifications):
        try:
            plans.append(plan_of(original, modification, tolerance))
        except SgxlensError as error:
            plans.append(None)
            reasons[index] = error.message
    with nullcontext() if only_finished else alone_in(base):
        take = _finished if only_finished else time_again if native_again else prepare
        prepared, failures = _prepared(plans, base, take, on_progress)
        for plan in plans:
            place = base if plan is None else base / plan.name
            if (
                plan is not None
                and place in prepared
                and (reason := refusal(plan, prepared[place]))
            ):
                failures[place] = reason
                del prepared[place]
        there = {place for place in prepared if finished(place) is not None}
        missing = [(place.name, place) for place in prepared if place not in there]
        if missing:
            at_once = jobs_for(recording) if jobs is None else jobs
            failures |= record_all(missing, jobs=at_once, on_progress=on_progress)
    variants: list[Variant | None] = []
    for index, plan in enumerate(plans):
        place = base / plan.name if plan is not None else base
        found = finished(place) if plan is not None and place not in failures else None
        if plan is None or found is None:
            reasons[index] = reasons[index] or failures.get(place, "its recording is gone")
            variants.append(None)
        else:
            variants.append(Variant(plan, prepared[place], found, place in there))
    return variants, reasons


def _base(recording: Recording, folder: str | os.PathLike[str] | None) -> Path:
    return verification_folder(recording.path) if folder is None else Path(folder)


def _finished(plan: Plan, folder: Path, _: Callable[[str], None]) -> Prepared:
    """As `prepare`, of what was recorded before."""
    found = prepared_before(plan, folder) if finished(folder) is not None else None
    if found is None:
        raise UsageError("it was not recorded yet: see sgxlens advise --verify")
    return found


def _prepared(
    plans: Sequence[Plan | None],
    base: Path,
    take: Callable[[Plan, Path, Callable[[str], None]], Prepared],
    on_progress: Callable[[str], None],
) -> tuple[dict[Path, Prepared], dict[Path, str]]:
    prepared: dict[Path, Prepared] = {}
    failures: dict[Path, str] = {}
    for plan in plans:
        if plan is None or base / plan.name in (*prepared, *failures):
            continue
        name = plan.name
        try:
            prepared[base / name] = take(plan, base / name, _naming(name, on_progress))
        except SgxlensError as error:
            failures[base / name] = error.message
    return prepared, failures


def _naming(name: str, on_progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda doing: on_progress(f"{name}: {doing}")


def verified(
    situation: Situation, advice: Advice, modification: Modification, variant: Variant
) -> Verified:
    """What the recording of a variant says of a piece of advice.

    Raises:
        SgxlensError: it cannot be predicted.
    """
    wanted = [gain.of for gain in advice.gains]
    gains = verified_gains(situation, modification, variant, wanted)
    inside = tuple(
        one.saved.low <= other.saved.likely <= one.saved.high
        for one, other in zip(advice.gains, gains, strict=True)
    )
    prepared = variant.prepared
    notes = [*variant.plan.original.notes, *prepared.after.notes]
    spread = turn_spread(prepared.before, prepared.after, situation.phase.name)
    if spread > STEADY_SPREAD:
        notes.append(
            f"native times are not steady: a quarter of the turns took {spread:.1f} times as long"
            " as another quarter, or longer; on an idle machine, `--native-again` takes them anew"
        )
    outputs = prepared.outputs
    if outputs is None:
        notes.append("outputs were not compared: what the program puts out is its own")
    return Verified(
        gains=tuple(gains),
        inside=inside,
        native_ratio=native_ratio(situation, variant),
        native_spread=spread,
        outputs=outputs,
        recording=str(variant.recording.path),
        was_there=variant.was_there,
        notes=tuple(notes),
    )


def native_ratio(situation: Situation, variant: Variant) -> Range:
    """Native time of a variant's inference over that of the recorded one, for as many samples.

    Raises:
        TargetError: a run has no such phase.
    """
    prepared = variant.prepared
    found = inference_ratio(prepared.before, prepared.after, situation.phase.name)
    return found.scaled(1 / variant.plan.factor)


def verified_gains(
    situation: Situation, modification: Modification, variant: Variant, wanted: Sequence[GainOf]
) -> list[Gain]:
    """What a variant saves of each that is wanted, by its recording.

    Raises:
        SgxlensError: it cannot be predicted.
    """
    of_whole = {"memory": _memory_gain, "startup": _startup_gain}
    whole = None
    if not of_whole.keys().isdisjoint(wanted):
        whole = _whole(situation, modification, variant)
    return [
        _inference_gain(situation, modification, variant, of)
        if whole is None or of not in of_whole
        else of_whole[of](situation, variant, *whole)
        for of in wanted
    ]


def _whole(
    situation: Situation, modification: Modification, variant: Variant
) -> tuple[Evaluation, Evaluation]:
    """The recorded program and the changed one, to compare all of their memory.

    Both are without threads of telemetry, where the change leaves those alone.
    """
    if not is_beside_telemetry(modification):
        return situation.evaluation, evaluated(situation, modification, variant, None)
    process = situation.phase.process
    calm = without_telemetry(situation.recording, process)
    recording = without_telemetry(variant.recording, process)
    return (
        situation.evaluation if calm is situation.recording else situation.again(recording=calm),
        evaluated(situation, modification, replace(variant, recording=recording), None),
    )


def _inference_gain(
    situation: Situation, modification: Modification, variant: Variant, of: GainOf
) -> Gain:
    """What the steady inference (of a batch: each that it stands for) saves.

    Natively it takes as much longer or shorter than what the situation has as it did in the turns.
    """
    steady = situation.prediction.steady
    native = steady.native.median_seconds
    weight = 1 / variant.plan.factor
    ratio = native_ratio(situation, variant)
    before = situation.evaluation.steady
    after = evaluated(situation, modification, variant, native * ratio.likely / weight).steady
    # Samples of a batch share such pages.
    if variant.plan.factor == 1 and _has_telemetry(situation, variant):
        after = tuple(as_before(before, after, is_seldom_load))
    share = 1 / (variant.plan.original.sample_count or 1) if of == "sample" else 1.0
    return Gain(
        of=of,
        before=steady.sgx_seconds.scaled(share),
        after=_above(ratio.scaled(native), added_seconds(after).scaled(weight)).scaled(share),
        saved=_saved(before, after, native, ratio, weight).scaled(share),
    )


def _has_telemetry(situation: Situation, variant: Variant) -> bool:
    process = situation.phase.process
    recordings = (situation.recording, variant.recording)
    return any(telemetry_of(recording, process) is not None for recording in recordings)


def _startup_gain(
    situation: Situation, variant: Variant, before: Evaluation, after: Evaluation
) -> Gain:
    ratio = startup_ratio(variant.prepared.before, variant.prepared.after)
    startup = situation.prediction.startup
    native = startup.native_seconds
    left = as_before(before.startup, after.startup, is_waiting)
    return Gain(
        of="startup",
        before=Range.exact(native) + added_seconds(before.startup),
        after=ratio.scaled(native) + added_seconds(left),
        saved=_saved(before.startup, left, native, ratio, 1.0),
    ).beside(startup.total_seconds)


def _memory_gain(situation: Situation, _: Variant, one: Evaluation, other: Evaluation) -> Gain:
    before, after = one.sizing.total_bytes, other.sizing.total_bytes
    # What the runtime needs itself is uncertain alike on both sides.
    ends = sorted(
        one - other
        for one, other in (
            (before.low, after.low), (before.likely, after.likely), (before.high, after.high)
        )
    )  # fmt: skip
    saved = Range(ends[0], before.likely - after.likely, ends[2])
    return Gain("memory", before, after, saved).beside(situation.prediction.sizing.total_bytes)


def _saved(
    before: Sequence[Charge], after: Sequence[Charge], native: float, ratio: Range, weight: float
) -> Range:
    measured = Range(*(native * (1 - value) for value in (ratio.high, ratio.likely, ratio.low)))
    return difference_seconds(after, before, before_weight=weight, measured=measured)


def evaluated(
    situation: Situation,
    modification: Modification,
    variant: Variant,
    native_seconds: float | None,
) -> Evaluation:
    """The prediction of a variant where the recorded program would run."""
    return evaluate(
        variant.recording,
        situation.platform,
        situation.runtime if modification.runtime is None else load_runtime(modification.runtime),
        replace(situation.settings, **_settings(situation, modification, variant)),
        phase=_phase(situation, variant),
        native_seconds=native_seconds,
    )


def situation_of_variant(
    situation: Situation, modification: Modification, variant: Variant
) -> Situation:
    """A variant where the recorded program would run, for further advice.

    Raises:
        SgxlensError: it cannot be predicted.
    """
    settings = replace(situation.settings, **_settings(situation, modification, variant))
    return situation_of(
        variant.recording,
        situation.platform,
        situation.runtime if modification.runtime is None else modification.runtime,
        phase=_phase(situation, variant),
        **{field.name: getattr(settings, field.name) for field in fields(settings)
           if field.name not in ("epc", "llc")},
    )  # fmt: skip


def _phase(situation: Situation, variant: Variant) -> str | int:
    name = situation.phase.name
    same = [phase for phase in variant.recording.phases if phase.name == name]
    return name if len(same) == 1 else situation.phase.index


def _settings(
    situation: Situation, modification: Modification, variant: Variant
) -> Mapping[str, Any]:
    settings: dict[str, Any] = dict(modification.settings)
    if "threads" not in settings and "intra_op_threads" in modification.session:
        settings["threads"] = modification.session["intra_op_threads"]
    # The platform has them already.
    settings |= {"epc": None, "llc": None}
    # A pattern that is the model's path is of its changed copy, too.
    target: dict[str, Any] = variant.recording.metadata.target.model_dump()
    original = situation.recording.metadata.target.model_dump()
    if "model" in target and target["model"] != original.get("model"):
        old = str(Path(original["model"]).absolute())
        new = str(Path(target["model"]).absolute())
        for kind in ("trusted", "allowed", "encrypted"):
            patterns = settings.get(kind, getattr(situation.settings, kind))
            settings[kind] = tuple(new if p == old else p for p in patterns)
    return settings


def _with(advisory: Advisory, found: Mapping[int, Verified | str]) -> Advisory:
    rows = []
    for index, row in enumerate(advisory.advice):
        advice = row.advice
        result = found.get(index)
        if isinstance(result, Verified):
            changed = replace(advice, state="verified", verified=result)
        elif advice.modification is None:
            changed = replace(advice, unverified=BY_A_PERSON)
        else:
            changed = replace(advice, unverified=result or OF_THE_RUNTIME)
        rows.append(replace(row, advice=changed))
    return replace(advisory, advice=tuple(rows))


def _above(base: Range, added: Range) -> Range:
    return base + added
