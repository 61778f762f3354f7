# SPDX-License-Identifier: Apache-2.0
"""Asks rules for advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import paged
import predictable
import sgxlens
from sgxlens.advice import Advice, Advisory

Make = Callable[..., Path]
SGX1, SGX2 = "xeon-e-2288g", "xeon-gold-6326"


def of(advisory: Advisory, rule: str) -> list[Advice]:
    assert not advisory.broken
    return [row.advice for row in advisory.advice if row.rule == rule]


def reason(advisory: Advisory, rule: str) -> str:
    assert not of(advisory, rule)
    return next(row.reason for row in advisory.silent if row.rule == rule)


def asked(rule: str, *arguments: Any, **settings: Any) -> list[Advice]:
    """What one rule advises."""
    return of(sgxlens.advise(*arguments, only=(rule,), **settings), rule)


def declined(rule: str, *arguments: Any, **settings: Any) -> str:
    """Why one rule has no advice."""
    return reason(sgxlens.advise(*arguments, only=(rule,), **settings), rule)


def calls(phase: int, position: int, name: str, count: int, **fields: Any) -> list[dict[str, Any]]:
    (row,) = predictable.syscalls(1)[:1]
    changed = {"phase": phase, "position": position, "name": name, **fields}
    return [{**row, "number": 1, **changed} for _ in range(count)]


def position_of(phase: int) -> int:
    rows = paged.tables()["phases"]
    return int(next(r["start_position"] + 1 for r in rows if r["phase"] == phase))
