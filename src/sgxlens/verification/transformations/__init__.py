# SPDX-License-Identifier: Apache-2.0
"""Changes of an ONNX model that a `Modification` can name, one file each.

To add one: a module here with a `Transformation` of the name ``TRANSFORMATION``, and its name in
`_MODULES`. It reads a model, never writes to it, and writes the changed one where it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from sgxlens.errors import UsageError
from sgxlens.text import one_line
from sgxlens.verification.transformations.contract import (
    ModelContext,
    Transformation,
    TransformationError,
)

_MODULES = {
    "dynamic-batch": "dynamic_batch",
    "external-data": "external_data",
    "int8-dynamic": "int8_dynamic",
    "optimized": "optimized",
    "ort-format": "ort_format",
}

#: Those that write what no other one can read, or would undo: they come last, in this order.
_LAST = ("optimized", "external-data", "ort-format")

__all__ = [
    "ModelContext",
    "Transformation",
    "TransformationError",
    "in_order",
    "transformation",
    "transformation_names",
]


def transformation_names() -> tuple[str, ...]:
    """The names of all transformations."""
    return tuple(_MODULES)


def transformation(name: str) -> Transformation:
    """The transformation of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in _MODULES:
        known = ", ".join(_MODULES)
        raise UsageError(
            f"no transformation of a model is called {one_line(name, 60)!r}: there are {known}"
        )
    module = import_module(f"sgxlens.verification.transformations.{_MODULES[name]}")
    found: Transformation = module.TRANSFORMATION
    return found


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Names of transformations in an order in which they can follow each other."""
    return tuple(sorted(names, key=lambda name: _LAST.index(name) + 1 if name in _LAST else 0))
