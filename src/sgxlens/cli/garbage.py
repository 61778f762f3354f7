# SPDX-License-Identifier: Apache-2.0
"""How often Python looks for garbage while a command works."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: New objects that may hold others, less those that are gone, after which Python looks for cycles
#: among them; its own value is 700.
SELDOM_OBJECT_COUNT: Final = 1_000_000


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Looks for garbage seldom: for commands that build much, keep nearly all of it, and end.

    All objects that there are were looked at again and again, a tenth of the time of a report.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], SELDOM_OBJECT_COUNT), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
