# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgxlens.errors import TargetError, UsageError
from sgxlens.recording.operators.profile import ProfileError
from sgxlens.recording.targets import torch_runner
from sgxlens.recording.targets.choose import choose_target
from sgxlens.recording.targets.torch import TorchTarget

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)

MODELS = """
import torch

class Models:
    @staticmethod
    def linear():
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout())
        return model, {"input": torch.ones(2, 3)}

class Two(torch.nn.Module):
    def forward(self, first, second):
        return {"sum": first + second, "parts": [first, None]}

class Third(torch.nn.Module):
    count = 0
    def forward(self, x):
        Third.count += 1
        if Third.count == 3:
            raise ValueError("not three\\ntimes")
        return x

third = lambda: (Third(), torch.ones(2))
two = lambda: (Two(), (torch.ones(2), torch.full((2,), 3.0)))
one = lambda: (torch.nn.ReLU(), torch.ones(2))
def needs_more(count): pass
def fails(): raise ValueError("no such\\nfile")
def leaves(): raise SystemExit(3)
nothing = lambda: None
three = lambda: (1, 2, 3)
no_module = lambda: (7, torch.ones(2))
bad_inputs = lambda: (torch.nn.ReLU(), "words")
does_not_run = lambda: (torch.nn.Linear(3, 4), torch.ones(2, 2))
number = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules of models."""
    (tmp_path / "models_here.py").write_text(MODELS)
    (tmp_path / "broken_here.py").write_text("import no_such_dependency_here")
    (tmp_path / "wrong_here.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("models_here", None)
    return tmp_path


def check(spec: str) -> dict[str, Any]:
    return torch_runner._check({"spec": spec, "threads": 1})


@pytest.mark.torch
@needs_torch
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module_here:f", "there is no module no_such_module_here, neither in this folder"),
        ("models_here.part:f", "there is no module models_here.part"),
        ("broken_here:f", "broken_here cannot be imported: ModuleNotFoundError: No module named"),
        ("wrong_here:f", "the module wrong_here cannot be imported: ZeroDivisionError: division"),
        ("models_here:absent", "models_here has no absent"),
        ("models_here:Models.absent", "models_here has no Models.absent"),
        ("models_here:number", "models_here:number is no function, but an int"),
        ("models_here:needs_more", "models_here:needs_more fails: TypeError: needs_more()"),
        ("models_here:fails", "models_here:fails fails: ValueError: no such file"),
        ("models_here:leaves", "models_here:leaves fails: SystemExit: 3"),
        ("models_here:nothing", "its example inputs, two things, not None"),
        ("models_here:three", "its example inputs, two things, not a tuple of 3"),
        ("models_here:no_module", "but the first is an int"),
        ("models_here:bad_inputs", "a dict of arguments by name, not a str"),
        ("models_here:does_not_run", "does not run with its example inputs: RuntimeError: mat1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(torch_runner.Problem) as caught:
        check(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@needs_torch
def test_a_model_is_described(folder: Path) -> None:
    report = check("models_here:Models.linear")
    assert report["model"] == "Sequential"
    assert report["parameter_bytes"] == 4 * (3 * 4 + 4)
    assert report["inputs"] == [{"name": "input", "type": "float32", "shape": [2, 3]}]
    names = [each["name"] for each in check("models_here:two")["inputs"]]
    assert names == ["0", "1"]
    assert [each["shape"] for each in check("models_here:one")["inputs"]] == [[2]]


@pytest.mark.torch
@needs_torch
def test_a_target_is_ready_to_run(folder: Path) -> None:
    outputs = folder / "outputs.npz"
    with TorchTarget("models_here:two", runs=1, outputs=outputs) as target:
        command = target.command()
        prepared = Path(command[-1])
        assert command[:3] == [sys.executable, "-m", "sgxlens.recording.targets.torch_runner"]
        assert prepared.stat().st_mode & 0o077 == 0
        assert json.loads((prepared / "options.json").read_text())["mode"] == "record"
        info = target.info()
        assert (info["kind"], info["model"], info["module"]) == ("torch", "models_here:two", "Two")
        done = subprocess.run(command, check=True, capture_output=True)
        assert (done.stdout, done.stderr) == (b"", b"")
    assert not prepared.exists()
    with np.load(outputs) as found:
        np.testing.assert_array_equal(found["arr_0"], [4, 4])
        np.testing.assert_array_equal(found["arr_1"], [1, 1])
    with pytest.raises(TargetError, match="models_here:fails fails: ValueError: no such file"):
        TorchTarget("models_here:fails")


@pytest.mark.torch
@needs_torch
def test_native_runs_time_phases_and_operators(folder: Path) -> None:
    from sgxlens.recording.native_times.measure import NativeSettings, measure

    with TorchTarget("models_here:Models.linear", warmup=1, runs=2) as target:
        times = measure(target, NativeSettings(environment=dict(os.environ), runs=1))
        with pytest.raises(ProfileError, match="ended before it wrote them"):
            target.native_profile()
    assert not [note for note in times.notes if "operators" in note]
    plain, profiled = times.runs
    for run in (plain, profiled):
        names = [phase.name for phase in run.phases]
        wanted = ["start", "import", "load", "warm-up 1", "inference 1", "inference 2"]
        assert names[:6] == wanted
        assert names[-1] == "end"
    for phase in profiled.phases:
        is_inference = phase.name.startswith(("warm-up", "inference"))
        found = [(each.name, each.type) for each in phase.operators]
        kinds = [("0", "aten::linear"), ("1", "aten::dropout")]
        assert found == (kinds if is_inference else [])
        assert sum(each.seconds for each in phase.operators) <= phase.seconds + 1e-5


def block(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put another module in the place of PyTorch."""
    (folder / "block").mkdir()
    (folder / "block" / "torch.py").write_text(code)
    path = f"{folder / 'block'}:{':'.join(p for p in sys.path if p)}"
    monkeypatch.setenv("PYTHONPATH", path)


def test_a_missing_pytorch_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block(folder, monkeypatch, "raise ImportError('none here')")
    with pytest.raises(TargetError, match=r"needs torch \(none here\): pip install 'sgxlens"):
        TorchTarget("models_here:one")


def test_a_crash_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block(folder, monkeypatch, "import os; os.kill(os.getpid(), 11)")
    wanted = r"the model of models_here:one cannot be run: PyTorch crashed \(SIGSEGV\)"
    with pytest.raises(TargetError, match=wanted):
        TorchTarget("models_here:one")


@pytest.mark.parametrize("spec", ["", "models", "models:", ":f", "models:f:g", "a b:c", "a/b.py:f"])
def test_a_target_is_a_function_of_a_module(spec: str) -> None:
    with pytest.raises(UsageError, match=r"as package\.module:function, not"):
        TorchTarget(spec)


@pytest.mark.parametrize("options", [{"threads": 0}, {"runs": 0}, {"warmup": -1}])
def test_counts_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="start at 1"):
        TorchTarget("models:f", **options)


def test_a_pytorch_model_takes_no_arguments_and_no_options_of_others() -> None:
    with pytest.raises(UsageError, match="takes no arguments: more"):
        choose_target(["models:f", "more"], is_torch=True)
    with pytest.raises(UsageError, match="--batch, --dim: for an ONNX model only; models:f brings"):
        choose_target(["models:f"], is_torch=True, batch=1, dims={"n": 1})


@pytest.mark.torch
@needs_torch
def test_a_model_that_fails_later_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"spec": "models_here:third", "threads": 1, "warmup": 1, "runs": 5, "outputs": None}
    (tmp_path / "options.json").write_text(json.dumps(options | {"mode": "record"}))
    assert torch_runner.main(str(tmp_path)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    wanted = "does not run with its example inputs: ValueError: not three times"
    assert line == f"sgxlens: the model of models_here:third {wanted}"
