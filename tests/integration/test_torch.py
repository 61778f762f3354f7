# SPDX-License-Identifier: Apache-2.0
"""PyTorch models, recorded with their operators and tensors."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import SGXLENS, run
from recordings import needs_tracer
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.torch import TorchTarget

pytestmark = [
    needs_tracer,
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no PyTorch here"),
]

# A convolution net whose result a transformer's layer reads, as in a small vision transformer.
MODEL = """
import torch

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
            torch.nn.MaxPool2d(2), torch.nn.Conv2d(16, 64, 4, stride=4),
        )
        self.place = torch.nn.Parameter(torch.randn(1, 16, 64))
        self.projection = torch.nn.Linear(64, 192)
        self.layer = torch.nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
        self.head = torch.nn.Linear(64, 10)

    def forward(self, image):
        hidden = self.patches(image).flatten(2).transpose(1, 2) + self.place
        parts = [
            part.reshape(*part.shape[:2], 4, 16).transpose(1, 2)
            for part in self.projection(hidden).chunk(3, -1)
        ]
        mixed = torch.nn.functional.scaled_dot_product_attention(*parts)
        hidden = hidden + mixed.transpose(1, 2).reshape(hidden.shape)
        return {"logits": self.head(self.layer(hidden)[:, 0])}

def build():
    torch.manual_seed(1)
    return Model(), {"image": torch.rand(1, 3, 32, 32)}

class Third(torch.nn.Module):
    count = 0

    def forward(self, x):
        Third.count += 1
        if Third.count == 3:
            raise ValueError("not three\\ntimes")
        return x + 1

def fails_later():
    return Third(), torch.ones(4)
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of models, importable by what is started, too."""
    (tmp_path / "models_of_torch.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module("models_of_torch")


def profiled(model: Any, inputs: Any) -> list[str]:
    """The outermost calls of operators that PyTorch's profiler lists in an inference."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.inference_mode(), torch.profiler.profile(activities=activities) as profile:
        model(**inputs)
    found = [event for event in profile.events() if event.cpu_parent is None]
    found = [event for event in found if event.name.startswith("aten::")]
    return [event.name for event in sorted(found, key=lambda event: event.time_range.start)]


def test_a_model_is_recorded_with_its_operators_and_tensors(tmp_path: Path, models: Any) -> None:
    import torch

    outputs = tmp_path / "outputs.npz"
    with TorchTarget("models_of_torch:build", outputs=outputs) as target:
        recording = record_target(target, tmp_path / "r", TracerOptions(start_at_mark="load"))
    assert recording.metadata.outcome.is_clean, recording.metadata.outcome
    assert recording.metadata.target.kind == "torch"
    model, inputs = models.build()
    model.eval()
    with torch.inference_mode():
        expected = model(**inputs)["logits"].numpy()
    with np.load(outputs) as found:
        assert float(expected.std()) > 0
        np.testing.assert_allclose(found["arr_0"], expected, atol=1e-4 * np.abs(expected).max())
    names = [phase.name for phase in recording.phases]
    assert names == ["start", "import", "load", "warm-up 1", "inference 1", "inference 2", "end"]
    _check_operators(recording, profiled(model, inputs))
    _check_regions(recording, model)


def _check_operators(recording: Recording, expected: list[str]) -> None:
    rows = recording.table("operators").to_pylist()
    for name in ("warm-up 1", "inference 1", "inference 2"):
        (phase,) = recording.select_phases(name)
        found = [row for row in rows if row["phase"] == phase.index]
        assert [row["type"] for row in found] == expected
        assert {row["source"] for row in found} == {"torch"}
        assert {row["parent"] for row in found} == {None}
        end = 0
        for row in found:
            assert end <= row["start_position"] < row["end_position"]
            end = row["end_position"]
        first, *_ = found
        assert first["name"] == "patches.0"
        assert first["parameter_bytes"] == 4 * (16 * 27 + 16)
        assert first["output_bytes"] == 4 * 16 * 1024
        assert json.loads(first["input_shapes"])[0]["shape"] == [1, 3, 32, 32]
        assert [o["shape"] for o in json.loads(first["output_shapes"])] == [[1, 16, 32, 32]]
        assert found[-1]["name"] == "head"
        # The convolution executes its multiplications, and not Python between operators.
        convolution = next(row for row in found if row["type"] == "aten::conv2d")
        loads = convolution["end_position"] - convolution["start_position"]
        assert loads > 16 * 27 * 1024 / 16


def _check_regions(recording: Recording, model: Any) -> None:
    rows = recording.table("annotations").to_pylist()
    weights = {
        row["text"].removeprefix("weights:"): row["size_bytes"]
        for row in rows
        if row["text"].startswith("weights:")
    }
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert weights == {name: t.numel() * t.element_size() for name, t in tensors.items()}
    (given,) = [row for row in rows if row["text"].startswith("input:")]
    assert (given["text"], given["size_bytes"]) == ("input:image", 3 * 32 * 32 * 4)
    assert "output:logits" in {row["text"] for row in rows}
    kinds = Counter(row["kind"] for row in rows)
    assert kinds["operator_begin"] == kinds["operator_end"] == kinds["operator_note"]
    # What is freed is never more than what was there.
    assert kinds["region_end"] < kinds["region"] + 1


@pytest.mark.slow
def test_what_ran_before_a_model_failed_is_recorded(tmp_path: Path, models: Any) -> None:
    output = tmp_path / "r"
    options = ["-q", "--no-native", "-o", str(output), "--start-at-mark", "warm-up 1"]
    target = ["--torch", "models_of_torch:fails_later"]
    done = run(SGXLENS, "record", *options, *target, patience_seconds=300)
    assert done.status == 1
    (line,) = done.errors.splitlines()
    assert line.startswith("sgxlens: the model of models_of_torch:fails_later does not run with")
    assert line.endswith("ValueError: not three times")
    recording = open_recording(output)
    names = [phase.name for phase in recording.phases]
    assert names[-3:] == ["warm-up 1", "inference 1", "inference 2"]
    assert recording.metadata.outcome.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--torch", "models_of_torch:absent"], "models_of_torch has no absent"),
        (["--torch", "no_such_module_here:f"], "there is no module no_such_module_here"),
        (["--torch", "models_of_torch"], "as package.module:function, not 'models_of_torch'"),
        (["--torch", "models_of_torch:build", "more"], "takes no arguments: more"),
        (["--torch", "models_of_torch:build", "--batch", "2"], "--batch: for an ONNX model only"),
        (["--torch"], "requires an argument"),
    ],
)
def test_bad_targets_are_one_line(
    tmp_path: Path, models: Any, arguments: list[str], message: str
) -> None:
    done = run(SGXLENS, "record", "-o", tmp_path / "r", *arguments)
    assert done.status == 2
    (line,) = done.errors.splitlines()
    assert line.startswith("sgxlens: error: ")
    assert message in line
    assert not (tmp_path / "r").exists()
