# SPDX-License-Identifier: Apache-2.0
"""`make bench`: how fast recording and reporting are, as ratios of figures taken in one run.

Native, tracer alone and full recording take turns, so that a machine that changes its speed
changes all of them; what is compared are medians. "Tracer alone" runs the same translated code
and throws the stream away.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import onnx
from rich.console import Console
from rich.table import Table

import sgxlens
from sgxlens._native import Analysis
from sgxlens.advice.telemetry import SWITCH as TELEMETRY_SWITCH
from sgxlens.enclave.epc import EPC_POLICIES, EpcPolicy, EpcSimulation
from sgxlens.recording.accesses import read_chunks
from sgxlens.recording.reader import open_recording
from sgxlens.recording.session import TracerOptions, tracer_arguments
from sgxlens.reuse.page_visits import PageVisits

MODELS = Path(onnx.__file__).parent / "backend/test/data/light"
STEADY = Path(__file__).with_name("steady_inference.py")
SGXLENS = (sys.executable, "-c", "import sys; from sgxlens.cli.main import main; sys.exit(main())")
SWEEP = Path(__file__).with_name("paging_sweep.py")


@dataclass
class Result:
    """One figure and what it should be."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    is_at_most: bool = True

    def verdict(self) -> str:
        """Return whether the figure is within its bound."""
        if self.bound is None:
            return ""
        holds = self.value <= self.bound if self.is_at_most else self.value >= self.bound
        relation = "at most" if self.is_at_most else "at least"
        return f"{relation} {self.bound:g} {self.unit}: {'reached' if holds else 'NOT reached'}"


def _without_telemetry() -> AbstractContextManager[object]:
    """ONNX Runtime does not start its telemetry.

    Its thread, a database, does up to 70 million accesses in one inference or another, and none in
    the next: by chance more in one of the ways that are compared.
    """
    return patch.dict(os.environ, {TELEMETRY_SWITCH: "1"})


def _timed(run: Callable[[list[str]], None], model: Path, runs: int, folder: Path) -> list[float]:
    """Return the seconds of each inference when `run` runs the command."""
    result = folder / "seconds.json"
    result.unlink(missing_ok=True)
    run([sys.executable, str(STEADY), str(model), str(runs), str(result)])
    seconds: list[float] = json.loads(result.read_text(encoding="ascii"))
    return seconds


# Of a recording. What recurs is learned in the first of them, which are told by themselves.
RECORDED_RUNS = 6


def steady(model_name: str, rounds: int, console: Console) -> list[Result]:
    """Steady inference of a model: native, tracer alone, full recording."""
    model = MODELS / f"light_{model_name}.onnx"
    seconds: dict[str, list[float]] = {"native": [], "tracer alone": [], "recording": []}
    line_access_count = 0
    with tempfile.TemporaryDirectory(prefix="sgxlens-bench-") as name:
        folder = Path(name)

        def native(command: list[str]) -> None:
            subprocess.run(command, check=True)

        def tracer_alone(command: list[str]) -> None:
            subprocess.run([*tracer_arguments(TracerOptions(), None), *command], check=True)

        def recording(command: list[str]) -> None:
            sgxlens.record(command, folder / "recording", force=True)

        ways = (
            ("native", native, 20),
            ("tracer alone", tracer_alone, 3),
            ("recording", recording, RECORDED_RUNS),
        )
        for number in range(rounds):
            for way, run, runs in ways:
                console.print(f"{model_name}: round {number + 1} of {rounds}, {way}", style="dim")
                seconds[way] += _timed(run, model, runs, folder)
        recorded = sgxlens.open(folder / "recording")
        for phase in recorded.phases:
            if phase.name == "inference 2":
                line_access_count = phase.line_access_count
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    native_seconds = medians["native"]
    is_goal = model_name == "resnet50"
    return [
        Result(f"{model_name}: native inference", native_seconds * 1e3, "ms"),
        Result(f"{model_name}: line accesses of an inference", line_access_count / 1e6, "M"),
        Result(
            f"{model_name}: tracer alone / native",
            medians["tracer alone"] / native_seconds,
            "x",
            18 if is_goal else None,
        ),
        Result(
            f"{model_name}: recording / native",
            medians["recording"] / native_seconds,
            "x",
            30 if is_goal else None,
        ),
        Result(
            f"{model_name}: recording / tracer alone",
            medians["recording"] / medians["tracer alone"],
            "x",
            2 if is_goal else None,
        ),
        Result(
            f"{model_name}: recording / native, first inference after the warm-up",
            statistics.median(seconds["recording"][::RECORDED_RUNS]) / native_seconds,
            "x",
        ),
    ]


