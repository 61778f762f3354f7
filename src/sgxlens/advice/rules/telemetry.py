# SPDX-License-Identifier: Apache-2.0
"""Telemetry of ONNX Runtime: threads that gather and send usage data from inside the enclave.

From release 1.29 on, the packages for Linux hold it, and it is on (microsoft/onnxruntime pull
request 27379). It keeps a database in the user's cache, ``.onnxruntime/onnxruntime.db``, and starts
a thread, which about ten seconds later starts others that upload. Each has a stack and an arena of
the allocator. The recording is predicted again without them.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from sgxlens.advice.advice import Advice, Declined, Evidence
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.steps import environment_step
from sgxlens.enclave.mappings.threads import without_threads
from sgxlens.enclave.quantities import Range
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

_FOLDER = ".onnxruntime"
_VARIABLE, _VALUE = "ORT_DISABLE_TELEMETRY", "1"


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """No telemetry, where its threads make the enclave larger."""
    recording, process = situation.recording, situation.phase.process
    found = _first_use(situation)
    if found is None:
        return Declined("ONNX Runtime was not seen to gather usage data")
    position, folder = found
    threads = _threads_since(situation, position)
    after = situation.again(recording=without_threads(recording, process, threads))
    gains = situation.footprint_gains(after)
    if not gains:
        return Declined(
            f"the {len(threads)} threads that gather usage data for ONNX Runtime make the enclave"
            " hardly larger"
        )
    sizing = situation.prediction.sizing
    return (
        Advice(
            title="Switch off ONNX Runtime's telemetry",
            finding=(
                f"ONNX Runtime gathers usage data in {one_line(folder, 60)} and sends it, which"
                f" tells what model runs; {len(threads)} threads do it, each with a stack and an"
                " arena."
            ),
            evidence=(
                Evidence(
                    *("threads of telemetry", Range.exact(len(threads)), "count"),
                    "table threads of the recording",
                ),
                Evidence(
                    *("threads that must be set", Range.exact(sizing.max_threads), "count"),
                    "sgxlens predict --json: sizing.max_threads",
                ),
                Evidence(
                    *("the same then", Range.exact(after.sizing.max_threads), "count"),
                    "sgxlens predict --json: sizing.max_threads",
                ),
                *situation.size_evidence(after),
            ),
            changes="program",
            gains=gains,
            costs=(),
            steps=(environment_step(situation.runtime, _VARIABLE, _VALUE),),
            assumptions=(
                "The threads are those that were recorded: some start ten seconds after the first.",
            ),
            modification=Modification(environment={_VARIABLE: _VALUE}),
        ),
    )


RULE = Rule("telemetry", "threads that gather usage data", find)


def _first_use(situation: Situation) -> tuple[int, str] | None:
    """Where the folder of the database is first used, and its path; None: nowhere."""
    recording = situation.recording
    if not recording.has_table("syscalls") or not recording.has_table("threads"):
        return None
    table = recording.table("syscalls")
    chosen = pc.and_(
        pc.equal(table["process"], situation.phase.process),
        pc.fill_null(pc.match_substring(table["path"], f"/{_FOLDER}"), False),  # noqa: FBT003
    )
    for row in table.filter(chosen).select(["position", "path"]).to_pylist():
        path = PurePosixPath(row["path"])
        if path.name == _FOLDER:
            return row["position"], str(path)
    return None


def _threads_since(situation: Situation, position: int) -> set[tuple[int, int]]:
    """The first thread that starts after a position, and those that it and they make."""
    found: set[tuple[int, int]] = set()
    rows = sorted(
        (
            row
            for row in situation.recording.table("threads").to_pylist()
            if row["process"] == situation.phase.process and row["start_position"] >= position
        ),
        key=lambda row: row["start_position"],
    )
    numbers: set[int] = set()
    for row in rows:
        if not numbers or row["creator"] in numbers:
            numbers.add(row["thread"])
            found.add((row["thread"], row["start_position"]))
    return found
