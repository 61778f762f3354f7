# SPDX-License-Identifier: Apache-2.0
"""Look-ups of files that are not there: the host is asked each time, and nothing remembers it."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.registry import Rule
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.transitions import count_transitions
from sgxlens.text import one_line
from sgxlens.units import format_count

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge

_PYTHON_FOLDERS_MAX = 3


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """A shorter search path, if look-ups that fail take a share of the start."""
    missing = _missing(situation)
    total = missing.total()
    if not total:
        return Declined("the start looks for no file that is not there")
    gain = situation.startup_gain(_without(situation))
    if not situation.is_worth(gain):
        return Declined(
            f"{format_count(total)} look-ups of files that are not there are"
            f" {max(gain.share, 0):.2%} of the start"
        )
    return (
        Advice(
            title="Look for files where they are: shorten search paths",
            finding=(
                f"{format_count(total)} look-ups until the first result find no file; each of them"
                " leaves the enclave, and none is remembered."
            ),
            evidence=tuple(
                Evidence(
                    f"look-ups that fail in {one_line(folder, 60)}",
                    *(Range.exact(count), "count", "table syscalls, result -ENOENT"),
                )
                for folder, count in missing.most_common(_PYTHON_FOLDERS_MAX)
            ),
            changes="program",
            gains=(gain,),
            costs=(Cost("start-up", "a library or module that is moved is not found"),),
            steps=(
                Step(
                    "Python: no user folder, no look-ups beside the script, and only folders that"
                    " exist.",
                    "toml",
                    'loader.argv = ["python3", "-I", "SCRIPT.py"]\n'
                    'loader.env.PYTHONDONTWRITEBYTECODE = "1"',
                ),
                Step(
                    "Libraries: name their folders in the order in which they are found.",
                    "toml",
                    'loader.env.LD_LIBRARY_PATH = "/lib:/FOLDER/WITH/MOST"',
                ),
            ),
            assumptions=("All of them can be avoided: the gain is at most this.",),
        ),
    )


RULE = Rule("missing_files", "look-ups of files that are not there", find)


def _phases(situation: Situation) -> set[int]:
    names = set(situation.prediction.startup.phases)
    return {
        phase.index
        for phase in situation.recording.phases
        if phase.process == situation.phase.process and phase.name in names
    }


def _missing(situation: Situation) -> Counter[str]:
    """Failing look-ups of the start, by folder."""
    found: Counter[str] = Counter()
    if not situation.recording.has_table("syscalls"):
        return found
    table = situation.recording.table("syscalls").select(["process", "phase", "result", "path"])
    phases = _phases(situation)
    for row in table.filter(pc.equal(table["result"], -errno.ENOENT)).to_pylist():
        if row["process"] != situation.phase.process or row["phase"] not in phases:
            continue
        if row["path"]:
            found[row["path"].rpartition("/")[0] or "/"] += 1
    return found


def _without(situation: Situation) -> list[Charge]:
    """The charges of the start without the OCALLs of those look-ups."""
    counts = count_transitions(
        situation.recording, situation.platform, situation.runtime, situation.files
    )
    phases = _phases(situation)
    ocalls: Counter[tuple[str, int | None]] = Counter()
    for row in counts.rows:
        if row.process == situation.phase.process and row.phase in phases and _is_missing(row.why):
            ocalls[row.name, row.operator] += round(row.ocalls.likely)
    found = []
    for charge in situation.evaluation.startup:
        what, _, name = charge.what.rpartition(" of ")
        less = ocalls.pop((name, charge.operator), 0) if what.endswith("OCALLs") else 0
        if less:
            count = charge.count
            kept = [max(value - less, 0) for value in (count.low, count.likely, count.high)]
            found.append(replace(charge, count=Range(*kept)))
        else:
            found.append(charge)
    return found


def _is_missing(why: str) -> bool:
    return why.startswith("no such file")
