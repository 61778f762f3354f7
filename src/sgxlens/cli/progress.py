# SPDX-License-Identifier: Apache-2.0
"""One line on standard error that tells how far a recording is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from sgxlens.text import one_line

if TYPE_CHECKING:
    from typing_extensions import Self

    from sgxlens.recording.session import Progress

# A line that is rewritten, on a terminal; else lines in a log, seldom.
_TERMINAL_SECONDS = 0.25
_LOG_SECONDS = 15.0
_WIDTH = 79


class ProgressLine:
    """Shows the progress of a session; leaves the terminal as it was.

    Args:
        quiet: shows nothing.
        is_resumable: what is interrupted can be taken up by the same command, and that is said.
    """

    def __init__(self, *, quiet: bool, is_resumable: bool = False) -> None:
        self._quiet = quiet
        self._is_resumable = is_resumable
        self._is_terminal = sys.stderr.isatty()
        self._period = _TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS
        self._started_at = self._shown_at = time.monotonic()
        self._shown_count = 0
        self._is_dirty = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_dirty:
            self._write("\r\033[K")
        if self._is_resumable and kind is not None and issubclass(kind, KeyboardInterrupt):
            self._write(
                "sgxlens: interrupted; the same command goes on from the recordings that are"
                " finished\n"
            )

    def tell(self, doing: str) -> None:
        """Show what is being done beside recording, if it is time."""
        self._show(f"sgxlens: {time.monotonic() - self._started_at:5.0f} s  {one_line(doing)}")

    def update(self, progress: Progress) -> None:
        """Show `progress`, if it is time."""
        period = time.monotonic() - self._shown_at
        if self._quiet or period < self._period:
            return
        rate = (progress.line_access_count - self._shown_count) / period
        self._shown_count = progress.line_access_count
        text = (
            f"sgxlens: {progress.elapsed_seconds:5.0f} s"
            f"  {progress.line_access_count / 1e6:,.0f} M accesses"
            f"  {rate / 1e6:.0f} M/s  phase: {one_line(progress.phase, 24)}"
        )
        if progress.waiting_for_children:
            text += f"  (waiting for {progress.process_count} child processes)"
        if progress.doing:
            text = f"sgxlens: {progress.elapsed_seconds:5.0f} s  {progress.doing}"
        if progress.is_ending:
            text = "sgxlens: waiting for the program to end; Ctrl-C kills it"
        self._show(text)

    def _show(self, text: str) -> None:
        now = time.monotonic()
        if self._quiet or now - self._shown_at < self._period:
            return
        self._shown_at = now
        if self._is_terminal:
            self._write(f"\r{text[:_WIDTH]}\033[K")
            self._is_dirty = True
        else:
            self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # nobody looks any more: no reason to end a recording
            self._quiet = True
