# SPDX-License-Identifier: Apache-2.0
"""Annotations from C and from Python: in the recording exactly where they are made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from commands import record_line, run
from recordings import PROGRAMS, compile_program, kept_chunks, needs_tracer
from sgxlens.recording._reference import STORE, decode
from sgxlens.recording.reader import open_recording

PAGE = 4096

SCRIPT = """
import ctypes, sys
import sgxlens
block = ctypes.create_string_buffer(64)
address = ctypes.addressof(block)
print(sgxlens.region(address, 64, "input", "\\N{GREEK SMALL LETTER ALPHA}"))
with sgxlens.operator("outer"):
    with sgxlens.operator("inner"):
        block[0] = 1
sgxlens.region_end(address, 64)
print(address, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotations")
    return compile_program([PROGRAMS / "annotations.c"], folder / "annotations")


@needs_tracer
def test_annotations_lie_between_the_accesses_that_they_lie_between(
    tmp_path: Path, program: Path
) -> None:
    done = run(*record_line(tmp_path / "r", [program], "--keep-accesses"))
    assert (done.status, done.output) == (0, b"done\n")
    listening, address = map(int, done.errors.split())
    assert listening == 1
    recording = open_recording(tmp_path / "r")
    rows = recording.table("annotations").to_pylist()
    texts = ["weights:first", "outer", '{"name": "inner", "type": "Store"}', "", "", ""]
    texts += ["", "x" * 8000, "never ends", "no such role"]
    assert [row["text"] for row in rows] == texts
    begin, end = "operator_begin", "operator_end"
    kinds = ["region", begin, begin, end, end, "region_end", end, begin, begin, "region"]
    assert [row["kind"] for row in rows] == kinds
    ranges = {i: (row["address"], row["size_bytes"]) for i, row in enumerate(rows)}
    expected = dict.fromkeys(ranges, (0, 0)) | {0: (address, PAGE), 5: (address, PAGE)}
    assert ranges == expected | {9: (16, (1 << 64) - 1)}
    assert {row["thread"] for row in rows} == {1}
    # Where each page is stored to, among the accesses of the whole stream.
    entries = decode(kept_chunks(recording)).entries
    stores = {entry >> 10: position for position, entry in enumerate(entries) if entry & 7 == STORE}
    steps = [stores[address // PAGE + page] for page in range(6)]
    positions = [row["position"] for row in rows]
    assert positions[1] <= steps[0] < positions[2] <= steps[1] < positions[3] <= steps[2]
    assert steps[2] < positions[4] <= steps[3] < positions[5]
    assert positions[6] <= steps[4] < positions[7] <= steps[5] < positions[8]
    # The request itself is six words in memory and the code around it.
    assert steps[0] - positions[1] <= 4


@needs_tracer
def test_annotations_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    line = record_line(tmp_path / "r", [sys.executable, script], "--start-at-mark", "never")
    done = run(*line)
    assert (done.status, done.output) == (0, b"True\n"), done
    address = int(done.errors.splitlines()[0])
    rows = open_recording(tmp_path / "r").table("annotations").to_pylist()
    # Also before the recording starts: what it says of memory holds later, too.
    assert [(row["kind"], row["text"], row["address"]) for row in rows] == [
        ("region", "input:\N{GREEK SMALL LETTER ALPHA}", address),
        ("operator_begin", "outer", 0),
        ("operator_begin", "inner", 0),
        ("operator_end", "", 0),
        ("operator_end", "", 0),
        ("region_end", "", address),
    ]


def test_annotations_do_nothing_where_nothing_records(tmp_path: Path, program: Path) -> None:
    done = run(program)
    assert (done.status, done.output, done.errors[:2]) == (0, b"done\n", "0 ")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    assert run(sys.executable, script).output == b"False\n"


def test_the_header_suits_c_plus_plus(tmp_path: Path) -> None:
    compile_program([PROGRAMS / "annotations.c"], tmp_path / "annotations", "-xc++")
