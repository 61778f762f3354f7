# SPDX-License-Identifier: Apache-2.0
"""Reading and writing models, and letting ONNX Runtime rewrite them."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sgxlens.recording.session import catching_signals
from sgxlens.text import one_line
from sgxlens.verification.transformations.contract import TransformationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sgxlens.verification.transformations.contract import ModelContext

#: A protobuf of 2 GiB or more cannot be written; weights of such models stay in a file beside it.
_PROTOBUF_BYTES_MAX = (1 << 31) - (1 << 20)
_INSTALL = "pip install 'sgxlens[onnx]'"


def loaded(path: Path, *, with_weights: bool = True) -> Any:
    """The model with its weights, also those of other files; or as it is in its own file.

    Raises:
        TransformationError: it cannot be read, or there is no package onnx.
    """
    if path.suffix == ".ort":
        raise TransformationError(
            f"{path.name} is in ONNX Runtime's own format, which cannot be changed: verify with the"
            " .onnx model that it was made from"
        )
    try:
        with _whole_imports():
            import onnx
    except ImportError as error:
        raise TransformationError(
            f"changing an ONNX model needs the package onnx ({error}): {_INSTALL}"
        ) from error
    try:
        return onnx.load(str(path), load_external_data=with_weights)
    except Exception as error:
        raise TransformationError(f"{path.name} cannot be read: {told(error)}") from error


@contextmanager
def _whole_imports() -> Iterator[None]:
    """Put off signals that end this process: half imported, the native part of onnx crashes."""
    with catching_signals() as signals:
        yield
    for number in signals.received:
        signal.raise_signal(number)


def saved(model: Any, path: Path, *, external: bool | None = None) -> Path:
    """Write a model; with its weights in a file beside it if `external`, or where they must be.

    Raises:
        TransformationError: it cannot be written.
    """
    import onnx

    if external is None:
        external = model.ByteSize() >= _PROTOBUF_BYTES_MAX
    try:
        if external:
            onnx.save(
                model,
                str(path),
                save_as_external_data=True,
                all_tensors_to_one_file=True,
                location=f"{path.name}.data",
                size_threshold=1024,
            )
        else:
            onnx.save(model, str(path))
    except Exception as error:
        raise TransformationError(f"{path.name} cannot be written: {told(error)}") from error
    return path


def rewritten(
    source: Path, target: Path, context: ModelContext, config: Mapping[str, str] | None = None
) -> Path:
    """Let ONNX Runtime write the graph as it would run it; `config`: entries of the session.

    But for layouts of weights that depend on the processor, which it chooses at level ``all``: a
    graph written for AVX-512 fails, or computes something else, without it, as under the tracer.
    They are left to the load.

    Raises:
        TransformationError: it cannot.
    """
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(target)
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = {
            "disable": level.ORT_DISABLE_ALL,
            "basic": level.ORT_ENABLE_BASIC,
            "extended": level.ORT_ENABLE_EXTENDED,
            "all": level.ORT_ENABLE_EXTENDED,
        }[context.session["graph_optimization"]]
        entries = {**context.session["config"], **(config or {})}
        for name, value in entries.items():
            options.add_session_config_entry(name, value)
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except ImportError as error:
        raise TransformationError(
            f"rewriting a model needs onnxruntime ({error}): {_INSTALL}"
        ) from error
    except Exception as error:
        raise TransformationError(
            f"ONNX Runtime cannot rewrite {source.name}: {told(error)}"
        ) from error
    return target


def told(error: BaseException) -> str:
    """An exception in one line."""
    return one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 200)


def external_files(path: Path) -> list[Path]:
    """The files beside a model that hold weights of it.

    Raises:
        TransformationError: the model cannot be read, or there is no package onnx.
    """
    if path.suffix == ".ort":
        return []
    graph = loaded(path, with_weights=False).graph
    names = {
        entry.value
        for constant in graph.initializer
        for entry in constant.external_data
        if entry.key == "location"
    }
    return [path.parent / name for name in sorted(names)]
