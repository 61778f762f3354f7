# SPDX-License-Identifier: Apache-2.0
"""`optimize`: from a model to a folder that can be deployed, and is proved to be faster inside."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import sgxlens
from sgxlens.advice.advise import situation_of
from sgxlens.advice.modification import Modification
from sgxlens.configuration.linting.lint import lint
from sgxlens.configuration.manifest import manifest
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.errors import TargetError, UsageError
from sgxlens.optimization.deployment import (
    check_output,
    model_of,
    new_folder,
    write_program,
)
from sgxlens.optimization.laboratory import RecordingLaboratory
from sgxlens.optimization.limits import DEFAULT_MAX_BATCH, PERMISSIONS, Limits, Permission
from sgxlens.optimization.proof import proved
from sgxlens.optimization.report import write_report
from sgxlens.optimization.result import CauseTimes, Optimization
from sgxlens.optimization.search import Found, Standing, search
from sgxlens.prediction.predict import DEFAULT_RUNTIME
from sgxlens.recording.metadata import file_info, printable
from sgxlens.recording.session import DEFAULT_LINE_USE_INTERVAL
from sgxlens.recording.targets.choose import MODEL_SUFFIXES
from sgxlens.recording.targets.onnx_session import session_settings
from sgxlens.verification.preparation import INPUTS, compared_inputs
from sgxlens.verification.recorder import finished, record_all
from sgxlens.verification.verifying import Variant, evaluated
from sgxlens.verification.worker import JOB_FILE

if TYPE_CHECKING:
    import os

    from sgxlens.enclave.platform import Platform
    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.reader import Recording

DEFAULT_RECORDINGS = 8
#: The program as it is, one change, and what is written.
_LEAST_RECORDINGS = 3
_MARKER = "optimize.json"
_BASELINE, _VARIANTS, _PROOF = "baseline", "variants", "proof"
_FAMILIES = {"gramine": "app.manifest.template", "occlum": "Occlum.fragment.json"}


def optimize(
    model: str | os.PathLike[str],
    platform: Platform | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    runtime: Runtime | str | os.PathLike[str] = DEFAULT_RUNTIME,
    recordings: int = DEFAULT_RECORDINGS,
    tolerance: float | None = None,
    max_batch: int = DEFAULT_MAX_BATCH,
    is_exact: bool = False,
    permissions: Sequence[Permission] = (),
    work_folder: str | os.PathLike[str] | None = None,
    force: bool = False,
    epc: int | str | None = None,
    llc: int | str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
    **model_options: Any,
) -> Optimization:
    """Search for changes that make a model faster inside an enclave; write what can be deployed.

    The model is recorded as it is, and asked for advice. What a machine can change is tried: each
    change is made to a copy, recorded, predicted, and its outputs compared; what gains is kept, and
    asked for advice again. In the end a folder is written, recorded run by its own loader, and
    predicted: that is what `Optimization.after` says.

    Args:
        model: the ONNX model; it is only read.
        platform: the platform, its name or the file that describes it.
        output: the folder to be written.
        runtime: the runtime, its name or the file that describes it.
        recordings: how many recordings may be made, the first and the last among them.
        tolerance: of outputs, as a share of their largest magnitude in a sample; None: 1e-4, or
            what the change of the model says.
        max_batch: samples of an inference at most.
        is_exact: change nothing that makes outputs deviate by more than rounding.
        permissions: ``processors``: take more threads; ``security``: take what costs security.
        work_folder: where recordings are kept, and found again; None: `output` with ``.work``.
        force: replace a folder that was so written before.
        epc: size of the EPC, as for `sgxlens.predict`.
        llc: size of the last-level cache.
        on_progress: called a few times a second with what is being done.
        model_options: as for `sgxlens.record`: dims, batch, input_file, threads, warmup, runs,
            seed, session and variables.

    Raises:
        UsageError: an argument makes no sense, or something is in the way.
        TargetError: the model cannot be run or recorded, or what was written does not run.
        RecordingError: a file cannot be written.
    """
    source, place = Path(model).absolute(), Path(output).absolute()
    inside = runtime if isinstance(runtime, Runtime) else load_runtime(runtime)
    work = Path(work_folder).absolute() if work_folder else place.with_name(f"{place.name}.work")
    _check(source, recordings, max_batch, permissions)
    check_output(place, force=force)
    limits = Limits(max_batch, is_exact, frozenset(permissions))
    baseline = _baseline(source, work, model_options, on_progress)
    situation = situation_of(baseline, platform, inside, epc=epc, llc=llc)
    laboratory = RecordingLaboratory(situation, work / _VARIANTS, tolerance, on_progress)
    found = search(laboratory, limits, recordings - 2, on_progress)
    with new_folder(place):
        result = _written(laboratory, found, place, work / _PROOF, on_progress)
        write_report(result, place)
    return result


def _check(model: Path, recordings: int, max_batch: int, permissions: Sequence[str]) -> None:
    if model.suffix not in MODEL_SUFFIXES:
        raise UsageError(f"{model.name} is no ONNX model: optimize takes a file that ends in .onnx")
    if not model.is_file():
        raise TargetError(f"{model} does not exist")
    if recordings < _LEAST_RECORDINGS:
        raise UsageError(
            f"a budget of {recordings} recordings is too small: one is of the model as it is, one"
            f" of what is written, and one of a change; give at least {_LEAST_RECORDINGS}"
        )
    if max_batch < 1:
        raise UsageError("--max-batch starts at 1")
    unknown = [one for one in permissions if one not in PERMISSIONS]
    if unknown:
        raise UsageError(f"--allow {unknown[0]}: there are {', '.join(PERMISSIONS)}")


def _baseline(
    model: Path, work: Path, options: dict[str, Any], on_progress: Callable[[str], None]
) -> Recording:
    """The recording of the model as it is; one of the same model and options is used again.

    Raises:
        UsageError: the folder for it holds something else.
        TargetError: it cannot be recorded.
    """
    given = dict(options)
    if "input_file" in given:
        given["input_file"] = str(Path(given["input_file"]).absolute())
    if "session" in given:
        given["session"] = session_settings(given["session"]).model_dump()
    key = {
        "sgxlens": sgxlens.__version__,
        "model": str(model),
        "model_file": file_info(model).model_dump(),
        "options": given,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    folder = work / _BASELINE
    marker = work / _MARKER
    if work.exists() and not marker.is_file() and any(work.iterdir()):
        raise UsageError(
            f"{work} holds what sgxlens optimize did not make: choose another folder with"
            " --work-folder"
        )
    try:
        known = json.loads(marker.read_text(encoding="ascii"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    recording = finished(folder) if known == digest else None
    if recording is not None:
        return recording
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.write_text(json.dumps({"key": digest}), encoding="ascii")
    job = {
        "words": [str(model)],
        "variables": given.pop("variables", {}),
        "native": True,
        "options": {"line_use_interval": DEFAULT_LINE_USE_INTERVAL, **given},
        "exit_code": 0,
    }
    (folder / JOB_FILE).write_text(json.dumps(job), encoding="utf-8")
    failures = record_all([("as it is", folder)], jobs=1, on_progress=on_progress)
    recording = finished(folder)
    if recording is None:
        raise TargetError(failures.get(folder, "the model cannot be recorded"))
    return recording


def _written(
    laboratory: RecordingLaboratory,
    found: Found,
    place: Path,
    folder: Path,
    on_progress: Callable[[str], None],
) -> Optimization:
    """Write the program and its configuration, and record it run by its own loader."""
    modification = found.standing.modification
    plan = laboratory.plan(modification)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    samples = compared_inputs(plan, folder)
    model = model_of(plan, laboratory.variant(modification).prepared.folder)
    on_progress(f"writing {place}")
    target: dict[str, Any] = laboratory.situation.recording.metadata.target.model_dump()
    versions = {"numpy": np.__version__, "onnxruntime": target["onnxruntime"]}
    write_program(place, plan, model, folder / INPUTS, versions)
    proof = proved(plan, place, folder, samples, on_progress)
    deployed = _with_model(modification, laboratory, place / f"model{model.suffix}")
    after = laboratory.standing(deployed, proof)
    if after.outputs is not None and not after.outputs.is_within:
        raise TargetError(
            f"the written folder puts out something else than its variant did: off by"
            f" {after.outputs.max_relative:.2g} of the largest magnitude"
        )
    on_progress("writing the configuration")
    configuration = _configuration(laboratory, deployed, proof, place)
    return _result(laboratory, found, proof, after, configuration)


def _with_model(
    modification: Modification, laboratory: RecordingLaboratory, model: Path
) -> Modification:
    """The modification with what is said of the model's file said of the written one."""
    old = str(laboratory.original.model)
    settings = dict(modification.settings)
    for kind in ("trusted", "allowed", "encrypted"):
        patterns = settings.get(kind, ())
        if old in patterns:
            settings[kind] = tuple(str(model) if one == old else one for one in patterns)
    return replace(modification, settings=settings)


