# SPDX-License-Identifier: Apache-2.0
"""What the contexts of a phase use, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgxlens.recording.bitmaps import Bitmaps, Integers


@dataclass(frozen=True, eq=False)
class Contexts:
    """The contexts of the phase, by number; arrays of one length.

    ``operator`` is an index into `PhaseFacts.operators`, or `NO_OPERATOR`.
    """

    number: Integers
    span: Integers
    thread: Integers
    operator: Integers
    start_position: Integers
    end_position: Integers
    line_access_count: Integers


@dataclass(frozen=True, eq=False)
class Uses:
    """Rows of ``page_use``: arrays of one length; ``context`` and ``page`` are indices."""

    context: Integers
    page: Integers
    lines: Bitmaps
    written: Bitmaps
    fetched: Bitmaps


@dataclass(frozen=True, eq=False)
class UsePieces:
    """Rows of ``page_use`` cut where regions meet; ``region`` is an index or `NO_REGION`."""

    use: Integers
    region: Integers
    lines: Bitmaps
    written: Bitmaps


@dataclass(frozen=True, eq=False)
class LineUses:
    """Rows of ``line_use``: arrays of one length.

    ``context`` is an index, ``region`` one or `NO_REGION`; ``line`` is the number of the line.
    """

    context: Integers
    line: Integers
    region: Integers
    bytes: Bitmaps
    written: Bitmaps
