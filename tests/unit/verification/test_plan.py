# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import paged
import sgxlens
from sgxlens.advice import Advice, Advisory, Gain, Modification
from sgxlens.advice.advise import RankedAdvice, situation_of
from sgxlens.enclave.quantities import Range
from sgxlens.errors import UsageError
from sgxlens.recording.metadata import file_info
from sgxlens.verification import transformation, verify
from sgxlens.verification.original import Original, original_of
from sgxlens.verification.plan import name_of, plan_of
from sgxlens.verification.preparation import alone_in, prepare

MakeRecording = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"a model")
    return path


@pytest.fixture
def recorded(make_recording: MakeRecording, model: Path) -> Callable[..., Original]:
    """The original of a recording of that model, with fields of its target replaced."""

    def made(outcome: str = "exited", **fields: Any) -> Original:
        target = {
            "kind": "onnx",
            "model": str(model),
            "inputs": [{"name": "x", "type": "float32", "shape": [2, 3]}],
            "input_file": None,
            "seed": 0,
            "threads": 1,
            "warmup": 1,
            "runs": 2,
            **fields,
        }
        if "model_file" not in fields:
            target["model_file"] = file_info(model).model_dump()
        metadata = paged.metadata(target=target)
        how = {"status": outcome, "exit_code": 0, "signal": None, "message": ""}
        path = make_recording(paged.tables(), force=True, **{**metadata, "outcome": how})
        return original_of(sgxlens.open(path))

    return made


def test_a_changed_or_missing_model_is_refused(
    recorded: Callable[..., Original], model: Path
) -> None:
    known = file_info(model).model_dump()
    recorded()
    model.write_bytes(b"another")
    with pytest.raises(UsageError, match="is not the one that was recorded"):
        recorded(model_file=known)
    assert "not known" in recorded(model_file=None).notes[0]
    model.unlink()
    with pytest.raises(UsageError, match=r"m\.onnx cannot be read \(No such file"):
        recorded(model_file=known)


def test_a_program_that_did_not_end_by_itself_is_refused(
    recorded: Callable[..., Original],
) -> None:
    with pytest.raises(UsageError, match="did not end by itself"):
        recorded("interrupted")


def test_a_plan_says_what_is_run(recorded: Callable[..., Original]) -> None:
    modification = Modification(
        batch=8,
        model=("dynamic-batch",),
        session={"intra_op_threads": 2, "config": {"session.x": "1"}},
        environment={"A": "1"},
    )
    plan = plan_of(recorded(), modification)
    assert plan.name == "batch-8+intra_op_threads-2+session.x-1+A-1"
    assert (plan.factor, plan.threads, plan.variables) == (4, 2, {"A": "1"})
    assert plan.session.config == {"session.x": "1"}
    assert plan.key == plan_of(recorded(), modification).key
    assert plan.key != plan_of(recorded(seed=1), modification).key
    assert plan_of(recorded(), Modification(model=("int8-dynamic",))).tolerance == 0.05
    assert len(name_of(Modification(environment={"A": "/" * 500}))) < 100


@pytest.mark.parametrize(
    ("kind", "modification", "message"),
    [
        ("torch", Modification(batch=4), "the batch of a PyTorch model is its own"),
        ("torch", Modification(model=("int8-dynamic",)), "is for ONNX models; this is a PyTorch"),
        ("torch", Modification(session={"arena": {}}), "settings of ONNX Runtime's session"),
        ("onnx", Modification(batch=3), "not a multiple of the recorded one of 2"),
        ("onnx", Modification(model=("magic",)), "no transformation .* 'magic': there are"),
        ("onnx", Modification(session={"spin": 1}), "no field 'spin'"),
    ],
)
def test_what_cannot_be_applied_is_one_line(
    recorded: Callable[..., Original], kind: str, modification: Modification, message: str
) -> None:
    original = recorded(kind="torch", model="package:function") if kind == "torch" else recorded()
    with pytest.raises(UsageError, match=message):
        plan_of(original, modification)


def test_threads_of_a_torch_model_can_be_changed(recorded: Callable[..., Original]) -> None:
    torch = recorded(kind="torch", model="package:function")
    assert plan_of(torch, Modification(session={"intra_op_threads": 3})).threads == 3


def test_nothing_of_the_users_is_replaced(
    recorded: Callable[..., Original], tmp_path: Path
) -> None:
    plan = plan_of(recorded(), Modification(environment={"A": "1"}))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis.tex").write_text("all of it")
    with pytest.raises(UsageError, match=r"holds thesis\.tex, which sgxlens did not make"):
        prepare(plan, folder, lambda _: None)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_only_one_run_works_in_a_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path / "a"):
        with alone_in(tmp_path / "b"):
            pass
        with (
            pytest.raises(UsageError, match="another sgxlens is at work"),
            alone_in(tmp_path / "a"),
        ):
            pass
    with alone_in(tmp_path / "a"):
        pass


def test_advice_that_no_recording_can_verify_says_why(make_recording: MakeRecording) -> None:
    situation = situation_of(make_recording(paged.tables(), **paged.metadata()), "xeon-e-2288g")
    gain = Gain("inference", Range.exact(2), Range.exact(1), Range.exact(1))

    def advice(modification: Modification | None) -> RankedAdvice:
        return RankedAdvice(
            "rule", Advice("Do it", "Found.", (), "program", (gain,), (), (), (), "predicted",
                           modification)
        )  # fmt: skip

    rows = (advice(None), advice(Modification(runtime="gramine-exitless")))
    verified = verify(situation, Advisory(situation.prediction, rows, (), ()))
    assert [row.advice.state for row in verified.advice] == ["predicted", "predicted"]
    assert "a machine" in verified.advice[0].advice.unverified
    assert "the runtime" in verified.advice[1].advice.unverified


def test_transformations_have_the_name_they_are_found_by() -> None:
    pytest.importorskip("onnx")
    for name in ("dynamic-batch", "external-data", "int8-dynamic", "optimized", "ort-format"):
        assert transformation(name).name == name
