# SPDX-License-Identifier: Apache-2.0
"""Records a changed program in a process of its own, so that several can be recorded at once.

``python -m sgxlens.verification.worker FOLDER`` reads ``FOLDER/job.json`` and makes
``FOLDER/recording``. Progress, and what went wrong, are lines of JSON on standard output. It ends,
and leaves no recording, when its standard input ends: then nobody waits for it any more.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sgxlens.errors import SgxlensError

if TYPE_CHECKING:
    from sgxlens.recording.session import Progress

JOB_FILE = "job.json"
RECORDING = "recording"
LOG_FILE = "record.log"
_PERIOD_SECONDS = 0.5


def main(folder: str) -> int:
    """Record; return the exit status."""
    told = _take_standard_streams(Path(folder, LOG_FILE))
    try:
        job = json.loads(Path(folder, JOB_FILE).read_text(encoding="ascii"))
        _record(Path(folder), job, told)
    except SgxlensError as error:
        _tell(told, error=error.message)
        return 2
    return 0


def _record(folder: Path, job: dict[str, Any], told: TextIO) -> None:
    from sgxlens.recording.api import record

    shown_at = 0.0

    def show(progress: Progress) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at >= _PERIOD_SECONDS:
            shown_at = now
            _tell(told, phase=progress.phase, accesses=progress.line_access_count)

    output = folder / RECORDING
    recording = record(
        job["words"],
        output,
        force=True,
        variables=job["variables"],
        native=job["native"],
        on_progress=show,
        **job["options"],
    )
    outcome = recording.metadata.outcome
    if outcome.status in ("interrupted", "lost") or outcome.exit_code != job["exit_code"]:
        shutil.rmtree(output)
        what = outcome.message or f"{outcome.status} with {outcome.exit_code}"
        raise SgxlensError(f"the changed program did not end as the recorded one did: {what}")


def _take_standard_streams(log: Path) -> TextIO:
    """Leave the recorded program nothing of the pipes to the parent; return where to tell it."""
    watched, told = os.dup(0), os.dup(1)  # which no other program inherits
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(number, target)
    os.close(nothing)
    os.close(written)
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()
    return os.fdopen(told, "w", encoding="ascii", buffering=1)


def _end_with_parent(watched: int) -> None:
    while os.read(watched, 1):
        pass
    # Twice: the second one does not wait for the program.
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def _tell(told: TextIO, **fields: Any) -> None:
    try:
        told.write(json.dumps(fields) + "\n")
    except OSError:  # the parent is gone: the end follows
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
