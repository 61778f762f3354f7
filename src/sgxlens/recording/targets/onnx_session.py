# SPDX-License-Identifier: Apache-2.0
"""The settings of ONNX Runtime's session that a model is recorded with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sgxlens.errors import UsageError, first_problem
from sgxlens.user_files import read_user_file, shown_path

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Model(BaseModel):
    """Immutable; unknown fields are refused: they are mistyped."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ArenaSettings(_Model):
    """How the arena that ONNX Runtime allocates activations from grows; see ``OrtArenaCfg``.

    A size that is left out is ONNX Runtime's own.

    Attributes:
        extend_strategy: ``power_of_two``: each piece is at least twice as large as the one before;
            ``same_as_requested``: as large as what is asked for.
        initial_chunk_bytes: size of the first piece.
        max_dead_bytes_per_chunk: what may stay unused at the end of a piece that is handed out.
        max_bytes: size of all pieces together; more is an error.
    """

    extend_strategy: Literal["power_of_two", "same_as_requested"] = "power_of_two"
    initial_chunk_bytes: int | None = Field(default=None, ge=1, strict=True)
    max_dead_bytes_per_chunk: int | None = Field(default=None, ge=0, strict=True)
    max_bytes: int | None = Field(default=None, ge=1, strict=True)


class SessionSettings(_Model):
    """Settings of an ``onnxruntime.InferenceSession``; the defaults are those of `sgxlens record`.

    They are ONNX Runtime's own but for threads: one, which does not spin. Under the tracer one
    thread runs at a time, and one that spins keeps the others waiting.

    Attributes:
        intra_op_threads: threads of an operator; None: as ``--threads`` says.
        inter_op_threads: operators that run at once, with `execution_mode` ``parallel``.
        execution_mode: whether operators that do not depend on each other run at once.
        graph_optimization: how far the graph is rewritten when the model is loaded, as in
            ``GraphOptimizationLevel``.
        enable_cpu_mem_arena: keep memory of activations in an arena.
        enable_mem_pattern: allocate what the first run needed in one piece.
        enable_mem_reuse: let activations take the place of those not needed any more.
        allow_spinning: whether threads that wait for work spin.
        arena: how the arena grows; None: as ONNX Runtime does it.
        config: further entries of the session (``SessionOptions.add_session_config_entry``), as
            ``session.disable_prepacking``.
        run_config: the same of each run (``RunOptions.add_run_config_entry``).
    """

    intra_op_threads: int | None = Field(default=None, ge=1, strict=True)
    inter_op_threads: int = Field(default=1, ge=1, strict=True)
    execution_mode: Literal["sequential", "parallel"] = "sequential"
    graph_optimization: Literal["disable", "basic", "extended", "all"] = "all"
    enable_cpu_mem_arena: bool = Field(default=True, strict=True)
    enable_mem_pattern: bool = Field(default=True, strict=True)
    enable_mem_reuse: bool = Field(default=True, strict=True)
    allow_spinning: bool = Field(default=False, strict=True)
    arena: ArenaSettings | None = None
    config: dict[str, str] = {}
    run_config: dict[str, str] = {}

    def changed(self, fields: Mapping[str, Any]) -> SessionSettings:
        """These settings with other values of `fields`; entries of ``config`` are added to.

        Raises:
            UsageError: there is no such field, or a value is not possible.
        """
        merged = self.model_dump()
        for name, value in fields.items():
            merged[name] = {**merged[name], **value} if name in ("config", "run_config") else value
        return _validated(merged, "session settings")


def load_session_settings(path: str | os.PathLike[str]) -> SessionSettings:
    """Read settings from a JSON file: an object with the fields of `SessionSettings`.

    Raises:
        UsageError: the file cannot be read or is not as it should be; the message names the field.
    """
    text = read_user_file(
        path,
        kind="file of session settings",
        size_max_bytes=1 << 20,
        wanted="session settings are a JSON file",
    )
    return _validated(text, shown_path(path))


def session_settings(
    given: SessionSettings | Mapping[str, Any] | str | os.PathLike[str] | None,
) -> SessionSettings:
    """Settings from whatever they are given as: themselves, their fields, or a JSON file.

    Raises:
        UsageError: they are not as they should be; the message names the field.
    """
    if given is None:
        return SessionSettings()
    if isinstance(given, SessionSettings):
        return given
    if isinstance(given, (str, os.PathLike)):
        return load_session_settings(given)
    return _validated(dict(given), "session settings")


def _validated(content: dict[str, Any] | bytes, where: str) -> SessionSettings:
    try:
        if isinstance(content, bytes):
            return SessionSettings.model_validate_json(content)
        return SessionSettings.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(SessionSettings.model_fields)
            raise UsageError(f"{where}: there is no field {field!r}: there are {known}") from error
        raise UsageError(f"{where}: {first_problem(error)}") from error
