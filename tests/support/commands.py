# SPDX-License-Identifier: Apache-2.0
"""The command `sgxlens`, run as a user runs it."""

from __future__ import annotations

import errno
import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgxlens.recording.environment import session_root

SGXLENS = str(Path(sysconfig.get_path("scripts")) / "sgxlens")
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Done:
    """How a command ended: its status as a shell tells it, and what it wrote."""

    status: int
    output: bytes
    errors: str


def run(*command: str | Path, patience_seconds: float = PATIENCE_SECONDS, **options: Any) -> Done:
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        capture_output=True,
        timeout=patience_seconds,
        **{"stdin": None if "input" in options else subprocess.DEVNULL, **options},
    )
    return Done(shell_status(done.returncode), done.stdout, done.stderr.decode())


def shell_status(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


def record_line(output: Path, command: Sequence[str | Path], *options: str) -> list[str]:
    """The command line that records `command` quietly; it runs once."""
    native = () if {"--native", "--native-runs"} & set(options) else ("--no-native",)
    return [SGXLENS, "record", "-q", "-o", str(output), *native, *options, "--", *map(str, command)]


def wait_until(happens: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and not only a zombie of it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_with(text: str) -> list[int]:
    """The processes that have `text` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(entry.name))
    return found


def session_folder(folder: Path) -> Path:
    """The folder of the session that runs a program whose command line names `folder`.

    Each traced process has a log there.
    """
    (found,) = {
        log.parent
        for pid in processes_with(str(folder))
        for log in session_root().glob(f"sgxlens-session-*/log.{pid}")
    }
    return found


def orphaned_folders(since: float) -> list[Path]:
    """The folders of sessions whose recorder is dead, of those that began at `since` or later.

    There may be some for a moment: a recorder takes one to clear its folder away.
    """
    found = []
    for path in session_root().glob("sgxlens-session-*"):
        try:
            if path.stat().st_mtime < since:
                continue
            os.close(os.open(path / "control", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno == errno.ENXIO:
                found.append(path)
    return found
