# SPDX-License-Identifier: Apache-2.0
"""The target of ``sgxlens record SCRIPT.py``: a Python script, run by this Python."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgxlens.errors import TargetError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


class ScriptTarget:
    """A Python script and its arguments; it may mark its phases with ``sgxlens.mark``.

    Raises:
        TargetError: the script cannot be read or is no Python.
    """

    kind = "script"

    def __init__(self, script: str | os.PathLike[str], arguments: Sequence[str] = ()) -> None:
        self.script = Path(script)
        self._arguments = list(arguments)
        if self.script.is_dir() and not (self.script / "__main__.py").is_file():
            raise TargetError(f"{script} is a folder without a __main__.py, not a Python script")
        if not self.script.is_dir():
            self._check_syntax()

    def command(self) -> list[str]:
        """The command line to run."""
        return [sys.executable, str(self.script), *self._arguments]

    def native_command(self, *, profiled: bool = False) -> list[str] | None:
        """The command line for a native run; None with `profiled`: nobody knows its operators."""
        return None if profiled else self.command()

    def info(self) -> dict[str, Any]:
        """The field ``target`` of ``recording.json``."""
        return {"kind": self.kind, "script": str(self.script), "python": sys.version.split()[0]}

    def close(self) -> None:
        """Does nothing: a script needs no preparation."""

    def _check_syntax(self) -> None:
        # The interpreter would find it too, but under the tracer only after seconds.
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the script's own run shows them
                compile(self.script.read_bytes(), str(self.script), "exec", dont_inherit=True)
        except FileNotFoundError as error:
            raise TargetError(f"{self.script} does not exist") from error
        except OSError as error:
            raise TargetError(f"cannot read {self.script}: {error.strerror}") from error
        except SyntaxError as error:
            raise TargetError(
                f"{self.script} is not valid Python: {error.msg} (line {error.lineno})"
            ) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise TargetError(f"{self.script} is not valid Python: {error}") from error
