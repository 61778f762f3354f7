# SPDX-License-Identifier: Apache-2.0
"""What comes by chance does not verify, or refute, what a change saves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import paged
import sgxlens
from footprints import MIB, loading
from sgxlens.advice import Modification
from sgxlens.advice.advise import situation_of
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Constant, Range
from sgxlens.recording.native_times.model import load_times
from sgxlens.verification.chance import as_before, is_seldom_load, is_waiting
from sgxlens.verification.preparation import Prepared
from sgxlens.verification.verifying import Variant, verified_gains

MakeRecording = Callable[..., Path]


def test_threads_of_telemetry_count_alike_on_both_sides(
    make_recording: MakeRecording, tmp_path: Path
) -> None:
    paths = {
        count: make_copy(loading(make_recording, uploading=count), tmp_path / f"{count}")
        for count in (0, 1, 3)
    }
    situation = situation_of(paths[3], "xeon-e-2288g", "gramine", epc=paged.SMALL_EPC)

    def gains(count: int, **environment: str) -> list[float]:
        times = load_times(paths[3])
        no_plan: Any = None
        variant = Variant(
            no_plan,
            Prepared(tmp_path, before=times, after=times, outputs=None),
            sgxlens.open(paths[count]),
            was_there=False,
        )
        found = verified_gains(
            situation, Modification(environment=environment), variant, ("memory", "startup")
        )
        for gain, before in zip(
            found,
            (situation.prediction.sizing.total_bytes, situation.prediction.startup.total_seconds),
            strict=True,
        ):
            assert gain.before == before
            assert gain.before.likely - gain.after.likely == pytest.approx(gain.saved.likely)
        return [gain.saved.likely for gain in found]

    # The same program, of which fewer threads had started, or ended: nothing is saved.
    assert gains(3) == gains(1) == gains(0) == [0, 0]
    # It is what this change is for.
    assert gains(0, ORT_DISABLE_TELEMETRY="1")[0] > 2 * 64 * MIB
    assert gains(0, MALLOC_ARENA_MAX="1")[0] > 2 * 64 * MIB


def make_copy(recording: Path, place: Path) -> Path:
    """What the next one does not replace."""
    return recording.rename(place)


def charge(what: str, low: float, likely: float, cause: Any = "transitions") -> Charge:
    constant = Constant(low=1, likely=1, high=1, source="a test")
    return Charge(cause, what, constant, Range(low, likely, likely))


def test_loops_that_wait_for_a_time_count_as_often_as_before() -> None:
    before = [charge("traps of rdtsc", 0, 20_000), charge("OCALLs of read", 5, 5)]
    after = [charge("traps of rdtsc", 0, 90_000), charge("OCALLs of read", 3, 3)]
    found = {c.what: c.count.likely for c in as_before(before, after, is_waiting)}
    assert found == {"traps of rdtsc": 20_000, "OCALLs of read": 3}
    assert as_before(before, after[1:], is_waiting) == after[1:]
    certain = [charge("traps of rdtsc", 10, 10)]
    assert as_before(before, certain, is_waiting) == certain


def test_pages_seldom_used_are_loaded_as_often_as_before() -> None:
    seldom = "loads of pages seldom used"
    before = [charge(seldom, 2_432, 2_432, "paging"), charge("page loads", 9, 9, "paging")]
    after = [charge(seldom, 1_950, 1_950, "paging"), charge("page loads", 5, 5, "paging")]
    found = {c.what: c.count.likely for c in as_before(before, after, is_seldom_load)}
    assert found == {seldom: 2_432, "page loads": 5}
    # That everything fits, so that nothing is pushed out, is an effect.
    none = [charge(seldom, 0, 0, "paging")]
    assert as_before(before, none, is_seldom_load) == none
