# SPDX-License-Identifier: Apache-2.0
"""Every error that sgxlens raises on purpose.

    SgxlensError
    ├── UsageError      an option or argument that makes no sense
    ├── TargetError     the program or model to be recorded cannot be recorded
    ├── TracerError     the tracer is missing, or failed
    ├── StreamError     the stream from the tracer is damaged
    └── RecordingError  a recording cannot be written or read

The message is one line for the user and holds the remedy where there is one. The command line
prints it as ``sgxlens: error: MESSAGE`` and exits with status 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.text import one_line

if TYPE_CHECKING:
    from pydantic import ValidationError

#: Of a message of another library, which may quote a whole file.
_PROBLEM_MAX = 300


class SgxlensError(Exception):
    """Base of all errors of sgxlens."""

    @property
    def message(self) -> str:
        """What went wrong and what to do about it, in one line."""
        return one_line(str(self))


class UsageError(SgxlensError):
    """An option or argument makes no sense."""


class TargetError(SgxlensError):
    """The program or model to be recorded cannot be recorded."""


class TracerError(SgxlensError):
    """The tracer is missing, or failed."""


class StreamError(SgxlensError):
    """The stream from the tracer is damaged."""


class RecordingError(SgxlensError):
    """A recording cannot be written, or is incomplete, damaged or of a newer version."""


def first_problem(error: ValidationError) -> str:
    """What is wrong with data that is not as its model says: the first field, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = {
        "extra_forbidden": "there is no such field",
        "missing": "this field is missing",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    return one_line(f"{field}: {message}" if field else message, _PROBLEM_MAX)
