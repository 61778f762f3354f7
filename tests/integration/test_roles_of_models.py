# SPDX-License-Identifier: Apache-2.0
"""Weights and activations of real models, against what the models say of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recordings import needs_tracer
from sgxlens.attribution import operator_table, region_table, reuse_of, sources
from sgxlens.attribution.facts import facts_of
from sgxlens.recording.bitmaps import popcount, union
from sgxlens.recording.reader import Phase, Recording
from sgxlens.recording.record import record_target
from sgxlens.recording.session import TracerOptions
from sgxlens.recording.targets.onnx import OnnxTarget

pytestmark = [needs_tracer, pytest.mark.slow, pytest.mark.usefixtures("without_telemetry")]
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def with_random_weights(name: str, path: Path) -> int:
    """Write a light model with weights instead of constants; return their size in bytes.

    ONNX Runtime keeps equal weights once, and the light models' are all equal.
    """
    light = Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
    model = onnx.load(str(light))
    graph = model.graph
    given = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    random = np.random.default_rng(1)
    nodes, weights = [], []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(int(n) for n in given[node.input[0]])
            values = random.random(shape, dtype=np.float32) / 64
            weights.append(onnx.numpy_helper.from_array(values, node.output[0]))
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    others = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*others, *weights])
    onnx.save(model, str(path))
    return sum(len(tensor.raw_data) for tensor in weights)


def lines_written(recording: Recording, phase: Phase) -> list[int]:
    """Distinct lines that each operator writes."""
    facts = facts_of(recording, phase)
    uses, contexts = facts.uses, facts.contexts
    counts = []
    for index in range(len(facts.operators)):
        rows = (contexts.operator == index)[uses.context]
        counts.append(int(popcount(union(uses.page[rows], uses.written[rows])[1]).sum()))
    return counts


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["squeezenet", "resnet50", "bvlc_alexnet"])
def test_weights_and_outputs_have_the_size_that_the_model_says(
    tmp_path: Path, name: str, threads: int
) -> None:
    parameter_bytes = with_random_weights(name, tmp_path / "model.onnx")
    with OnnxTarget(tmp_path / "model.onnx", threads=threads, warmup=2, runs=2) as target:
        recording = record_target(target, tmp_path / "recording", TracerOptions())
    phase = recording.select_phases("inference 2")[0]
    regions = region_table(recording, phase)
    bytes_of = {row.role: row.line.footprint_bytes for row in regions.roles}
    # Batch normalisations are folded into convolutions, packing pads, and the first convolution's
    # weights share a region with its input.
    assert bytes_of["weights"] == pytest.approx(parameter_bytes, rel=0.03)
    assert regions.unclassified_share < 0.1

    operators = operator_table(recording, phase)
    assert sum(row.line.access_count for row in operators.rows) > 0.9 * phase.line_access_count
    parts = [*operators.rows, operators.between]
    assert sum(row.line.access_count for row in parts) == phase.line_access_count
    for granularity in ("line", "page"):
        total = recording.reuse(granularity, phase.index)
        rows = sources(recording, phase).rows[granularity]
        assert sum(row.access_count for row in rows) == total.total
        assert reuse_of(recording, phase, granularity) == total
        usage = operators.total.line if granularity == "line" else operators.total.page
        assert usage.block_count == recording.footprint_blocks(granularity, phase.index)
    for row, lines in zip(operators.rows, lines_written(recording, phase), strict=True):
        assert row.operator is not None
        output_bytes = row.operator.output_bytes or 0
        # LRN needs scratch twice the size of its output; Reshape's output is its input.
        if row.operator.type in ("LRN", "Reshape"):
            continue
        written = lines * 64
        # Beside its output an operator writes stacks and structures of the runtime.
        assert output_bytes <= written <= 1.05 * output_bytes + (64 << 10), row.operator.name
