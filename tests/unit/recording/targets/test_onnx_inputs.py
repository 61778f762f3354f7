# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgxlens.errors import TargetError, UsageError
from sgxlens.recording.targets.onnx_inputs import (
    InputSpec,
    load_inputs,
    parse_dimension,
    random_inputs,
    resolve_shapes,
)

IDS = InputSpec("ids", "tensor(int64)", ("batch", "length"))
IMAGE = InputSpec("image", "tensor(float)", (None, 3, 8, 8))
FIXED = InputSpec("fixed", "tensor(double)", (2, 2))


def test_dimensions_are_parsed() -> None:
    assert parse_dimension("length=8") == ("length", 8)
    assert parse_dimension("past + now=0") == ("past + now", 0)
    for wrong in ("length", "length=", "=3", "length=-1", "length=x", "length=1.5"):
        with pytest.raises(UsageError, match="NAME=VALUE"):
            parse_dimension(wrong)


def test_shapes_are_resolved() -> None:
    assert resolve_shapes([IDS, IMAGE], {"length": 7, "image.0": 2}, 3) == [(3, 7), (2, 3, 8, 8)]
    assert resolve_shapes([IMAGE, FIXED], {}, 5) == [(5, 3, 8, 8), (2, 2)]
    assert resolve_shapes([FIXED], {}, None) == [(2, 2)]


@pytest.mark.parametrize(
    ("specs", "dims", "batch", "message"),
    [
        ([IDS], {}, None, "--dim batch=SIZE --dim length=SIZE .ids: batch x length"),
        ([IDS, IMAGE], {}, 1, "--dim length=SIZE --dim image.0=SIZE"),
        ([IDS], {"width": 3}, None, "called 'width': there is batch, length"),
        ([FIXED], {"width": 3}, None, "all shapes are fixed"),
        ([FIXED], {}, 4, "no dynamic batch dimension .fixed: 2 x 2"),
        ([IDS], {"batch": 2}, 4, "--batch 4 contradicts --dim batch=2"),
    ],
)
def test_shapes_that_stay_open(
    specs: list[InputSpec], dims: dict[str, int], batch: int | None, message: str
) -> None:
    with pytest.raises((TargetError, UsageError), match=message):
        resolve_shapes(specs, dims, batch)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("float", "float32"),
        ("double", "float64"),
        ("float16", "float16"),
        ("int8", "int8"),
        ("uint16", "uint16"),
        ("int64", "int64"),
        ("bool", "bool"),
    ],
)
def test_random_inputs_have_the_right_type_and_are_small(kind: str, dtype: str) -> None:
    spec = InputSpec("x", f"tensor({kind})", (4, 100))
    (array,) = random_inputs([spec], [(4, 100)], seed=1)
    (same,) = random_inputs([spec], [(4, 100)], seed=1)
    assert array.dtype == dtype
    assert array.shape == (4, 100)
    assert array.min() >= 0
    assert array.max() <= 1
    assert len(np.unique(array)) > 1
    np.testing.assert_array_equal(array, same)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("tensor(string)", (2,), "holds strings.*--input"),
        ("tensor(bfloat16)", (2,), "of type tensor.bfloat16.*write a script"),
        ("seq(tensor(float))", (), "write a script"),
        ("tensor(float)", (1 << 40, 1 << 40), "does not fit into memory"),
    ],
)
def test_inputs_that_cannot_be_made_up(kind: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        random_inputs([InputSpec("x", kind, shape)], [shape], seed=0)


def test_inputs_from_a_file(tmp_path: Path) -> None:
    arrays = {"ids": np.ones((2, 5), np.int64), "image": np.zeros((1, 3, 8, 8), np.float32)}
    np.savez(tmp_path / "in.npz", **arrays)  # type: ignore[arg-type]
    ids, image = load_inputs(tmp_path / "in.npz", [IDS, IMAGE])
    np.testing.assert_array_equal(ids, arrays["ids"])
    np.testing.assert_array_equal(image, arrays["image"])
    text = InputSpec("text", "tensor(string)", (2,))
    np.savez(tmp_path / "text.npz", text=np.array(["a", "bc"]))
    assert load_inputs(tmp_path / "text.npz", [text])[0].tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "lacks the input fixed; it holds nothing"),
        ({"x": np.zeros(2)}, "lacks the input fixed; it holds x"),
        ({"fixed": np.zeros((2, 2)), "x": np.zeros(2)}, "x is no input of the model: fixed"),
        ({"fixed": np.zeros((2, 2), np.float32)}, "type float32, the model takes float64"),
        ({"fixed": np.zeros((2, 3))}, "shape 2 x 3, the model takes 2 x 2"),
        ({"fixed": np.zeros(2)}, "shape 2, the model takes 2 x 2"),
        ({"fixed": np.float64(3)}, "shape a scalar, the model takes 2 x 2"),
        ({"fixed": np.array([None, 1])}, "not an .npz file of plain arrays"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(TargetError, match=message):
        load_inputs(tmp_path / "in.npz", [FIXED])


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist"):
        load_inputs(tmp_path / "in.npz", [FIXED])
    with pytest.raises(TargetError, match="cannot be read: Is a directory"):
        load_inputs(tmp_path, [FIXED])
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(TargetError, match="is a single array"):
        load_inputs(tmp_path / "one.npy", [FIXED])
    np.savez(tmp_path / "good.npz", fixed=np.zeros((2, 2)))
    good = (tmp_path / "good.npz").read_bytes()
    for content in (b"", b"hello", good[:-30], good[:60] + b"\xff" * 8 + good[68:]):
        (tmp_path / "in.npz").write_bytes(content)
        with pytest.raises(TargetError, match=r"not an .npz file|cannot be read"):
            load_inputs(tmp_path / "in.npz", [FIXED])
