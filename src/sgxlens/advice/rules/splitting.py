# SPDX-License-Identifier: Apache-2.0
"""Splitting: layers that load pages of weights more than once, since the EPC does not hold them.

A library goes through the weights of a large layer in several passes, or several threads do. Parts
of the layer, each with some of its outputs, whose weights fit the EPC beside inputs and outputs,
load each page once. Where each page is loaded once already, as with a single sample, parts gain
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.layers import Layer, weight_layers, weight_loads
from sgxlens.advice.registry import Rule
from sgxlens.attribution import has_attribution
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Range
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.text import one_line
from sgxlens.units import format_bytes, format_count

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

#: Layers of which each step needs all weights, and the result of the step before.
_RECURRENT = frozenset({"GRU", "LSTM", "Loop", "RNN", "Scan"})
#: What a part takes of the EPC, so that its pages stay while it runs.
_PART_SHARE = 0.5
_LAYERS_MAX = 3
_TORCH = """\
import torch
class Parts(torch.nn.Module):
    def __init__(self, layer, count):
        super().__init__()
        self.parts = torch.nn.ModuleList()
        biases = (None,) * count if layer.bias is None else layer.bias.chunk(count)
        for weight, bias in zip(layer.weight.chunk(count), biases):
            part = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
            part.weight = torch.nn.Parameter(weight.detach().clone(), False)
            if bias is not None:
                part.bias = torch.nn.Parameter(bias.detach().clone(), False)
            self.parts.append(part)
    def forward(self, x):
        return torch.cat([part(x) for part in self.parts], -1)
# model.LAYER = Parts(model.LAYER, COUNT)
"""
_ONNX = """\
import numpy, onnx
from onnx import helper, numpy_helper
model = onnx.load({model!r})
graph = model.graph
constants = {{c.name: c for c in graph.initializer}}
at, node = next((i, n) for i, n in enumerate(graph.node) if n.name == 'LAYER')
transposed = any(a.name == 'transB' and a.i for a in node.attribute)
axes = {{node.input[1]: 0 if transposed else -1}}
axes.update({{name: -1 for name in node.input[2:]}})
parts = []
for number in range({count}):
    part = onnx.NodeProto()
    part.CopyFrom(node)
    part.name = part.output[0] = f'{{node.name}}_{{number}}'
    for place, name in enumerate(node.input):
        if name in axes:
            piece = numpy.array_split(numpy_helper.to_array(constants[name]), {count}, axes[name])
            part.input[place] = f'{{name}}_{{number}}'
            graph.initializer.append(
                numpy_helper.from_array(numpy.ascontiguousarray(piece[number]), part.input[place]))
    parts.append(part)
for name in axes:
    graph.initializer.remove(constants[name])
joined = helper.make_node('Concat', [p.output[0] for p in parts], [node.output[0]], axis=-1)
nodes = list(graph.node)
del graph.node[:]
graph.node.extend([*nodes[:at], *parts, joined, *nodes[at + 1:]])
onnx.save(model, 'parts.onnx')"""


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Parts of layers that load their weights several times."""
    if not has_attribution(situation.recording):
        return Declined("the recording does not say which memory holds weights")
    loads = weight_loads(situation)
    layers = [x for x in weight_layers(situation) if loads.get(x.operator.number) is not None]
    if not layers:
        return Declined("no inference loads pages of weights")
    again = [
        layer
        for layer in layers
        if loads[layer.operator.number].likely > layer.weight_page_count and not layer.looks_up
    ]
    split = [layer for layer in again if layer.operator.type not in _RECURRENT]
    if again and not split:
        return Declined("layers that load weights again are recurrent: each step needs them all")
    gain = situation.inference_gain(_split(situation, split, loads))
    if not situation.is_worth(gain):
        largest = layers[0]
        return Declined(
            f"pages of weights that a layer loads twice are {max(gain.share, 0):.1%} of an"
            f" inference; {largest.title} has {format_bytes(largest.weight_bytes)} and goes through"
            " them once, as its parts would"
        )
    split.sort(key=lambda x: x.weight_page_count - loads[x.operator.number].likely)
    first = split[0]
    count = part_count(situation, first)
    origin = "sgxlens predict --json: steady.operators"
    return (
        Advice(
            title=f"Split {first.title} into {count} parts along its outputs"
            + (f", and {len(split) - 1} more" if len(split) > 1 else ""),
            finding=(
                f"{first.title[:1].upper()}{first.title[1:]} has"
                f" {format_bytes(first.weight_bytes)} of weights and goes through them several"
                f" times: it loads {format_count(loads[first.operator.number].likely)} pages where"
                f" there are {format_count(first.weight_page_count)}."
            ),
            evidence=tuple(
                evidence
                for layer in split[:_LAYERS_MAX]
                for evidence in (
                    Evidence(
                        f"page loads of weights of {layer.title}",
                        *(loads[layer.operator.number], "count", origin),
                    ),
                    Evidence(
                        f"pages of weights of {layer.title}",
                        *(Range.exact(layer.weight_page_count), "count"),
                        "sgxlens show --json: operators",
                    ),
                )
            ),
            changes="program",
            gains=(gain,),
            costs=(
                Cost("memory", "outputs are joined: they are there twice for a moment"),
                Cost("latency", "smaller multiplications; natively often a little slower"),
            ),
            steps=(split_step(situation, count),),
            assumptions=(
                "Each part takes the whole batch before the next one starts.",
                "A library goes through a part that fits without losing its pages.",
            ),
        ),
    )  # fmt: skip


RULE = Rule("splitting", "layers that load pages of their weights more than once", find)


def part_count(situation: Situation, layer: Layer) -> int:
    """Parts of which each fits the EPC beside the inputs and outputs of the layer; at least 2."""
    usable = situation.platform.epc.usable_bytes.low / situation.settings.replicas
    room = max(usable - layer.other_page_count * PAGE_BYTES, usable / 4)
    return max(-(-layer.weight_bytes // int(room * _PART_SHARE)), 2)


def split_step(situation: Situation, count: int) -> Step:
    """How to split a layer into `count` parts."""
    target = situation.recording.metadata.target
    text = "Split the layer along its outputs; the results are the same but for rounding."
    if target.kind == "torch":
        return Step(text, "python", _TORCH.replace("COUNT", str(count)))
    if target.kind == "onnx":
        model = one_line(str(getattr(target, "model", "MODEL.onnx")))
        return Step(text, "python", _ONNX.format(model=model, count=count))
    return Step(f"{text} Take {count} parts, and run each for the whole batch.")


def _split(
    situation: Situation, layers: list[Layer], loads: dict[int | None, Range]
) -> list[Charge]:
    """The charges of the steady inference with these layers in parts."""
    by_number = {layer.operator.number: layer for layer in layers}
    before = situation.evaluation.steady
    after = [
        charge
        for charge in before
        if charge.cause != "paging" or charge.role != "weights" or charge.operator not in by_number
    ]
    constant = next(charge.constant for charge in before if charge.cause == "paging")
    for number, layer in by_number.items():
        now, pages = loads[number], layer.weight_page_count
        count = Range(min(now.low, pages), min(now.likely, pages), min(now.high, pages))
        # In the worst case the inputs have left before the next part needs them.
        inputs = (part_count(situation, layer) - 1) * layer.other_page_count
        after += [
            Charge("paging", "page loads", constant, count, number, "weights"),
            Charge("paging", "inputs of parts", constant, Range(0, 0, inputs), number, "input"),
        ]
    return after
