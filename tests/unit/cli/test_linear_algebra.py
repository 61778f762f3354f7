# SPDX-License-Identifier: Apache-2.0
"""numpy is imported without threads, and programs that are started find no trace of that."""

from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = """
import os
from sgxlens.cli.linear_algebra import import_numpy_alone
before = dict(os.environ)
import_numpy_alone()
import numpy
print(len(os.listdir("/proc/self/task")), dict(os.environ) == before)
"""


def test_numpy_starts_no_thread_and_the_environment_stays() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    process = [sys.executable, "-c", _PROGRAM]
    found = subprocess.run(process, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "1 True\n"
