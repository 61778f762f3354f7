# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from sgxlens.recording.native_times.summary import NativeSummary, NativeTime, phase_keys
from sgxlens.recording.reader import Phase
from sgxlens.recording.schemas import TABLES

Row = tuple[int, str, int, int | None, float]
START, FIRST, SECOND = (
    Phase(0, i, name, i, i + 1, i, i + 1, 1)
    for i, name in enumerate(("start", "inference 1", "inference 2"))
)


def summary(
    *rows: Row,
    profiled: Sequence[bool],
    phases: Sequence[Phase] = (START, FIRST, SECOND),
    pids: Sequence[int] = (7,),
) -> NativeSummary:
    """Native times of runs that profiled or not, with the phases of processes with these pids."""
    columns = ("run", "phase", "occurrence", "operator_index", "seconds")
    table = pa.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in rows],
        schema=TABLES["native_times"].schema,
    )
    info = SimpleNamespace(runs=[SimpleNamespace(profiled=flag) for flag in profiled])
    processes = [SimpleNamespace(process=i, pid=pid) for i, pid in enumerate(pids)]
    return NativeSummary(cast("Any", info), table, phase_keys(phases, cast("Any", processes)))


def test_phases_are_taken_from_the_runs_that_time_no_operators() -> None:
    native = summary(
        (0, "inference 1", 0, None, 3.0),
        (1, "inference 1", 0, None, 1.0),
        (2, "inference 1", 0, None, 9.0),
        (2, "inference 1", 0, 4, 0.5),
        profiled=[False, False, True],
    )
    assert native.of_phase(FIRST) == NativeTime((3.0, 1.0))
    assert native.of_operators(FIRST) == {4: NativeTime((0.5,))}
    assert native.of_phase(START) is None
    assert native.of_operators(START) == {}


def test_runs_that_time_operators_are_better_than_none() -> None:
    native = summary((0, "start", 0, None, 2.0), profiled=[True])
    assert native.of_phase(START) == NativeTime((2.0,))


def test_inferences_share_the_samples_of_all_also_of_those_that_were_not_recorded() -> None:
    native = summary(
        (0, "start", 0, None, 8.0),
        (0, "inference 1", 0, None, 9.0),
        (0, "inference 2", 0, None, 1.0),
        (0, "inference 3", 0, None, 2.0),
        (0, "unknown", 0, None, 7.0),
        profiled=[False],
    )
    assert native.of_phase(FIRST) == native.of_phase(SECOND) == NativeTime((9.0, 1.0, 2.0))
    assert native.of_phase(START) == NativeTime((8.0,))


def test_only_the_first_process_is_timed_and_what_it_becomes() -> None:
    start, became, child = (Phase(i, 0, "inference", 0, 1, 0, 1, 1) for i in range(3))
    native = summary(
        (0, "inference", 0, None, 1.0),
        (0, "inference", 1, None, 2.0),
        profiled=[False],
        phases=[start, became, child],
        pids=[7, 7, 8],
    )
    assert native.of_phase(start) == native.of_phase(became) == NativeTime((1.0, 2.0))
    assert native.of_phase(child) is None
    assert native.of_operators(child) == {}


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_what_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        summary((0, "start", 0, None, seconds), profiled=[False])
