# SPDX-License-Identifier: Apache-2.0
"""What targets share that run natively, in a process of its own, before they are recorded."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from sgxlens.text import one_line

if TYPE_CHECKING:
    import subprocess


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
