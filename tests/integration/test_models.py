# SPDX-License-Identifier: Apache-2.0
"""Real models in ONNX Runtime compute what they compute alone; each operator is where it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from light_models import write_light_model
from recordings import assert_near, needs_tracer
from sgxlens.recording.operators import BACKGROUND_CALLS, Profile
from sgxlens.recording.reader import Recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.onnx import OnnxTarget

pytestmark = needs_tracer
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

Row = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """A model that was recorded, what it computed then, and what it computes alone."""

    recording: Recording
    profile: Profile
    weight_bytes: int
    outputs: Sequence[npt.NDArray[np.float32]]
    expected: Sequence[npt.NDArray[np.float32]]


class _Target(OnnxTarget):
    """A model whose profile the test sees, too."""

    profile: Profile

    def operator_profile(self) -> Profile:
        self.profile = super().operator_profile()
        return self.profile


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (name, threads),
            id=f"{name}-{threads}",
            marks=[] if (name, threads) == ("squeezenet", 2) else pytest.mark.slow,
        )
        for name in ("squeezenet", "resnet50", "bvlc_alexnet")
        for threads in (1, 2)
    ],
)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    name, threads = request.param
    folder = tmp_path_factory.mktemp(name)
    model = folder / "model.onnx"
    weight_bytes = write_light_model(name, model)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    image = np.random.default_rng(1).random(source.shape, dtype=np.float32)
    np.savez(folder / "input.npz", **{source.name: image})
    outputs = folder / "outputs.npz"
    with _Target(
        model, threads=threads, input_file=folder / "input.npz", outputs=outputs
    ) as target:
        recording = record_target(target, folder / "r", TracerOptions())
    assert recording.metadata.outcome.is_clean, recording.metadata.outcome
    with np.load(outputs) as found:
        computed = [found[f"arr_{number}"] for number in range(len(found))]
    return Recorded(
        recording, target.profile, weight_bytes, computed, session.run(None, {source.name: image})
    )


def test_a_model_computes_what_it_computes_alone(recorded: Recorded) -> None:
    for found, expected in zip(recorded.outputs, recorded.expected, strict=True):
        assert_near(found, expected)
    names = [phase.name for phase in recorded.recording.phases]
    phases = ["import", "load", "warm-up 1", "inference 1", "inference 2", "end"]
    assert [phase for phase in names if phase != "start"] == phases


def test_an_inference_reads_every_weight(recorded: Recorded) -> None:
    """And mostly lines that the one before touched, too.

    Not only those: the C library maps large blocks anew, which may lie elsewhere each time.
    """
    recording, weight_bytes = recorded.recording, recorded.weight_bytes
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


def test_every_operator_of_the_profile_is_placed(recorded: Recorded) -> None:
    recording = recorded.recording
    assert recording.metadata.notes == []
    nodes = [event.node for event in recorded.profile.events if event.node is not None]
    rows = recording.table("operators").to_pylist()
    assert [(row["name"], row["type"], row["input_shapes"]) for row in rows] == [
        (node.name, node.type, node.input_shapes) for node in nodes
    ]
    assert all(row["parent"] is None for row in rows)
    assert {row["source"] for row in rows} == {"onnxruntime_profile"}
    assert [row["operator"] for row in rows] == list(range(len(rows)))
    for row in rows:
        assert row["start_position"] < row["end_position"]
    for before, after in pairwise(rows):
        assert before["end_position"] <= after["start_position"]
    # All that any thread does meanwhile is the operator's, and nothing else is; but for the thread
    # in which ONNX Runtime keeps statistics of its use.
    calls = recording.table("syscalls").to_pylist()
    owners = {row["thread"] for row in rows}
    background = {
        call["thread"]
        for call in calls
        if call["name"] in BACKGROUND_CALLS
        and rows[0]["start_position"] <= call["position"] < rows[-1]["end_position"]
    } - owners
    counts: Counter[int | None] = Counter()
    others: list[tuple[int, int]] = []
    for context in recording.table("contexts").to_pylist():
        counts[context["operator"]] += context["line_access_count"]
        if context["thread"] in background:
            assert context["operator"] is None
            others.append((context["start_position"], context["line_access_count"]))
    for row in rows:
        start, end = row["start_position"], row["end_position"]
        meanwhile = sum(count for position, count in others if start <= position < end)
        assert counts[row["operator"]] + meanwhile == end - start
    assert counts.total() == recording.phases[-1].end_position

    per_phase: dict[int, list[Row]] = {phase.index: [] for phase in recording.phases}
    for row in rows:
        per_phase[row["phase"]].append(row)
    inferences = ["warm-up 1", "inference 1", "inference 2"]
    for phase in recording.phases:
        found = per_phase[phase.index]
        if phase.name not in inferences:
            assert found == []
            continue
        assert [row["index"] for row in found] == list(range(len(rows) // len(inferences)))
        assert phase.start_position <= found[0]["start_position"]
        assert found[-1]["end_position"] <= phase.end_position
        inside = sum(row["end_position"] - row["start_position"] for row in found)
        # Between them are ONNX Runtime's own steps, and the making of the profile.
        assert inside > 0.95 * (phase.end_position - phase.start_position)
