# SPDX-License-Identifier: Apache-2.0
"""Threads that numpy starts when it is imported, for linear algebra, which nothing here does."""

from __future__ import annotations

import os
from typing import Final

#: How many OpenBLAS, with which numpy comes, starts (documentation of OpenBLAS, "Runtime
#: variables"); it is read when the library is loaded.
_THREAD_COUNT: Final = "OPENBLAS_NUM_THREADS"


def import_numpy_alone() -> None:
    """Imports numpy without threads for linear algebra, unless the user says how many there are.

    Each of them waits for work in a loop first, a tenth of a second of a processor. The environment
    stays as it is, for programs that are started.
    """
    if _THREAD_COUNT in os.environ:
        return
    os.environ[_THREAD_COUNT] = "1"
    try:
        import numpy  # noqa: F401, ICN001
    finally:
        del os.environ[_THREAD_COUNT]
