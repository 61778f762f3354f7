# SPDX-License-Identifier: Apache-2.0
"""Roles of regions, of programs whose every access is written down here."""

from __future__ import annotations

from typing import Any

import pytest

from sgxlens.recording.reader import Recording
from sgxlens.recording.region_use import packed_matrix_bytes
from sgxlens.recording.roles import Role, assign_roles
from simulated import Extent, Program, Span

PAGE = 64
WEIGHTS, SMALL, TENSOR, PACKED, FEED, ANSWER = range(0, 6 * 4 * PAGE, 4 * PAGE)
KIB = 1024


def read(line: int, count: int) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, n, "load") for n in range(line, line + count))


def write(line: int, count: int) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, n, "store") for n in range(line, line + count))


def inference(phase: int, first_operator: int | None) -> list[Span]:
    """Reorder reads the input, Conv weights and scratch, Relu a structure and what Conv writes."""
    reorder, conv, relu = (
        (None, None, None)
        if first_operator is None
        else (first_operator, first_operator + 1, first_operator + 2)
    )
    work = read(WEIGHTS, 128) + write(PACKED, 70) + read(PACKED, 70) + write(TENSOR, 96)
    return [
        Span(phase, reorder, read(FEED, 100)),
        Span(phase, conv, work),
        Span(phase, relu, read(TENSOR, 96) + read(SMALL, 20) + write(ANSWER, 80)),
        Span(phase, None, read(ANSWER, 80)),
    ]


def program(operators: bool = True, **told: Any) -> Program:
    """`told` is what the framework says of Conv."""
    load = Span(0, None, write(WEIGHTS, 128) + write(SMALL, 20) + write(FEED, 100))
    spans = [load, *inference(1, 0 if operators else None), *inference(2, 3 if operators else None)]
    reorder = {"parameter_bytes": 0, "activation_bytes": 6400, "output_bytes": 6400}
    conv = {"parameter_bytes": 8000, "activation_bytes": 300, "output_bytes": 6000} | told
    relu = {"parameter_bytes": 0, "activation_bytes": 6000, "output_bytes": 5000}
    kinds = ["anonymous", "constant", "constant", "produced", "produced", "constant", "produced"]
    found = [(WEIGHTS, 128), (SMALL, 20), (TENSOR, 96), (PACKED, 70), (FEED, 100), (ANSWER, 80)]
    return Program(
        phases=["load", "warm-up 1", "inference 1"],
        spans=spans,
        operators=["Reorder", "Conv", "Relu"] * 2 if operators else [],
        regions=[(kind, "unclassified") for kind in kinds],
        extents=[
            Extent(0, 0, 7 * 4 * PAGE),
            *(Extent(i + 1, line, count, from_span=5) for i, (line, count) in enumerate(found)),
        ],
        operator_fields={0: reorder, 1: conv, 2: relu, 3: reorder, 4: conv, 5: relu},
    )


def roles_of(recording: Recording, **changes: Any) -> list[Role]:
    names = ("regions", "extents", "contexts", "page_use", "operators")
    tables: dict[str, Any] = {
        name: {c: recording.table(name)[c] for c in recording.table(name).column_names}
        for name in names
    }
    for name, columns in changes.items():
        tables[name] |= columns
    return assign_roles(**tables)


def test_operators_and_sizes_tell_the_roles() -> None:
    roles = roles_of(program().record())
    assert [r.role for r in roles] == [
        "unclassified",
        "weights",
        "runtime",
        "activations",
        "scratch",
        "input",
        "output",
    ]
    assert roles[0].reason == ""
    assert roles[1].reason == (
        "Conv reads 8 KiB; its parameters have 7.81 KiB and its inputs 300 B"
    )
    assert roles[3].reason == ("Conv writes 6 KiB, its output has 5.86 KiB; Relu reads it")
    assert (
        roles[4].reason
        == "Conv writes 4.38 KiB, its output has 5.86 KiB; no other operator only reads it"
    )


@pytest.mark.parametrize(
    ("parameter_bytes", "role"),
    [
        (4 * KIB, "weights"),
        (16 * KIB, "weights"),
        # An embedding: the inference reads some of its rows.
        (900 * KIB, "weights"),
        # Neither parameters nor inputs have this size.
        (1 * KIB, "input"),
        # The filter of a first convolution is small beside the picture.
        (2 * KIB, "input"),
        (1 * KIB, "unclassified"),
        # The framework tells no size.
        (None, "weights"),
    ],
)
def test_constants_must_have_the_size_of_parameters(parameter_bytes: int | None, role: str) -> None:
    inputs = 6 * KIB if role == "input" else 300
    recording = program(parameter_bytes=parameter_bytes, activation_bytes=inputs).record()
    assert roles_of(recording)[1].role == role


