# SPDX-License-Identifier: Apache-2.0
"""Writes what is exported of one recording."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.runtime import load_runtime
from sgxlens.enclave.transitions import count_transitions
from sgxlens.errors import RecordingError, UsageError
from sgxlens.prediction.predict import DEFAULT_RUNTIME, evaluate
from sgxlens.prediction.several import on_each
from sgxlens.report.document import build_document
from sgxlens.report.export.tables import csv_bytes, parquet_bytes, tables
from sgxlens.report.export.trace import trace, trace_bytes
from sgxlens.report.files import write_file, write_files
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sgxlens.enclave.platform import Platform
    from sgxlens.prediction.evaluation import Evaluation
    from sgxlens.prediction.predict import Settings
    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.reader import Recording
    from sgxlens.report.document import Document


class Source:
    """What exports are made of: a recording, and what it would cost.

    A recording from which nothing can be predicted still has tables and figures of its own:
    `no_prediction` says why then, and is empty else.

    Args:
        recording: the recording.
        platforms: names or files of platforms; none: all.
        runtime: name or file of the runtime; None: the default.
        settings: what else is asked for.
        phase: index or name of the phase; None: as `sgxlens.predict` chooses.
        native_seconds: as for `sgxlens.predict`.

    Raises:
        UsageError: an argument makes no sense.
        RecordingError: the recording is damaged.
    """

    def __init__(
        self,
        recording: Recording,
        platforms: Sequence[str],
        runtime: str | None,
        settings: Settings,
        *,
        phase: int | str | None = None,
        native_seconds: float | None = None,
    ) -> None:
        self.recording = recording
        self.no_prediction = ""
        self._runtime = load_runtime(runtime or DEFAULT_RUNTIME)
        self._phase = phase
        self._found: list[tuple[Platform, Evaluation]] = []

        def evaluated(name: str) -> tuple[Platform, Evaluation]:
            place = load_platform(name)
            found = evaluate(
                recording,
                place,
                self._runtime,
                settings,
                phase=phase,
                native_seconds=native_seconds,
            )
            # All of it now: what cannot be predicted is known before anything is written.
            _ = found.prediction
            return place, found

        try:
            self._found, _ = on_each(platforms, evaluated)
        except RecordingError as error:
            self.no_prediction = error.message

    @property
    def _predictions(self) -> list[Prediction]:
        return [found.prediction for _, found in self._found]

    @cached_property
    def _document(self) -> Document:
        """What is said of the phase that is predicted."""
        if not self._found:
            return build_document(self.recording, self._phase)
        steady = self._found[0][1].prediction.steady
        several = len(self.recording.metadata.processes) > 1
        return build_document(self.recording, steady.phase, steady.process if several else None)

    def write(self, format_: str, path: Path) -> list[str]:
        """Write a trace (``chrome-trace``) or tables (``csv``, ``parquet``).

        Returns:
            What was written, a line each.

        Raises:
            UsageError: there is nothing to make a trace of, or it cannot be written.
        """
        if format_ == "chrome-trace":
            content = self._trace(compressed=path.suffix == ".gz")
            write_file(path, content)
            return [f"{path} ({format_bytes(len(content))})"]
        render = csv_bytes if format_ == "csv" else parquet_bytes
        found = tables(self._document, self._predictions)
        return _written(path, {f"{name}.{format_}": render(t) for name, t in found.items()})

    def draw(self, folder: Path, format_: str) -> list[str]:
        """Draw figures into a folder; see `write`.

        Raises:
            UsageError: matplotlib is not installed, or a figure cannot be written.
        """
        from sgxlens.report.export.figures import figures

        return _written(folder, figures(self._document, self._predictions, format_))

    def _trace(self, *, compressed: bool) -> bytes:
        if not self._found:
            raise UsageError(f"no trace without times: {self.no_prediction}")
        # Where it costs most there is most to be seen.
        place, found = max(self._found, key=lambda one: one[1].prediction.steady.slowdown.likely)
        counts = count_transitions(self.recording, place, self._runtime)
        return trace_bytes(trace(self.recording, found, counts), compressed=compressed)


def _written(folder: Path, contents: Mapping[str, bytes]) -> list[str]:
    write_files(folder, contents)
    return [f"{folder / name} ({format_bytes(len(content))})" for name, content in contents.items()]
