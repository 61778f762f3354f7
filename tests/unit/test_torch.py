# SPDX-License-Identifier: Apache-2.0
"""What PyTorch's operators and tensors are annotated as, here outside a recording."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import sgxlens

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no PyTorch here"),
]

BEGIN, END, REGION, REGION_END, NOTE = range(1, 6)
Row = tuple[int, int, int, str]


def convolution() -> tuple[Any, Any]:
    import torch

    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 8 * 8, 10),
    )
    return model.eval(), torch.rand(2, 3, 16, 16)


def encoder() -> tuple[Any, Any]:
    import torch

    return torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval(), torch.rand(
        1, 8, 32
    )


def attention() -> tuple[Any, Any]:
    import torch

    class Attention(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(50, 32)
            self.projection = torch.nn.Linear(32, 96)
            self.head = torch.nn.Linear(32, 50, bias=False)
            self.head.weight = self.embedding.weight
            self.scale = torch.full((1,), 0.5)  # neither parameter nor buffer

        def forward(self, tokens: Any) -> Any:
            hidden = self.embedding(tokens) * self.scale
            parts = self.projection(hidden).chunk(3, -1)
            heads = [p.reshape(*p.shape[:2], 4, 8).transpose(1, 2) for p in parts]
            mixed = torch.nn.functional.scaled_dot_product_attention(*heads)
            mixed = mixed.transpose(1, 2).reshape(hidden.shape)
            return {"logits": self.head(mixed + hidden), "hidden": (hidden,)}

    return Attention().eval(), torch.arange(8).reshape(1, 8)


def listen(model: Any, inputs: Any, count: int = 1) -> list[list[Row]]:
    """What is annotated before the first and in each of `count` inferences."""
    import torch

    from sgxlens.torch_operators import Annotator

    log: list[list[Row]] = [[]]
    annotator = Annotator(model, lambda *row: log[-1].append(row))
    with torch.inference_mode(), annotator.listening():
        for _ in range(count):
            log.append([])
            model(inputs)
    return log


def told(rows: list[Row], kind: int) -> list[Any]:
    return [json.loads(text) for k, _, _, text in rows if k == kind]


def profiled(model: Any, inputs: Any) -> list[str]:
    """The outermost calls of operators that PyTorch's own profiler lists."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.inference_mode(), torch.profiler.profile(activities=activities) as profile:
        model(inputs)
    found = [event for event in profile.events() if event.cpu_parent is None]
    found = [event for event in found if event.name.startswith("aten::")]
    return [event.name for event in sorted(found, key=lambda event: event.time_range.start)]