def _configuration(
    laboratory: RecordingLaboratory, modification: Modification, proof: Variant, place: Path
) -> tuple[Path, str, tuple[str, ...]]:
    """Write the runtime's configuration; return where, its name, and what lint finds in it."""
    situation = laboratory.situation
    runtime = modification.runtime or situation.runtime
    name = runtime if isinstance(runtime, str) else runtime.name
    file = _FAMILIES.get(name.partition("-")[0])
    if file is None:
        return place, "", ()
    kinds = {k: modification.settings.get(k, ()) for k in ("trusted", "allowed", "encrypted")}
    # Threads that the recording shows may be others than an operator's, as those of telemetry.
    made = manifest(proof.recording, runtime, threads=proof.plan.threads, **kinds)
    (place / file).write_text(made.text, encoding="utf-8")
    if name.startswith("occlum"):
        return place, file, made.reasons
    report = lint(
        place / file, recording=proof.recording, platform=situation.platform, runtime=runtime
    )
    return (
        place,
        file,
        tuple(
            f"{one.finding.severity} of sgxlens lint, line {one.finding.line}:"
            f" {one.finding.problem}"
            for one in report.found
        ),
    )


def _result(
    laboratory: RecordingLaboratory,
    found: Found,
    proof: Variant,
    after: Standing,
    configuration: tuple[Path, str, tuple[str, ...]],
) -> Optimization:
    place, name, findings = configuration
    situation = laboratory.situation
    before = laboratory.start()
    native = situation.prediction.steady.native.median_seconds
    factor = proof.plan.factor
    prediction = evaluated(
        situation, after.modification, proof, native * after.native_ratio.likely * factor
    ).prediction
    batch = laboratory.original.sample_count
    one, other = before.sample.after, after.sample.after
    return Optimization(
        model=printable(str(laboratory.original.model)),
        output=printable(str(place)),
        deployment=prediction.deployment,
        batch_before=batch,
        batch_after=None if batch is None else batch * factor,
        before=before,
        after=after,
        speedup=Range(one.low / other.high, one.likely / other.likely, one.high / other.low),
        causes=_causes(situation.prediction, prediction, batch or 1, (batch or 1) * factor),
        attempts=found.attempts,
        untried=found.untried,
        ended=found.ended,
        recording_count=found.recording_count + 2,
        configuration=name,
        findings=findings,
        notes=tuple(
            dict.fromkeys(
                (
                    *laboratory.original.notes,
                    *situation.prediction.warnings,
                    *prediction.warnings,
                    *proof.prepared.after.notes,
                )
            )
        ),
    )


def _causes(
    before: Prediction, after: Prediction, samples_before: int, samples_after: int
) -> tuple[CauseTimes, ...]:
    sides = ((before.steady, samples_before), (after.steady, samples_after))
    rows = [
        {
            "native": Range.exact(steady.native.median_seconds).scaled(1 / samples),
            **{c.cause: c.added_seconds.scaled(1 / samples) for c in steady.causes},
        }
        for steady, samples in sides
    ]
    nothing = Range.exact(0)
    names = dict.fromkeys((*rows[0], *rows[1]))
    return tuple(
        CauseTimes(name, rows[0].get(name, nothing), rows[1].get(name, nothing)) for name in names
    )
