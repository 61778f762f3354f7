# SPDX-License-Identifier: Apache-2.0
"""Real frameworks, unmodified: recorded, they compute what they compute alone."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from commands import record_line, run
from recordings import assert_near, needs_tracer
from sgxlens.recording.reader import Recording, open_recording

pytestmark = needs_tracer

SKLEARN = """
import pickle
import sys
import numpy as np
import sgxlens

with open(sys.argv[2], "rb") as file:
    models, images = pickle.load(file)
sgxlens.mark("predict")
results = {}
for name, model in models.items():
    results[f"{name} labels"] = model.predict(images)
    if hasattr(model, "predict_proba"):
        results[f"{name} values"] = model.predict_proba(images).astype(np.float32)
np.savez(sys.argv[1], **results)
"""

TORCH = """
import sys
import numpy as np
import torch
import sgxlens

torch.manual_seed(0)
torch.set_num_threads(int(sys.argv[2]))
convolution = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
    torch.nn.MaxPool2d(2), torch.nn.Conv2d(16, 32, 3), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10),
).eval()
transformer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
results = {}
with torch.inference_mode():
    for name, model, shape in (
        ("convolution", convolution, (2, 3, 32, 32)), ("transformer", transformer, (2, 16, 64))
    ):
        values = torch.rand(shape)
        sgxlens.mark(name)
        results[f"{name} values"] = model(values).numpy()
        sgxlens.mark("")
np.savez(sys.argv[1], **results)
"""


def _compare_script(
    tmp_path: Path, text: str, *arguments: str, options: Sequence[str] = ()
) -> Recording:
    script = tmp_path / "script.py"
    script.write_text(text)
    native = run(sys.executable, script, tmp_path / "native.npz", *arguments)
    assert native.status == 0, native.errors
    line = record_line(tmp_path / "r", [script, tmp_path / "recorded.npz", *arguments], *options)
    line.remove("--")
    done = run(*line, patience_seconds=600)
    assert done.status == 0, done.errors
    assert done.output == native.output
    with np.load(tmp_path / "native.npz") as expected, np.load(tmp_path / "recorded.npz") as found:
        assert sorted(found) == sorted(expected)
        for name in expected:
            if name.endswith("values"):
                assert_near(found[name], expected[name])
            else:
                assert (found[name] == expected[name]).all()
    return open_recording(tmp_path / "r")


# To import it takes 3.6 billion accesses.
@pytest.mark.parametrize(
    "options", [["--start-at-mark", "predict"], pytest.param([], marks=pytest.mark.slow)]
)
def test_scikit_learn(tmp_path: Path, options: list[str]) -> None:
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    images, labels = load_digits(return_X_y=True)
    models = {
        "forest": RandomForestClassifier(n_estimators=10, random_state=0),
        "regression": LogisticRegression(max_iter=1000),
        "support vectors": LinearSVC(random_state=0),
    }
    for model in models.values():
        model.fit(images[:500] / 16, labels[:500])
    fitted = tmp_path / "fitted"
    fitted.write_bytes(pickle.dumps((models, images[500:600] / 16)))
    recording = _compare_script(tmp_path, SKLEARN, str(fitted), options=options)
    assert recording.footprint_blocks("line", "predict", access="load") > 10_000
    names = {row["name"] for row in recording.table("mappings").to_pylist()}
    assert any("sklearn" in name for name in names)


# Most of a whole recording is the import of PyTorch.
@pytest.mark.torch
@pytest.mark.parametrize(
    ("threads", "options"),
    [
        ("1", ("--start-at-mark", "convolution")),
        pytest.param("2", (), marks=pytest.mark.slow),
    ],
)
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_pytorch(tmp_path: Path, threads: str, options: tuple[str, ...]) -> None:
    recording = _compare_script(tmp_path, TORCH, threads, options=options)
    for name in ("convolution", "transformer"):
        assert recording.footprint_blocks("line", name, access="load") > 500
    names = {row["name"] for row in recording.table("mappings").to_pylist()}
    assert any("libtorch_cpu" in name for name in names)
