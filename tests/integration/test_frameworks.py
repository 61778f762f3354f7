# SPDX-License-Identifier: Apache-2.0
"""Real frameworks, unmodified: recorded, they compute what they compute alone."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from commands import record_line, run
from recordings import needs_tracer
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.onnx import OnnxTarget

pytestmark = needs_tracer

# Of the largest value: the kernels for AVX add in another order than those for AVX-512.
TOLERANCE = 1e-4


def _assert_near(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    assert found.shape == expected.shape
    # Something was computed: not all the same, not all zero.
    assert float(expected.std()) > 0
    assert float(np.abs(found - expected).max()) <= TOLERANCE * float(np.abs(expected).max())


def _write_model(name: str, path: Path) -> int:
    """Write a model of the `onnx` package with random weights, which it has not; return bytes."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    model = onnx.load(str(folder / f"light_{name}.onnx"))
    graph = model.graph
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    generator = np.random.default_rng(7)
    kept = []
    weight_bytes = 0
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(size) for size in shapes[node.input[0]])
        if len(shape) > 1:
            weights = generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            weights = generator.uniform(0.5, 1.5, size=shape)
        tensor = onnx.numpy_helper.from_array(weights.astype(np.float32), node.output[0])
        graph.initializer.append(tensor)
        weight_bytes += weights.size * 4
    used = {name for node in kept for name in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.node[:]
    graph.node.extend(kept)
    named = {tensor.name for tensor in initializers}  # old models list weights as inputs, too
    inputs = [value for value in graph.input if value.name in used - named]
    del graph.input[:]
    graph.input.extend(inputs)
    onnx.save(model, str(path))
    return weight_bytes


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("bvlc_alexnet", marks=pytest.mark.slow),
    ],
)
def test_onnx_runtime(tmp_path: Path, name: str) -> None:
    weight_bytes = _write_model(name, tmp_path / "model.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    (source,) = session.get_inputs()
    image = np.random.default_rng(1).random(source.shape, dtype=np.float32)
    np.savez(tmp_path / "input.npz", **{source.name: image})
    expected = session.run(None, {source.name: image})

    outputs = tmp_path / "outputs.npz"
    with OnnxTarget(
        tmp_path / "model.onnx", input_file=tmp_path / "input.npz", outputs=outputs
    ) as target:
        recording = record_target(target, tmp_path / "r", TracerOptions())

    assert recording.metadata.outcome.is_clean, recording.metadata.outcome
    with np.load(outputs) as found:
        for number, values in enumerate(expected):
            _assert_near(found[f"arr_{number}"], values)
    names = [phase.name for phase in recording.phases]
    phases = ["import", "load", "warm-up 1", "inference 1", "inference 2", "end"]
    assert [phase for phase in names if phase != "start"] == phases
    _check_inferences(recording, weight_bytes)


def _check_inferences(recording: Recording, weight_bytes: int) -> None:
    """An inference reads every weight, and mostly lines that the one before touched, too.

    Not only those: the C library maps large blocks anew, which may lie elsewhere each time.
    """
    first, second = (
        recording.footprint_blocks("line", f"inference {number}", access="load") * 64
        for number in (1, 2)
    )
    assert weight_bytes <= second <= 3 * weight_bytes + (20 << 20)
    assert abs(first - second) < 0.1 * first
    cold = recording.reuse("line", "inference 2").cold_count
    assert cold < 0.2 * recording.footprint_blocks("line", "inference 2")
    # The weights came from the file, by way of the kernel or of a mapping.
    loaded = recording.footprint_blocks("line", "load") * 64
    assert loaded > weight_bytes


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
                _assert_near(found[name], expected[name])
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
