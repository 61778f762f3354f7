# SPDX-License-Identifier: Apache-2.0
"""The bytes used of lines, of a program that uses known ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest

from recordings import PROGRAMS, compile_program, needs_tracer, record
from sgxlens.attribution import line_bytes
from sgxlens.errors import UsageError
from sgxlens.recording._attribution_reference import is_followed
from sgxlens.recording.reader import Recording
from sgxlens.recording.record import replay

pytestmark = needs_tracer

# As in the program.
BUFFER, SIZE_BYTES = 0x2_0000_0000, 1 << 18
Sets = dict[int, tuple[int, int]]


def _accesses(phase: str) -> Iterator[tuple[int, int, bool]]:
    """Where in the buffer, how many bytes, whether written."""
    if phase == "loads of 4 at 24":
        yield from ((at, 4, False) for at in range(0, SIZE_BYTES - 3, 24))
    elif phase == "stores of 8 at 192":
        yield from ((at, 8, True) for at in range(60, SIZE_BYTES - 7, 192))
    elif phase == "both":
        for at in range(0, SIZE_BYTES, 64):
            yield at + 7, 1, False
            yield at + 32, 2, True
    else:
        yield 100, 5000, True


PHASES = ("loads of 4 at 24", "stores of 8 at 192", "both", "kernel")


def expected(phase: str) -> Sets:
    sets: Sets = defaultdict(lambda: (0, 0))
    for at, size_bytes, is_write in _accesses(phase):
        for byte in range(BUFFER + at, BUFFER + at + size_bytes):
            used, written = sets[byte // 64]
            bit = 1 << byte % 64
            sets[byte // 64] = used | bit, written | (bit if is_write else 0)
    return sets


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("line_use")
    program = compile_program([PROGRAMS / "line_use.c"], folder / "line_use")
    return record(folder / "recording", str(program), keep_accesses=True)


@pytest.fixture(scope="module")
def of_every_line(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("replayed") / "recording"
    return replay(recording, path, line_use_interval=1)


def found(recording: Recording, phase: str) -> Sets:
    (index,) = (p.index for p in recording.phases if p.name == phase)
    contexts = {
        row["context"] for row in recording.table("contexts").to_pylist() if row["phase"] == index
    }
    sets: Sets = defaultdict(lambda: (0, 0))
    for row in recording.table("line_use").to_pylist():
        if row["context"] in contexts and BUFFER <= row["line"] * 64 < BUFFER + SIZE_BYTES:
            used, written = sets[row["line"]]
            sets[row["line"]] = used | row["bytes"], written | row["written_bytes"]
    return sets


@pytest.mark.parametrize("phase", PHASES)
def test_bytes_are_those_that_the_program_uses(of_every_line: Recording, phase: str) -> None:
    assert of_every_line.metadata.settings.line_use_interval == 1
    assert found(of_every_line, phase) == expected(phase)


@pytest.mark.parametrize("phase", PHASES)
def test_one_line_in_64_is_followed_by_default(recording: Recording, phase: str) -> None:
    assert recording.metadata.settings.line_use_interval == 64
    followed = {line: sets for line, sets in expected(phase).items() if is_followed(line, 64)}
    assert found(recording, phase) == followed
    # The buffer is 64 pages: of each, one line, if the phase uses it.
    assert len(followed) <= 64
    if phase == "both":
        assert len(followed) == 64


def test_the_lines_followed_tell_of_all(recording: Recording, of_every_line: Recording) -> None:
    sample, everything = line_bytes(recording, "both"), line_bytes(of_every_line, "both")
    assert (sample.interval, everything.interval) == (64, 1)
    # Nearly all lines are the buffer's, and of them three bytes are used.
    assert sample.total.lines_by_byte_count[3] >= 64
    assert everything.total.lines_by_byte_count[3] >= 4096
    assert everything.total.lines_by_written_byte_count[2] >= 4096
    assert sample.total.used_share == pytest.approx(everything.total.used_share, rel=0.5)


def test_no_line_need_be_followed(
    recording: Recording, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("none") / "recording"
    none = replay(recording, path, line_use_interval=0)
    assert not none.has_table("line_use")
    assert none.metadata.settings.line_use_interval == 0
    with pytest.raises(UsageError, match="one line in 3 cannot be followed: give 1, 2, 4"):
        replay(recording, path, line_use_interval=3, force=True)
