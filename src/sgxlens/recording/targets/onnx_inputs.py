# SPDX-License-Identifier: Apache-2.0
"""Inputs of an ONNX model: their shapes, and arrays that fit them."""

from __future__ import annotations

import os
import shlex
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sgxlens.errors import TargetError, UsageError
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Array = npt.NDArray[Any]

#: ONNX Runtime's name of an element type: numpy's.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
}
#: How exporters usually call the dimension that counts the samples.
_BATCH_NAMES = frozenset({"batch", "batch_size", "batchsize", "batch_dim", "batch_dimension", "n"})
#: What numpy and zipfile raise at a file that is not as it should be.
_DAMAGED = (
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class InputSpec:
    """An input as the model declares it.

    Attributes:
        name: its name.
        type: element type as ONNX Runtime writes it: ``tensor(float)``.
        shape: one entry a dimension: its size, its name, or None for one without a name.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def dimension_name(self, axis: int) -> str:
        """What ``--dim`` calls a dynamic dimension: its name, or ``INPUT.AXIS`` without one."""
        size = self.shape[axis]
        return size if isinstance(size, str) and size else f"{self.name}.{axis}"

    def is_dynamic(self, axis: int) -> bool:
        """Whether the model leaves the size of this dimension open."""
        size = self.shape[axis]
        return not isinstance(size, int) or size < 0

    def dynamic_names(self) -> list[str]:
        """Names of the dynamic dimensions, in order."""
        return [self.dimension_name(i) for i in range(len(self.shape)) if self.is_dynamic(i)]

    def shape_text(self) -> str:
        """The shape for a message: ``N x 3 x 224 x 224``."""
        if not self.shape:
            return "a scalar"
        sizes = (
            self.dimension_name(i) if self.is_dynamic(i) else str(size)
            for i, size in enumerate(self.shape)
        )
        return one_line(" x ".join(sizes), 80)


def parse_dimension(text: str) -> tuple[str, int]:
    """Splits ``NAME=VALUE`` as given to ``--dim``.

    Raises:
        UsageError: it is not of that form or the value is not a whole number from 0 on.
    """
    name, separator, value = text.rpartition("=")
    try:
        size = int(value)
    except ValueError:
        size = -1
    if not separator or not name or size < 0:
        raise UsageError(f"--dim {text!r} is not of the form NAME=VALUE with a whole number")
    return name, size


def resolve_shapes(
    specs: Sequence[InputSpec], dims: Mapping[str, int], batch: int | None
) -> list[tuple[int, ...]]:
    """The shape of each input with every dynamic dimension filled in.

    Args:
        specs: the inputs.
        dims: sizes by name (see `InputSpec.dimension_name`).
        batch: size of the dimension that is called like a batch; if none is, of the first
            dimension of every input where that is dynamic. None: not given.

    Raises:
        TargetError: a dynamic dimension has no size; the message lists what is needed.
        UsageError: a name is of no dynamic dimension, or `batch` has none to set.
    """
    known = list(dict.fromkeys(name for spec in specs for name in spec.dynamic_names()))
    for name in dims:
        if name not in known:
            there = f"there is {', '.join(known)}" if known else "all shapes are fixed"
            raise UsageError(f"--dim: no dynamic dimension is called {name!r}: {there}")
    sizes = dict(dims)
    if batch is not None:
        for name in _batch_dimensions(specs, known):
            if sizes.setdefault(name, batch) != batch:
                raise UsageError(f"--batch {batch} contradicts --dim {name}={sizes[name]}")
    missing = [name for name in known if name not in sizes]
    if missing:
        options = " ".join(f"--dim {shlex.quote(name)}=SIZE" for name in missing)
        shapes = "; ".join(f"{s.name}: {s.shape_text()}" for s in specs if s.dynamic_names())
        raise TargetError(f"the model has dynamic dimensions: give {options} ({shapes})")
    return [
        tuple(
            sizes[spec.dimension_name(i)] if spec.is_dynamic(i) else int(size or 0)
            for i, size in enumerate(spec.shape)
        )
        for spec in specs
    ]


def random_inputs(
    specs: Sequence[InputSpec], shapes: Sequence[tuple[int, ...]], seed: int
) -> list[Array]:
    """Random arrays for all inputs: floats in [0, 1), integers 0 or 1, booleans.

    0 and 1 are valid wherever a model looks integers up: as token ids, masks, positions, lengths.

    Raises:
        TargetError: an input has a type that cannot be made up, or does not fit into memory.
    """
    generator = np.random.default_rng(seed)
    arrays = []
    left_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for spec, shape in zip(specs, shapes, strict=True):
        dtype = _dtype(spec)
        if dtype.kind == "U":
            raise TargetError(
                f"input {spec.name!r} holds strings, which cannot be made up: give --input"
            )
        size_bytes = dtype.itemsize
        for size in shape:
            size_bytes *= size
        left_bytes -= size_bytes
        if left_bytes < 0:
            raise TargetError(f"input {spec.name!r} of {_sizes(shape)} does not fit into memory")
        if dtype.kind == "f":
            wide = np.float64 if dtype.itemsize == 8 else np.float32
            arrays.append(generator.random(shape, dtype=wide).astype(dtype, copy=False))
        else:
            arrays.append(generator.integers(0, 2, shape, dtype=np.uint8).astype(dtype))
    return arrays


def load_inputs(path: Path, specs: Sequence[InputSpec]) -> list[Array]:
    """The inputs from an ``.npz`` file, checked against the model.

    Raises:
        TargetError: the file cannot be read, or a name, type or shape in it is not the model's.
    """
    try:
        # numpy leaves a file open that it opened and could not read.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise TargetError(f"{path} is a single array: --input takes an .npz file")
            with archive:
                arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise TargetError(f"{path} does not exist") from error
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise TargetError(
            f"{path} is not an .npz file of plain arrays, or it is damaged ({type(error).__name__})"
        ) from error
    missing = [spec.name for spec in specs if spec.name not in arrays]
    unknown = sorted(set(arrays) - {spec.name for spec in specs})
    if missing:
        raise TargetError(
            f"{path} lacks the input{'s' * (len(missing) > 1)} {', '.join(missing)}; it holds"
            f" {', '.join(sorted(arrays)) or 'nothing'}"
        )
    if unknown:
        names = ", ".join(spec.name for spec in specs) or "none"
        raise TargetError(f"{path}: {', '.join(unknown)} is no input of the model: {names}")
    for spec in specs:
        _check_array(path, spec, arrays[spec.name])
    return [arrays[spec.name] for spec in specs]


def _check_array(path: Path, spec: InputSpec, array: Array) -> None:
    dtype = _dtype(spec)
    if array.dtype.kind != dtype.kind or (dtype.kind != "U" and array.dtype != dtype):
        name = "str" if dtype.kind == "U" else dtype.name
        raise TargetError(f"{path}: {spec.name} is of type {array.dtype}, the model takes {name}")
    fits = len(array.shape) == len(spec.shape) and all(
        spec.is_dynamic(i) or spec.shape[i] == size for i, size in enumerate(array.shape)
    )
    if not fits:
        raise TargetError(
            f"{path}: {spec.name} has the shape {_sizes(array.shape)}, the model takes"
            f" {spec.shape_text()}"
        )


def _batch_dimensions(specs: Sequence[InputSpec], known: Sequence[str]) -> list[str]:
    named = [name for name in known if name.casefold() in _BATCH_NAMES]
    if named:
        return named
    first = [s.dimension_name(0) for s in specs if s.shape and s.is_dynamic(0)]
    if not first:
        shapes = "; ".join(f"{s.name}: {s.shape_text()}" for s in specs) or "no inputs"
        raise UsageError(f"--batch: the model has no dynamic batch dimension ({shapes})")
    return list(dict.fromkeys(first))


def element_type_of(name: str) -> str:
    """ONNX Runtime's name of the element type that numpy calls `name`.

    Raises:
        TargetError: there is none.
    """
    for kind, dtype in _DTYPES.items():
        # numpy's name of strings has their length.
        if dtype == name or (dtype == "str" and name.startswith("str")):
            return kind
    raise TargetError(f"no tensor has elements of type {name}")


def _dtype(spec: InputSpec) -> np.dtype[Any]:
    name = _DTYPES.get(spec.type)
    if name is None:
        raise TargetError(
            f"input {spec.name!r} is of type {spec.type}, which sgxlens cannot give: write a script"
            " that runs the model and record that"
        )
    return np.dtype(name)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"