def attribution(model_name: str, rounds: int, console: Console) -> list[Result]:
    """What attribution costs in a recording with operators, and what it takes on disk.

    Timed are whole recordings, without native runs, and the inferences after the first, at whose
    start regions are found. The two ways take turns in going first.
    """
    model = MODELS / f"light_{model_name}.onnx"
    seconds: dict[bool, list[float]] = {True: [], False: []}
    whole: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="sgxlens-bench-") as name:
        path = Path(name) / "recording"
        for number in range(rounds):
            for attribute in (True, False) if number % 2 == 0 else (False, True):
                way = "with" if attribute else "without"
                console.print(
                    f"{model_name}: round {number + 1} of {rounds}, {way} attribution", style="dim"
                )
                start = time.perf_counter()
                with _without_telemetry():
                    recording = sgxlens.record(
                        model, path, attribute=attribute, start_at_mark="load", runs=7, force=True
                    )
                whole[attribute].append(time.perf_counter() - start)
                times = [
                    phase.elapsed_seconds
                    for phase in recording.phases
                    if phase.name.startswith("inference ")
                ]
                seconds[attribute] += times[1:]
        console.print(f"{model_name}: three inferences on disk, timed natively", style="dim")
        sgxlens.record(model, path, runs=3, native=True, force=True)
        of_paging = paging(model_name, path, rounds, console)
        of_reports = reporting(model_name, path, rounds, console)
        size_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return [
        Result(
            f"{model_name}: recording with / without attribution",
            statistics.median(whole[True]) / statistics.median(whole[False]),
            "x",
            1.15,
        ),
        Result(
            f"{model_name}: an inference of it",
            statistics.median(seconds[True]) / statistics.median(seconds[False]),
            "x",
            1.15,
        ),
        Result(
            f"{model_name}: recording of three inferences on disk",
            size_bytes / 1e6,
            "MB",
            60 if model_name == "resnet50" else None,
        ),
        *of_paging,
        *of_reports,
    ]


def reporting(model_name: str, path: Path, rounds: int, console: Console) -> list[Result]:
    """Write the report of a recording, from the start of the command: of all platforms and of one.

    What a user waits for is the report with its default advice, which predicts again for each rule.
    What does not depend on the platform is found once: the ratio of reports without it tells.
    """
    console.print(f"{model_name}: writing reports", style="dim")
    plain = ("--advice", "none")
    seconds: dict[tuple[str, ...], list[float]] = {
        (): [],
        plain: [],
        (*plain, "--platform", "sgx1-client"): [],
    }
    for _ in range(rounds):
        for options, found in seconds.items():
            output = path.parent / "report.html"
            start = time.perf_counter()
            subprocess.run(
                [*SGXLENS, "report", str(path), "-q", "-o", str(output), *options], check=True
            )
            found.append(time.perf_counter() - start)
    with_advice, of_all, of_one = (statistics.median(found) for found in seconds.values())
    return [
        Result(
            f"{model_name}: report, all platforms and advice",
            with_advice,
            "s",
            3 if model_name == "resnet50" else None,
        ),
        Result(f"{model_name}: report without advice", of_all, "s"),
        Result(f"{model_name}: report of all platforms / of one", of_all / of_one, "x", 1.6),
    ]


