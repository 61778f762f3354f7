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

from sgxlens.text import one_line


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
