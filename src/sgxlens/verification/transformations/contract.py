# SPDX-License-Identifier: Apache-2.0
"""The contract of a transformation of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sgxlens.errors import TargetError

if TYPE_CHECKING:
    from pathlib import Path


class TransformationError(TargetError):
    """A model cannot be changed as asked."""


@dataclass(frozen=True)
class ModelContext:
    """What a transformation may need to know of how the model is run.

    Attributes:
        input_shapes: shapes of the inputs as recorded, by name.
        sample_count: the first dimension of all inputs; None: they do not agree on it.
        session: the session's settings as `SessionSettings` has them.
        threads: threads of an operator.
    """

    input_shapes: Mapping[str, tuple[int, ...]]
    sample_count: int | None
    session: Mapping[str, Any]
    threads: int


@dataclass(frozen=True)
class Transformation:
    """A change of a model.

    Attributes:
        name: as a `Modification` names it.
        about: what it does, in a few words.
        tolerance: how far an output may deviate, as a share of its largest magnitude in a sample.
        apply: gets the model's file, an empty folder and the context; writes the changed model
            into the folder and returns its file. It raises `TransformationError`, with one line
            that says why, if that model cannot be changed so.
    """

    name: str
    about: str
    tolerance: float
    apply: Callable[[Path, Path, ModelContext], Path]
