# SPDX-License-Identifier: Apache-2.0
"""What targets that are models have in common: a folder, and a program of sgxlens that reads it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sgxlens.errors import TargetError
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


class ModelTarget:
    """A model that was checked natively, and is ready to run; works until `close`.

    The folder holds ``options.json`` and whatever else the runner reads; the runner writes
    ``report.json`` where it is asked to check, and what it timed.
    """

    #: What ``recording.json`` calls such targets.
    kind: ClassVar[str]
    #: The module that runs the model.
    runner: ClassVar[str]
    #: Whose library runs it, for people.
    library: ClassVar[str]

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sgxlens-"))
        self._info: dict[str, Any] = {}

    def command(self) -> list[str]:
        """The command line to run."""
        return [sys.executable, "-m", self.runner, str(self._folder)]

    def native_command(self, *, profiled: bool = False) -> list[str] | None:
        """The command line for a native run, which may make further inferences."""
        return [*self.command(), "operators" if profiled else "phases"]

    def info(self) -> dict[str, Any]:
        """The field ``target`` of ``recording.json``."""
        return self._info

    def close(self) -> None:
        """Removes what was prepared, and what runs left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_options(self, options: Mapping[str, Any]) -> None:
        text = json.dumps(options)
        (self._folder / "options.json").write_text(text, encoding="ascii")

    def _report(self, options: Mapping[str, Any], failure: str) -> dict[str, Any]:
        """What the runner reports when it runs natively; `failure` begins what is said if not.

        Raises:
            TargetError: it died before it reported anything.
        """
        self._write_options(options)
        report_file = self._folder / "report.json"
        report_file.unlink(missing_ok=True)
        result = subprocess.run(
            self.command(), check=False, stdin=subprocess.DEVNULL, capture_output=True
        )
        try:
            report: dict[str, Any] = json.loads(report_file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise TargetError(f"{failure}: {self.library} {how_it_died(result)}") from error
        return report


def how_it_died(result: subprocess.CompletedProcess[bytes]) -> str:
    """How a process ended that should have left a report, for "it ...": one line."""
    if result.returncode == -signal.SIGKILL:
        return "was killed, perhaps for want of memory"
    if result.returncode < 0:
        try:
            name = signal.Signals(-result.returncode).name
        except ValueError:
            name = f"signal {-result.returncode}"
        return f"crashed ({name})"
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"failed: {one_line(lines[-1], 200)}" if lines else f"exited with {result.returncode}"