@pytest.mark.parametrize("build", [convolution, encoder, attention])
def test_operators_are_those_that_the_profiler_lists(
    build: Callable[[], tuple[Any, Any]],
) -> None:
    model, inputs = build()
    _, rows, again = listen(model, inputs, 2)
    assert [operator["type"] for operator in told(rows, BEGIN)] == profiled(model, inputs)
    assert told(rows, BEGIN) == told(again, BEGIN)
    # Begin, end and note follow each other: no operator is inside another.
    kinds = [kind for kind, *_ in rows if kind in (BEGIN, END, NOTE)]
    assert kinds == [BEGIN, END, NOTE] * (len(kinds) // 3)
    assert told(rows, NOTE) == told(again, NOTE)


def test_an_operator_has_its_module_and_its_tensors() -> None:
    model, inputs = convolution()
    _, rows = listen(model, inputs)
    first = told(rows, BEGIN)[0]
    assert first == {
        "name": "0",
        "type": "aten::conv2d",
        "parameter_bytes": 4 * (8 * 3 * 9 + 8),
        "activation_bytes": 4 * 2 * 3 * 256,
        "source": "torch",
        "inputs": [
            {"type": "float32", "shape": [2, 3, 16, 16]},
            {"type": "float32", "shape": [8, 3, 3, 3], "name": "0.weight"},
            {"type": "float32", "shape": [8], "name": "0.bias"},
        ],
    }
    notes = told(rows, NOTE)
    assert notes[0]["outputs"] == [{"type": "float32", "shape": [2, 8, 16, 16]}]
    # The relu writes in place, the flattening only looks at the same memory in another way.
    sizes = [note["output_bytes"] for note in notes]
    assert sizes == [4 * 2 * 8 * 256] * 3 + [4 * 2 * 8 * 64, 0, 4 * 2 * 10]


@pytest.mark.parametrize("build", [convolution, encoder, attention])
def test_weights_are_exactly_the_bytes_of_the_tensors_that_modules_hold(
    build: Callable[[], tuple[Any, Any]],
) -> None:
    model, inputs = build()
    (rows, _) = listen(model, inputs)
    tensors = [*model.parameters(), *model.buffers()]  # tied ones once
    if build is attention:
        tensors.append(model.scale)
    expected = {
        byte for t in tensors for byte in range(t.data_ptr(), t.data_ptr() + t.numel() * t.itemsize)
    }
    assert {kind for kind, *_ in rows} == {REGION}
    found = [byte for _, start, size, _ in rows for byte in range(start, start + size)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    names = {text for *_, text in rows}
    assert len(names) == len(rows)
    if build is attention:
        assert names >= {"weights:embedding.weight", "weights:scale"}
        assert "weights:head.weight" not in names  # the same tensor


def test_results_are_activations_until_they_are_freed() -> None:
    model, inputs = convolution()
    _, rows = listen(model, inputs)
    now: dict[int, Row] = {}
    most = 0
    for row in rows:
        kind, address, size_bytes, _ = row
        if kind == REGION:
            now[address] = row
        elif kind == REGION_END:
            assert now.pop(address)[2] == size_bytes
        most = max(most, sum(text.startswith("activations:") for *_, text in now.values()))
    assert most == 2  # that of an operator and its input
    given = (REGION, inputs.data_ptr(), inputs.nbytes, "input:input")
    assert list(now.values()) == [given]  # what the model returned is freed, too
    texts = [text for kind, *_, text in rows if kind == REGION]
    assert texts == [
        "input:input",
        "activations:0 conv2d",
        "activations:1 batch_norm",
        "activations:3 max_pool2d",
        "activations:5 linear",
        "output:0",
    ]


def test_outputs_have_the_names_that_the_model_gives_them() -> None:
    model, inputs = attention()
    _, rows = listen(model, inputs)
    texts = {text for *_, text in rows}
    assert {"input:tokens", "output:logits", "output:hidden.0"} <= texts
    # Known from the end of the operator on, before whatever is told of it.
    kinds = [kind for kind, *_ in rows]
    first = kinds.index(END)
    assert kinds[first : first + 3] == [END, REGION, NOTE]


def test_an_operator_that_raises_has_an_end() -> None:
    import torch

    from sgxlens.torch_operators import Annotator

    model, inputs = convolution()
    wrong = torch.rand(2, 4, 16, 16)
    rows: list[Row] = []
    annotator = Annotator(model, lambda *row: rows.append(row))
    with torch.inference_mode(), annotator.listening():
        with pytest.raises(RuntimeError):
            model(wrong)
        failed = len(rows)
        model(inputs)
    assert [kind for kind, *_ in rows[:failed] if kind in (BEGIN, END)] == [BEGIN, END]
    names = [operator["name"] for operator in told(rows[failed:], BEGIN)]
    assert names == ["0", "1", "2", "3", "4", "5"]


def test_annotations_fit_into_the_stream() -> None:
    import torch

    class Wide(torch.nn.Module):  # type: ignore[misc]
        def forward(self, parts: list[Any]) -> Any:
            return torch.cat(parts)

    _, rows = listen(Wide(), [torch.rand(2, 3) for _ in range(500)])
    assert max(len(text) for *_, text in rows) <= 8000
    (operator,) = told(rows, BEGIN)
    assert operator["activation_bytes"] == 500 * 24
    assert len([text for *_, text in rows if text.startswith("input:parts.")]) == 500


def test_a_model_may_be_listened_to_again_and_goes_when_it_is_dropped() -> None:
    import weakref

    import torch

    from sgxlens.torch_operators import Annotator, annotator_of

    model, inputs = convolution()
    assert annotator_of(model) is annotator_of(model)
    rows: list[Row] = []
    annotator = Annotator(model, lambda *row: rows.append(row))
    for _ in range(2):
        with torch.inference_mode(), annotator.listening(), annotator.listening():
            model(inputs)
    weights = [text for *_, text in rows if text.startswith("weights:")]
    assert len(weights) == len(set(weights))
    assert len(told(rows, BEGIN)) == 2 * 6
    gone = weakref.ref(model)
    address = model[0].weight.data_ptr()
    del model
    assert gone() is None
    assert (REGION_END, address, 4 * 8 * 27, "") in rows  # its weights are freed


def test_listening_changes_no_result() -> None:
    import torch

    from sgxlens.torch_operators import Annotator

    for build in (convolution, encoder):
        model, inputs = build()
        with torch.inference_mode():
            expected = model(inputs)
            with Annotator(model, lambda *_: None).listening():
                found = model(inputs)
            assert torch.equal(found, expected)


def test_nothing_is_done_where_nothing_records() -> None:
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    model, inputs = convolution()
    with sgxlens.torch.operators(model):
        assert _get_current_dispatch_mode() is None
        model(inputs)


@pytest.mark.parametrize("model", [None, "model", len])
def test_a_model_is_a_module(model: Any) -> None:
    wanted = pytest.raises(TypeError, match=r"a model is a torch.nn.Module, not")
    with wanted, sgxlens.torch.operators(model):
        pass


def test_importing_it_imports_no_pytorch() -> None:
    code = "import sys, sgxlens; sgxlens.torch.operators; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
