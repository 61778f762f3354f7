# SPDX-License-Identifier: Apache-2.0
"""Marks, from C and from Python: phases where a recording runs, nothing where none does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import sgxlens
from commands import Done, record_line, run
from recordings import PROGRAMS, compile_program, needs_tracer
from sgxlens.recording.reader import open_recording

SCRIPT = """
import sgxlens
block = bytearray(100 * 4096)
def touch():
    for i in range(0, len(block), 4096):
        block[i] = 1
print(bool(sgxlens.mark('first')))
touch()
sgxlens.mark('second \\N{LATIN SMALL LETTER A WITH DIAERESIS}')
touch()
sgxlens.mark('')
"""


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program([PROGRAMS / "marks.c"], tmp_path_factory.mktemp("marks") / "marks")


@needs_tracer
def test_marks_start_phases(tmp_path: Path, marks: Path) -> None:
    assert run(*record_line(tmp_path / "r", [marks])) == Done(0, b"done\n", "1\n")
    recording = open_recording(tmp_path / "r")
    assert [p.name for p in recording.phases] == ["start", "first", "second", "third", "end"]
    for name in ("first", "second", "third"):
        # The block, the stack and the code.
        assert 100 <= recording.footprint_blocks("page", name, access="store") <= 102
        assert 100 <= recording.footprint_blocks("page", name) <= 104


@needs_tracer
def test_recording_starts_at_a_mark(tmp_path: Path, marks: Path) -> None:
    done = run(*record_line(tmp_path / "r", [marks], "--start-at-mark", "second"))
    assert done == Done(0, b"done\n", "1\n")
    recording = open_recording(tmp_path / "r")
    counts = {phase.name: phase.line_access_count for phase in recording.phases}
    assert list(counts) == ["start", "first", "second", "third", "end"]
    assert counts["start"] == counts["first"] == 0
    assert counts["second"] > 100
    assert counts["third"] > 100
    assert 100 <= recording.footprint_blocks("page", "second", access="store") <= 102
    # What happened to the address space before is known all the same.
    names = [row["name"] for row in recording.table("mappings").to_pylist()]
    assert any("libc" in name for name in names)
    assert not recording.metadata.notes


@needs_tracer
def test_a_mark_that_never_comes_leaves_an_empty_recording_that_says_so(
    tmp_path: Path, marks: Path
) -> None:
    line = record_line(tmp_path / "r", [marks], "--start-at-mark", "fourth")
    line.remove("-q")
    done = run(*line)
    assert (done.status, done.output) == (0, b"done\n")
    assert "the mark 'fourth' never came" in done.errors
    recording = open_recording(tmp_path / "r")
    recording.verify()
    assert sum(phase.line_access_count for phase in recording.phases) == 0
    assert recording.footprint_blocks("line") == 0
    (note,) = recording.metadata.notes
    assert "never came" in note
    shown = run(*line[:1], "show", tmp_path / "r")
    assert shown.status == 0
    assert "never came" in " ".join(shown.output.decode().split())


@needs_tracer
def test_marks_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = run(*record_line(tmp_path / "r", [sys.executable, script]))
    assert done == Done(0, b"True\n", "")
    recording = open_recording(tmp_path / "r")
    assert [phase.name for phase in recording.phases] == ["start", "first", "second ä", ""]
    assert recording.footprint_blocks("page", "second ä", access="store") >= 100


def test_marks_do_nothing_where_nothing_records(tmp_path: Path, marks: Path) -> None:
    assert run(marks) == Done(0, b"done\n", "0\n")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    assert run(sys.executable, script) == Done(0, b"False\n", "")


def test_a_mark_costs_nanoseconds(marks: Path) -> None:
    count = 20_000_000
    start = time.perf_counter()
    assert run(marks, str(count)) == Done(0, b"done\n", "0\n")
    # Some 5 ns on any machine of these years; what matters is that it is no system call.
    assert (time.perf_counter() - start) / count < 100e-9


def test_a_mark_in_python_costs_no_more_than_a_function_call() -> None:
    start = time.process_time()
    for _ in range(100_000):
        sgxlens.mark("x")
    assert (time.process_time() - start) / 100_000 < 5e-6


def test_a_mark_is_text() -> None:
    with pytest.raises(TypeError):
        sgxlens.mark(3)
