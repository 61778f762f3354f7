# SPDX-License-Identifier: Apache-2.0
"""The folder in which the tracer and the recorder meet (its protocol: stream.h)."""

from __future__ import annotations

import os
import select
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sgxlens.errors import TracerError

if TYPE_CHECKING:
    from typing_extensions import Self

CONTROL_NAME = "control"  # as in tracer/include/sgxlens/stream.h
ALIVE_NAME = "alive"

_PREFIX = "sgxlens-session-"
# A session opens its FIFO right after it made its folder. One that is older and has nobody
# listening belongs to a recorder that was killed.
_STALE_SECONDS = 10.0


class SessionFolder:
    """A private folder with the two FIFOs of a session; removed when it is closed.

    Raises:
        TracerError: it cannot be made.
    """

    def __init__(self, root: Path) -> None:
        _remove_stale(root)
        self._pending = b""
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        except OSError as error:
            raise TracerError(f"cannot make a session folder: {error}") from error
        try:
            self._control = _open_fifo(self.path / CONTROL_NAME, os.O_RDWR)
            # One reader first, for without one there is no opening for writing. It must not
            # stay: `has_tracers` asks for others.
            reader = _open_fifo(self.path / ALIVE_NAME, os.O_RDONLY)
            self._alive = os.open(self.path / ALIVE_NAME, os.O_WRONLY | os.O_NONBLOCK)
            os.close(reader)
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)
            raise TracerError(f"cannot make a FIFO in {self.path}: {error.strerror}") from error

    def announced(self) -> list[tuple[Path, int]]:
        """The rings announced since the last call, and the process that writes each."""
        while True:
            try:
                self._pending += os.read(self._control, 4096)
            except BlockingIOError:
                break
        *lines, self._pending = self._pending.split(b"\n")
        rings = []
        for line in lines:
            name, pid = line.decode("ascii").split(" ")
            rings.append((self.path / name, int(pid)))
        return rings

    def has_tracers(self) -> bool:
        """Whether a traced process is there, though it may not have announced its ring yet."""
        poll = select.poll()
        poll.register(self._alive, 0)
        return not poll.poll(0)

    def wait(self, seconds: float) -> None:
        """Wait for an announcement."""
        select.select([self._control], [], [], seconds)

    def close(self) -> None:
        """Remove the folder; traced processes that still run are killed by the kernel."""
        os.close(self._control)
        os.close(self._alive)
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_fifo(path: Path, flags: int) -> int:
    os.mkfifo(path, 0o600)
    return os.open(path, flags | os.O_NONBLOCK)


def _remove_stale(root: Path) -> None:
    """Remove what recorders left that were killed."""
    try:
        folders = [path for path in root.iterdir() if path.name.startswith(_PREFIX)]
    except OSError:
        return
    for folder in folders:
        try:
            status = folder.lstat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _STALE_SECONDS:
                continue
            # Fails unless the recorder lives, which has the FIFO open for reading.
            os.close(os.open(folder / CONTROL_NAME, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
