# SPDX-License-Identifier: Apache-2.0
"""Predictions of programs that were recorded for it, as a user makes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from commands import SGXLENS, record_line, run
from recordings import compile_program, needs_tracer
from sgxlens.recording.reader import open_recording

pytestmark = needs_tracer

PAGES = 2000
PROGRAM = f"""
#include <sgxlens/mark.h>
#include <stdlib.h>
#include <unistd.h>
static void run(volatile char *weights) {{
    sgxlens_operator_begin("scan");
    for (int repeat = 0; repeat < 20; repeat++)
        for (long line = 0; line < {PAGES}L * 64; line++)
            (void)weights[line * 64];
    sgxlens_operator_end();
    (void)!write(1, "x", 1);
}}
int main(void) {{
    sgxlens_mark("load");
    char *weights = aligned_alloc(4096, {PAGES} * 4096);
    for (long i = 0; i < {PAGES} * 4096L; i += 64)
        weights[i] = 1;
    for (int i = 0; i < 3; i++) {{
        sgxlens_mark(i == 0 ? "warm-up 1" : i == 1 ? "inference 1" : "inference 2");
        run(weights);
    }}
    sgxlens_mark("end");
    return 0;
}}
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    (folder / "program.c").write_text(PROGRAM)
    program = compile_program([folder / "program.c"], folder / "program")
    made = folder / "recording"
    done = run(*record_line(made, [program], "--native-runs", "2"))
    assert done.status == 0, done.errors
    return made


def predicted(recording: Path, *options: str) -> dict[str, Any]:
    done = run(SGXLENS, "predict", recording, "--platform", "xeon-e-2288g", "--json", *options)
    assert done.status == 0, done.errors
    (prediction,) = json.loads(done.output)["predictions"]
    found: dict[str, Any] = prediction
    return found


def likely(prediction: dict[str, Any], what: str) -> float:
    """How often something happens in the steady inference."""
    return math.fsum(
        item["count"]["likely"] for item in prediction["steady"]["items"] if item["what"] == what
    )


def test_a_scan_that_does_not_fit_loads_all_of_it_each_time(recording: Path) -> None:
    prediction = predicted(recording, "--epc", "4M")
    # A cyclic scan under second chance: every page, every time.
    assert likely(prediction, "page loads") == pytest.approx(20 * PAGES, rel=0.05)
    operator, between = prediction["steady"]["operators"]
    assert operator["name"] == "scan"
    assert (
        operator["added_seconds_by_cause"]["paging"] > 0.9 * (operator["added_seconds"]["likely"])
    )
    assert between["operator"] is None
    optimum = next(p for p in prediction["epc"]["policies"] if p["policy"] == "optimum")
    # It keeps what fits.
    assert optimum["load_count"] == pytest.approx(20 * (PAGES - 1000), rel=0.05)


def test_a_scan_that_fits_loads_nothing_but_leaves_for_its_output(recording: Path) -> None:
    prediction = predicted(recording)
    assert likely(prediction, "page loads") == 0
    assert likely(prediction, "OCALLs of write") == 1
    assert prediction["steady"]["slowdown"]["low"] >= 1
    needs = prediction["epc"]
    assert needs["footprint_bytes"] == pytest.approx(PAGES * 4096, rel=0.1)


def test_lines_beyond_the_cache_are_encrypted(recording: Path) -> None:
    small, large = (predicted(recording, "--llc", size) for size in ("1M", "64M"))
    lines = 20 * PAGES * 64
    assert likely(small, "sequential lines") == pytest.approx(lines, rel=0.05)
    assert likely(large, "sequential lines") < 0.05 * lines


def test_threads_and_native_times_are_those_of_the_recording(recording: Path) -> None:
    prediction = predicted(recording)
    native = open_recording(recording).native
    assert native is not None
    assert native.inference is not None
    median = native.inference.median_seconds
    assert prediction["steady"]["native"]["median_seconds"] == pytest.approx(median)
    assert prediction["deployment"]["threads"] == 1
    names = [phase["name"] for phase in prediction["phases"]]
    assert names == ["start", "load", "warm-up 1", "inference 1", "inference 2", "end"]