def test_matrices_that_were_packed_beforehand_are_parameters_too() -> None:
    recording = program(
        parameter_bytes=64,
        type="Gemm",
        input_shapes='[{"float":[1,128]},{"float":[16]}]',
        output_shapes='[{"float":[1,16]}]',
    ).record()
    role = roles_of(recording)[1]
    assert role.role == "weights"
    assert "its parameters have 8.06 KiB" in role.reason


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "size_bytes"),
    [
        ("Gemm", '[{"float":[1,2048]},{"float":[1000]}]', '[{"float":[1,1000]}]', 8_192_000),
        ("MatMul", '[{"float16":[4,7,32]}]', '[{"float16":[4,7,96]}]', 2 * 32 * 96),
        # The matrix is there: it is an activation, or counted as a parameter.
        ("MatMul", '[{"float":[7,32]},{"float":[32,96]}]', '[{"float":[7,96]}]', 0),
        ("Conv", '[{"float":[1,3,8,8]}]', '[{"float":[1,3,8,8]}]', 0),
        ("Gemm", "", "", 0),
        ("Gemm", "[{}]", "[7]", 0),
    ],
)
def test_shapes_tell_the_size_of_a_packed_matrix(
    kind: str, inputs: str, outputs: str, size_bytes: int
) -> None:
    assert packed_matrix_bytes(kind, inputs, outputs) == size_bytes


def test_a_kernel_that_packs_may_read_more_than_its_parameters() -> None:
    recording = program(parameter_bytes=64, type="LSTM").record()
    assert roles_of(recording)[1].role == "weights"


def test_without_operators_large_constants_are_weights_by_behaviour() -> None:
    roles = roles_of(program(operators=False).record())
    assert [r.role for r in roles[1:]] == [
        "weights",
        "runtime",
        "unclassified",
        "unclassified",
        "weights",
        "unclassified",
    ]
    assert "no operators" in roles[1].reason


def test_what_the_next_inference_writes_is_not_constant() -> None:
    changed = program()
    spans = list(changed.spans)
    spans[6] = Span(2, 4, spans[6].accesses + write(WEIGHTS, 100))
    changed.spans = spans
    assert roles_of(changed.record())[1].role == "runtime"


def test_what_is_used_outside_of_operators_is_the_runtimes() -> None:
    changed = program()
    spans = list(changed.spans)
    spans[6] = Span(2, None, spans[6].accesses)
    spans[7] = Span(2, 4, spans[7].accesses)
    changed.spans = spans
    changed.operators = changed.operators[:5]
    roles = roles_of(changed.record())
    assert roles[1] == Role("runtime", "read outside of operators")
    assert roles[4] == Role("runtime", "written outside of operators")


def test_threads_may_cut_what_an_operator_reads_into_several_regions() -> None:
    changed = program(parameter_bytes=900, activation_bytes=7300)
    changed.regions = [*changed.regions, ("constant", "unclassified")]
    changed.extents = [*changed.extents, Extent(7, WEIGHTS + 100, 28, from_span=5)]
    roles = roles_of(changed.record())
    assert roles[1] == roles[7]
    assert roles[1].role == "input"
    assert "Conv reads 8 KiB; its parameters have 900 B and its inputs" in roles[1].reason


def test_the_program_has_the_last_word() -> None:
    recording = program().record()
    kinds = recording.table("regions")["kind"].to_pylist()
    names = [""] * len(kinds)
    for index, name in ((1, "activations:a"), (2, "weights:w"), (3, "colours:c"), (4, "weights")):
        kinds[index], names[index] = "declared", name
    roles = roles_of(recording, regions={"kind": kinds, "name": names})
    assert [r.role for r in roles[1:5]] == [
        "activations",
        "weights",
        "unclassified",
        "unclassified",
    ]


def test_a_mapped_file_that_operators_read_holds_weights() -> None:
    recording = program().record()
    kinds = recording.table("regions")["kind"].to_pylist()
    names = [""] * len(kinds)
    kinds[0], names[0] = "code", "/lib/libm.so"
    kinds[1], names[1] = "file", "/model/weights.safetensors"
    kinds[2], names[2] = "file", "/usr/lib/locale/C.utf8"
    kinds[5], names[5] = "file", "/lib/libm.so"
    roles = roles_of(recording, regions={"kind": kinds, "name": names})
    assert [r.role for r in roles] == [
        "code",
        "weights",
        "file",
        "activations",
        "scratch",
        "file",
        "output",
    ]


def test_without_an_inference_mappings_alone_tell() -> None:
    recording = program().record()
    kinds = ["code", "file", "stack", "heap", "anonymous", "shared_memory", "unmapped"]
    roles = roles_of(recording, regions={"kind": kinds})
    assert roles == [
        Role("code"),
        Role("file"),
        Role("stack"),
        *[Role("unclassified")] * 4,
    ]
