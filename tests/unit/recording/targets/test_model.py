# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess

import pytest

from sgxlens.recording.targets.model import how_it_died


@pytest.mark.parametrize(
    ("status", "stderr", "message"),
    [
        (-9, b"", "was killed, perhaps for want of memory"),
        (-200, b"", "crashed (signal 200)"),
        (1, b"Traceback\nKeyError: 'x'\n", "failed: KeyError: 'x'"),
        (3, b"", "exited with 3"),
    ],
)
def test_how_it_died(status: int, stderr: bytes, message: str) -> None:
    result = subprocess.CompletedProcess([], status, b"", stderr)
    assert how_it_died(result) == message
