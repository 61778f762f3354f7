# SPDX-License-Identifier: Apache-2.0
"""The program that is timed: a curve of 40 sizes of EPC, from opening the recording on.

usage: paging_sweep.py RECORDING RESULT.json
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from sgxlens.enclave.epc import EpcSimulation
from sgxlens.recording.reader import open_recording
from sgxlens.reuse.page_visits import PageVisits


def peak_bytes() -> int:
    """Most memory that this program had: ``ru_maxrss`` would tell of what started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(path: str, result: str) -> None:
    """Write the seconds it takes, the memory of the whole process, and visits a second."""
    start = time.perf_counter()
    recording = open_recording(path)
    filter_page_count = recording.metadata.settings.visit_page_count
    assert filter_page_count is not None
    visits = PageVisits.from_rows(recording.table("page_visits"), filter_page_count)
    simulation = EpcSimulation(visits)
    sizes = np.linspace(600, len(simulation.pages) + 100, 40).astype(np.int64)
    simulation.sweep("linux", sizes)
    found = {
        "seconds": time.perf_counter() - start,
        "peak_bytes": peak_bytes(),
    }
    with open(result, "w", encoding="ascii") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