def paging(model_name: str, path: Path, rounds: int, console: Console) -> list[Result]:
    """Simulate the EPC from the visits of a recording: each policy, and a sweep from its start."""
    console.print(f"{model_name}: simulating the EPC", style="dim")
    recording = open_recording(path)
    filter_page_count = recording.metadata.settings.visit_page_count
    assert filter_page_count is not None
    visits = PageVisits.from_rows(recording.table("page_visits"), filter_page_count)
    simulation = EpcSimulation(visits)
    # So small that a third of the pages is there.
    capacity = max(600, len(simulation.pages) // 3)
    rates: dict[EpcPolicy, list[float]] = {policy: [] for policy in EPC_POLICIES}
    for _ in range(rounds):
        for policy, found in rates.items():
            start = time.perf_counter()
            simulation.run(policy, capacity)
            found.append(len(visits.page) / (time.perf_counter() - start))
    result = path.parent / "sweep.json"
    command = [sys.executable, str(SWEEP), str(path), str(result)]
    sweeps = []
    for _ in range(rounds):
        subprocess.run(command, check=True)
        sweeps.append(json.loads(result.read_text(encoding="ascii")))
    is_goal = model_name == "resnet50"
    return [
        *(
            Result(
                f"{model_name}: one EPC simulated, {policy}",
                statistics.median(found) / 1e6,
                "M visits/s",
                30 if policy == "linux" else None,
                is_at_most=False,
            )
            for policy, found in rates.items()
        ),
        Result(
            f"{model_name}: 40 sizes of EPC, with reading",
            statistics.median(sweep["seconds"] for sweep in sweeps),
            "s",
            5 if is_goal else None,
        ),
        Result(
            f"{model_name}: memory of all of that",
            max(sweep["peak_bytes"] for sweep in sweeps) / 1e6,
            "MB",
            500 if is_goal else None,
        ),
    ]


def core_alone(rounds: int, console: Console) -> list[Result]:
    """Replay the whole stream of a SqueezeNet process from memory: decoding, lines and pages."""
    with tempfile.TemporaryDirectory(prefix="sgxlens-bench-") as name:
        path = Path(name) / "recording"
        console.print("squeezenet: keeping all accesses", style="dim")
        kept = sgxlens.record(
            MODELS / "light_squeezenet.onnx", path, keep_accesses=True, warmup=1, runs=2
        )
        chunks: list[npt.NDArray[np.uint64]] = list(read_chunks(kept.accesses_path(0)))
        footprints = kept.table("footprints").to_pylist()
    rates: dict[bool, list[float]] = {True: [], False: []}
    memory_bytes = {}
    segment_bytes = {}
    for number in range(rounds):
        console.print(f"squeezenet: replay {number + 1} of {rounds}", style="dim")
        for attribute in (False, True):
            # Operators are placed at clock reads, as in the recording of a model.
            analysis = Analysis(attribute=attribute, split_at_clock_reads=attribute)
            start = time.perf_counter()
            for chunk in chunks:
                analysis.feed(chunk)
            analysis.finish()
            rates[attribute].append(analysis.line_access_count / (time.perf_counter() - start))
            segment_bytes[attribute] = analysis.segment_memory_bytes
            memory_bytes[attribute] = analysis.memory_bytes - segment_bytes[attribute]
    whole = {
        row["granularity"]: row["block_count"]
        for row in footprints
        if row["phase"] is None and row["access"] == "any"
    }
    return [
        Result(
            "squeezenet: core alone, whole process",
            statistics.median(rates[False]) / 1e6,
            "M accesses/s",
            80,
            is_at_most=False,
        ),
        Result(
            "squeezenet: the same with attribution",
            statistics.median(rates[True]) / 1e6,
            "M accesses/s",
        ),
        Result(
            "squeezenet: memory of the core per distinct line",
            memory_bytes[False] / whole["line"],
            "bytes",
            100,
        ),
        Result(
            "squeezenet: the same with attribution and page visits",
            memory_bytes[True] / whole["line"],
            "bytes",
        ),
        Result("squeezenet: remembered of segments", segment_bytes[False] / 1e6, "MB"),
        Result("squeezenet: the same with attribution", segment_bytes[True] / 1e6, "MB"),
    ]


def main() -> int:
    """Run the benchmarks and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=["squeezenet", "resnet50"])
    arguments = parser.parse_args()
    console = Console(stderr=True)
    results = core_alone(arguments.rounds, console)
    for model in arguments.models:
        with _without_telemetry():
            results += steady(model, arguments.rounds, console)
        results += attribution(model, arguments.rounds, console)
    table = Table("figure", "value", "goal", box=None)
    for result in results:
        table.add_row(result.name, f"{result.value:.4g} {result.unit}", result.verdict())
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
