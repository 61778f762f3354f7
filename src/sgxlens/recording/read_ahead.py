# SPDX-License-Identifier: Apache-2.0
"""Reads tables of a recording beside what else is done."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread, main_thread
from typing import TYPE_CHECKING, Final

from sgxlens.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sgxlens.recording.reader import Recording

#: What predictions take of the largest tables.
LARGEST: Final[Mapping[str, Sequence[str]]] = {
    "page_visits": ("page", "written", "ended", "idle", "position", "context"),
    "reuse_sources": ("context", "granularity", "region", "distance_min", "distance_max", "count"),
    "page_use": ("context", "page", "lines", "written_lines", "fetched_lines"),
}


def read_ahead(recording: Recording, columns: Mapping[str, Sequence[str]] = LARGEST) -> None:
    """Starts to read columns that will be asked for, by table.

    Tables that were not recorded are left out. What is damaged is told when it is asked for.
    """

    def read() -> None:
        for table, names in columns.items():
            if recording.has_table(table) and main_thread().is_alive():
                with suppress(RecordingError):
                    recording.columns(table, names)

    # The program's end waits for the table that is being read: a thread must not be cut off there.
    Thread(target=read, name="sgxlens-read-ahead").start()
