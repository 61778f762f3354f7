# SPDX-License-Identifier: Apache-2.0
"""What a recording says of how it was made, so that the program can be run and recorded again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgxlens.comparison.comparable import sample_count
from sgxlens.errors import SgxlensError, UsageError
from sgxlens.recording.metadata import FileInfo, file_info
from sgxlens.recording.session import DEFAULT_LINE_USE_INTERVAL
from sgxlens.recording.targets.onnx_inputs import (
    InputSpec,
    element_type_of,
    load_inputs,
    random_inputs,
)
from sgxlens.recording.targets.onnx_session import SessionSettings, session_settings
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.recording.reader import Recording
    from sgxlens.recording.targets.onnx_inputs import Array


@dataclass(frozen=True)
class Original:
    """A recorded program that is still there.

    Attributes:
        kind: of its target: ``onnx``, ``torch``, ``script`` or ``command``.
        words: what `sgxlens.record` takes.
        options: further arguments of `sgxlens.record`: of the model, and of the tracer.
        variables: of the environment, that were set.
        session: settings of the session of an ONNX model.
        specs: inputs of an ONNX model.
        seed: of random inputs; None: they are of `input_file`, or it has none.
        input_file: the inputs that were given.
        sample_count: the first dimension of all inputs; None: there is no such.
        model_file: size and hash of an ONNX model as it is now.
        exit_code: how it ended.
        notes: what makes new recordings differ beside a modification, one sentence each.
    """

    kind: str
    words: tuple[str, ...]
    options: dict[str, Any]
    variables: dict[str, str]
    session: SessionSettings
    specs: tuple[InputSpec, ...] = ()
    seed: int | None = None
    input_file: Path | None = None
    sample_count: int | None = None
    model_file: FileInfo | None = None
    exit_code: int | None = 0
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The file of an ONNX model."""
        return Path(self.words[0])

    def inputs(self, count: int) -> list[list[Array]]:
        """The recorded inputs of an ONNX model, and further ones like them.

        Random inputs are followed by those of the next seeds; of given ones there are no others.

        Raises:
            TargetError: they cannot be made or read.
        """
        if self.input_file is not None:
            return [load_inputs(self.input_file, self.specs)]
        shapes = [tuple(int(size or 0) for size in spec.shape) for spec in self.specs]
        seed = self.seed or 0
        return [random_inputs(self.specs, shapes, seed + number) for number in range(count)]


def original_of(recording: Recording) -> Original:
    """The program that was recorded.

    Raises:
        UsageError: it is not there any more, was changed, or did not end well; the message says
            what to do.
    """
    metadata = recording.metadata
    outcome = metadata.outcome
    if outcome.status in ("interrupted", "lost"):
        raise UsageError(
            f"{recording.path} is of a program that did not end by itself ({outcome.status}): there"
            " is nothing to hold a new recording against; record it again"
        )
    target: dict[str, Any] = metadata.target.model_dump()
    options: dict[str, Any] = {
        "isa": metadata.tracer.isa,
        "follow_children": metadata.settings.follow_children,
        "start_at_mark": metadata.settings.start_at_mark,
        "sampling_rate": metadata.settings.sampling_rate,
        "attribute": metadata.settings.attribute,
        "line_use_interval": DEFAULT_LINE_USE_INTERVAL
        if metadata.settings.line_use_interval is None
        else metadata.settings.line_use_interval,
    }
    variables = dict(target.get("environment", {}))
    if target["kind"] == "onnx":
        return _model(recording, target, options, variables)
    nothing, status = SessionSettings(), outcome.exit_code
    if target["kind"] == "torch":
        options |= {name: target[name] for name in ("threads", "warmup", "runs")}
        options["is_torch"] = True
        words: tuple[str, ...] = (str(target["model"]),)
        return Original("torch", words, options, variables, nothing, exit_code=status)
    words = tuple(metadata.command)
    if target["kind"] == "script":
        # The first word is the Python that recorded.
        return Original("script", words[1:], options, variables, nothing, exit_code=status)
    options["is_command"] = True
    return Original("command", words, options, variables, nothing, exit_code=status)


def _model(
    recording: Recording, target: dict[str, Any], options: dict[str, Any], variables: dict[str, str]
) -> Original:
    path = Path(str(target["model"]))
    known = target.get("model_file")
    notes: list[str] = []
    try:
        found = file_info(path)
    except OSError as error:
        raise UsageError(
            f"the model {one_line(str(path))} cannot be read ({error.strerror}): verify in the"
            " folder in which it was recorded, with the model where it was"
        ) from error
    if known is None:
        notes.append("an older sgxlens recorded it: whether the model is the same is not known")
    elif FileInfo.model_validate(known) != found:
        raise UsageError(
            f"the model {one_line(str(path))} is not the one that was recorded as {recording.path}:"
            " it was changed since; record it again"
        )
    notes += _versions(target.get("onnxruntime"))
    options |= {name: target[name] for name in ("threads", "warmup", "runs")}
    try:
        session = session_settings(target.get("session"))
        specs = tuple(
            InputSpec(item["name"], element_type_of(item["type"]), tuple(item["shape"]))
            for item in target["inputs"]
        )
    except (KeyError, TypeError, SgxlensError) as error:
        raise UsageError(
            f"{recording.path} does not say which inputs it was recorded with: record it again"
        ) from error
    given = target.get("input_file")
    return Original(
        kind="onnx",
        words=(str(path),),
        options=options,
        variables=variables,
        session=session,
        specs=specs,
        seed=target.get("seed"),
        input_file=None if given is None else Path(given),
        sample_count=sample_count(recording.metadata),
        model_file=found,
        exit_code=recording.metadata.outcome.exit_code,
        notes=tuple(notes),
    )


def _versions(recorded: object) -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        here = version("onnxruntime")
    except PackageNotFoundError:
        return []
    if recorded in (None, here):
        return []
    return [f"it was recorded with ONNX Runtime {recorded}, here is {here}: the change is both"]
