# SPDX-License-Identifier: Apache-2.0
"""Rules about the footprint: each where it has advice, and where it must not have any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paged
import predictable
import sgxlens
from footprints import COPIED_PAGES, FREE_ADDRESS, MIB, PAGE, arena, call, loading, mapped, thread
from sgxlens.advice import Advice
from sgxlens.enclave.mappings.events import address_space
from sgxlens.enclave.mappings.load_copies import load_copies

MakeRecording = Callable[..., Path]
Make = Callable[..., Path]
SGX1, SGX2 = "xeon-e-2288g", "xeon-gold-6326"


@pytest.fixture
def make(make_recording: MakeRecording) -> Make:
    """A function that writes a recording of `paged`, with some tables replaced."""

    def written(**tables: Any) -> Path:
        return make_recording({**paged.tables(), **tables}, force=True, **paged.metadata())

    return written


def asked(rule: str, *arguments: Any, **settings: Any) -> list[Advice]:
    """What one rule advises."""
    advisory = sgxlens.advise(*arguments, only=(rule,), **settings)
    assert not advisory.broken
    return [row.advice for row in advisory.advice]


def declined(rule: str, *arguments: Any, **settings: Any) -> str:
    """Why one rule has no advice."""
    advisory = sgxlens.advise(*arguments, only=(rule,), **settings)
    assert not advisory.broken
    assert not advisory.advice
    (silence,) = advisory.silent
    return str(silence.reason)


def test_threads_should_share_an_arena_where_its_addresses_take_memory(make: Make) -> None:
    arenas = [row for number in range(4) for row in arena(2 * MIB, number)]
    path = make(mappings=[predictable.MAPPING, *arenas])
    (advice,) = asked("allocator_arenas", path, SGX2)
    memory = next(gain for gain in advice.gains if gain.of == "memory")
    # The last one is at its largest as it is mapped.
    assert memory.saved.likely == 3 * 62 * MIB + 126 * MIB
    # Threads use 8 MiB; and a freed block may stay, or not.
    assert memory.saved.low == memory.saved.likely - 32 * MIB
    assert memory.saved.high == memory.saved.likely + 8 * MIB + 32 * MIB
    assert memory.before.likely - memory.after.likely == memory.saved.likely
    assert advice.gains[0].of == "startup"
    assert advice.gains[0].saved.likely > 0.5
    assert advice.evidence[0].value.likely == 4
    assert advice.steps[0].snippet == 'loader.env.MALLOC_ARENA_MAX = "1"'
    assert advice.modification is not None
    assert advice.modification.environment == {"MALLOC_ARENA_MAX": "1"}
    # What is only reserved takes nothing where pages are added as they are touched.
    assert "holds little" in declined("allocator_arenas", path, SGX2, "occlum-edmm")


def test_a_program_with_one_arena_has_none_to_share(make: Make) -> None:
    # As large as an arena, but not the allocator's.
    other = [mapped("map", FREE_ADDRESS, 128 * MIB, "---")]
    path = make(mappings=[predictable.MAPPING, *other])
    assert "no thread has an arena" in declined("allocator_arenas", path, SGX2)


def test_telemetry_should_be_off_where_its_threads_take_memory(make: Make) -> None:
    stack = FREE_ADDRESS + 16 * MIB
    mappings = [
        predictable.MAPPING,
        mapped("map", stack - 8 * MIB, 8 * MIB, "rw-"),
        *({**row, "position": 5} for row in arena(2 * MIB)),
    ]
    threads = [thread(1, None, 0), thread(2, 1, 2), thread(3, 1, 4, stack), thread(4, 3, 7)]
    used = call(3, 1, "lstat", "/home/someone/.cache/Microsoft/DeveloperTools/.onnxruntime")
    calls = [call(2, 1, "lstat", "/home/someone/.onnx"), used, call(5, 3, "mmap")]
    path = make(mappings=mappings, threads=threads, syscalls=calls)
    (advice,) = asked("telemetry", path, SGX2)
    assert advice.evidence[0].value.likely == 2
    assert [row.value.likely for row in advice.evidence[1:3]] == [7, 5]
    memory = next(gain for gain in advice.gains if gain.of == "memory")
    # Stack and arena, and what the runtime has for a thread.
    assert memory.saved.likely > 128 * MIB + 256 * 1024
    assert memory.saved.likely < (128 + 2) * MIB
    assert "ORT_DISABLE_TELEMETRY" in advice.steps[0].snippet
    off = make(mappings=mappings, threads=threads, syscalls=calls[:1])
    assert "not seen to gather" in declined("telemetry", off, SGX2)
    little = make(threads=threads[:2], syscalls=calls[:2])
    assert "hardly larger" in declined("telemetry", little, SGX2)


def test_threads_should_have_smaller_stacks_where_they_are_held_whole(make: Make) -> None:
    count, size = 12, 8 * MIB + 4096
    ends = [FREE_ADDRESS + (number + 1) * 2 * size for number in range(count)]
    stacks = [mapped("map", end - size, size, "rw-") for end in ends]
    threads = [thread(1, None, 0), *(thread(n + 2, 1, 2, end) for n, end in enumerate(ends))]
    path = make(mappings=[predictable.MAPPING, *stacks], threads=threads)
    assert "less is not advised" in declined("stacks", path, SGX2)
    assert "stack for each thread that is set" in declined("stacks", path, SGX2, "sdk")

    def reaching_down(page_count: int) -> Path:
        """With one stack that is used so far: what was page 10 is a page of it."""
        lowest = ends[3] // 4096 - page_count
        visits = [
            {**row, "page": lowest if row["page"] == 10 else row["page"]}
            for row in paged.tables()["page_visits"]
        ]
        return make(mappings=[predictable.MAPPING, *stacks], threads=threads, page_visits=visits)

    (advice,) = asked("stacks", reaching_down(16), SGX2, "occlum")
    memory = next(gain for gain in advice.gains if gain.of == "memory")
    assert memory.saved.likely == (count + 1) * (4 * MIB - 256 * 1024)
    assert advice.steps[0].snippet == '"default_stack_size": "256KB"'
    assert advice.evidence[1].value.likely == 64 * 1024
    assert "one used 3.91 MiB" in declined("stacks", reaching_down(1000), SGX2, "occlum")
    assert "no thread" in declined("stacks", make(mappings=[predictable.MAPPING]), SGX2)


def test_what_loading_leaves_behind_is_told_from_what_inferences_use(
    make_recording: MakeRecording,
) -> None:
    recording = sgxlens.open(loading(make_recording))
    phases = {phase.name: phase for phase in recording.phases}
    found = load_copies(
        recording, phases["load"], phases["inference 2"], other_bytes=(0, 3 * MIB + 1)
    )
    assert found is not None
    assert found.freed_bytes == 64 * MIB
    assert found.unused_bytes == COPIED_PAGES * PAGE
    assert found.used_bytes == paged.WEIGHT_PAGES * PAGE
    share = COPIED_PAGES / (COPIED_PAGES + paged.WEIGHT_PAGES)
    assert found.visit_share == pytest.approx(share, abs=0.01)
    sizes = [[int(size) for size in address_space(one, 0).mapped_bytes] for one in found.recordings]
    assert max(sizes[0]) == (4 + paged.WEIGHT_PAGES) * PAGE
    assert max(sizes[1]) == max(sizes[0]) + 3 * MIB + PAGE
    assert sizes[1][-1] == sizes[0][-1] == max(sizes[0])


def test_a_model_that_is_copied_as_it_is_loaded_should_be_saved_otherwise(
    make_recording: MakeRecording,
) -> None:
    path = loading(make_recording)
    (advice,) = asked("load_copies", path, SGX1, epc=paged.SMALL_EPC)
    start, memory = advice.gains
    # 64 MiB that are freed, twice as much as the copies, and a weight that is packed instead.
    gone = 64 * MIB + 2 * COPIED_PAGES * PAGE - paged.WEIGHT_PAGES * PAGE
    assert memory.saved.likely == gone
    assert memory.saved.low < gone < memory.saved.high
    assert start.saved.low < start.saved.likely < start.saved.high
    assert advice.modification is not None
    assert advice.modification.model == ("optimized", "external-data")
    assert advice.modification.environment == {"MALLOC_TRIM_THRESHOLD_": "131072"}
    none = loading(make_recording, copied=0)
    assert "leaves little behind" in declined("load_copies", none, SGX1, epc=paged.SMALL_EPC)


def test_weights_that_inferences_do_not_use_stay(make_recording: MakeRecording) -> None:
    idle_pages = 50
    model_bytes = (paged.WEIGHT_PAGES + idle_pages) * PAGE
    saved = []
    for size in (0, model_bytes, 1 << 40):
        path = loading(make_recording, model_bytes=size)
        (advice,) = asked("load_copies", path, SGX1, epc=paged.SMALL_EPC)
        saved.append(next(gain for gain in advice.gains if gain.of == "memory").saved.likely)
    assert saved[1] == saved[0] - idle_pages * PAGE
    # What else the file holds was not read: no more than what is there stays.
    assert saved[2] == saved[0] - COPIED_PAGES * PAGE


def test_loading_is_judged_beside_telemetry(make_recording: MakeRecording) -> None:
    gains = {}
    for threads in (None, 0, 1, 3):
        path = loading(make_recording, uploading=threads)
        (advice,) = asked("load_copies", path, SGX1, epc=paged.SMALL_EPC)
        gains[threads] = advice.gains
    for threads in (0, 1, 3):
        for gain, alone in zip(gains[threads], gains[None], strict=True):
            assert (gain.of, gain.saved) == (alone.of, alone.saved)
            assert gain.before.likely - gain.after.likely == pytest.approx(gain.saved.likely)
    # Its threads are in what there is now.
    memory = [gains[threads][-1].before.likely for threads in (None, 3)]
    assert memory[1] > memory[0] + 2 * 64 * MIB


def test_how_other_programs_load_a_model_is_not_known(make: Make) -> None:
    assert "ONNX models only" in declined("load_copies", make(), SGX1, epc=paged.SMALL_EPC)


def test_weights_should_not_be_packed_where_their_copies_cost_more(
    make_recording: MakeRecording,
) -> None:
    (advice,) = asked("prepacked_weights", loading(make_recording), SGX1, epc=paged.SMALL_EPC)
    memory = next(gain for gain in advice.gains if gain.of == "memory")
    assert memory.saved.likely == 64 * MIB + 2 * COPIED_PAGES * PAGE
    assert advice.modification is not None
    assert advice.modification.session == {"config": {"session.disable_prepacking": "1"}}
    convolutions = loading(make_recording, "Conv")
    assert "less than half" in declined("prepacked_weights", convolutions, SGX1)
    little = loading(make_recording, copied=0)
    assert "costs too little" in declined("prepacked_weights", little, SGX1)


def test_the_snippet_saves_a_model_that_computes_the_same(
    make_recording: MakeRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", floats, [1, 64])],
        [helper.make_tensor_value_info("y", floats, [1, 64])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    (advice,) = asked("load_copies", loading(make_recording), SGX1, epc=paged.SMALL_EPC)
    monkeypatch.chdir(tmp_path)
    exec(advice.steps[0].snippet.replace("/models/net.onnx", "net.onnx"), {})  # noqa: S102
    assert (tmp_path / "optimized.onnx.data").stat().st_size >= weights.nbytes
    given = {"x": np.ones((1, 64), dtype=np.float32)}
    outputs = [
        onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"]).run(None, given)[0]
        for name in ("net.onnx", "optimized.onnx")
    ]
    assert np.allclose(*outputs)
