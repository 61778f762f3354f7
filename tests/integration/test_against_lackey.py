# SPDX-License-Identifier: Apache-2.0
"""Loads and stores of real programs against Valgrind's own example tool, Lackey.

Lackey counts the loads and stores of Valgrind's intermediate code. The recorder's accesses to
pages are the same accesses, but for these differences, each found by comparing the two tools'
traces instruction by instruction:

- xchg and the locked read-modify-write instructions are to Valgrind a load and then a
  compare-and-swap, which to Lackey is a load again: two loads and a store. The recorder counts
  what the processor does, a load and a store. So Lackey has one load more for each of these. In
  `ls -R` that is 0.19 % of all loads: 878 of readdir(), which unlocks the directory by xchg for
  each entry, 240 of malloc_consolidate(), which empties its bins by xchg, and 45 others. gzip and
  sort execute hardly any.
- An access that crosses a page boundary is two accesses to pages: 199 loads and 40 stores of
  sort, which is its whole difference but for 35 locked instructions.

What would differ besides, and is made equal here:

- The recorder hides some instruction sets, and libraries choose other routines then. It is told to
  show AVX2; GLIBC_TUNABLES takes from both "enhanced rep movsb", which it hides nevertheless, and
  the copies that newer libcs make by `rep movsb` and `rep stosb` all the same.
- Debian's command `valgrind` is a script that sets LD_LIBRARY_PATH and other variables, which
  ld.so and libc look at. Lackey is started without it, and both preload the same library by a name
  of the same length.
- Output goes to /dev/null in both: to a terminal, programs write line by line.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from recordings import PROGRAMS, compile_program, needs_tracer, record
from sgxlens.recording import environment

LACKEY = "lackey-amd64-linux"
_FOLDERS = ("/usr/libexec/valgrind", "/usr/lib/x86_64-linux-gnu/valgrind", "/usr/lib/valgrind")
FOLDER = next((Path(f) for f in _FOLDERS if Path(f, LACKEY).is_file()), None)
pytestmark = [
    needs_tracer,
    pytest.mark.skipif(FOLDER is None, reason="Valgrind's Lackey is not installed"),
]

Counts = Mapping[str, int]
TEXT = "a text"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """The environment of the recorded program; Lackey's differs in one letter."""
    tracer = environment.tracer_folder()
    (tmp_path / "s").symlink_to(tracer)
    (tmp_path / "l").mkdir()
    for name in ("default.supp", "vgpreload_core-amd64-linux.so"):
        (tmp_path / "l" / name).symlink_to(tracer / name)
    assert FOLDER is not None
    (tmp_path / "l" / LACKEY).symlink_to(FOLDER / LACKEY)
    return {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS"
        ":glibc.cpu.x86_rep_movsb_threshold=1000000000"
        ":glibc.cpu.x86_rep_stosb_threshold=1000000000",
        "VALGRIND_LIB": str(tmp_path / "s"),
    }


def lackey_counts(tmp_path: Path, settings: Mapping[str, str], *command: str) -> Counts:
    log = tmp_path / "lackey.log"
    options = ["--tool=lackey", "--basic-counts=no", "--detailed-counts=yes", f"--log-file={log}"]
    subprocess.run(
        [str(tmp_path / "l" / LACKEY), *options, *command],
        env={
            **settings,
            "VALGRIND_LIB": str(tmp_path / "l"),
            "VALGRIND_LAUNCHER": "/usr/bin/valgrind",
        },
        stdout=subprocess.DEVNULL,
        check=True,
    )
    # A line for each type of value: loads, stores, operations.
    rows = re.findall(r"== +[IFVD]\d+ +([\d,]+) +([\d,]+) +[\d,]+$", log.read_text(), re.MULTILINE)
    assert len(rows) > 10
    loads, stores = (
        sum(int(number.replace(",", "")) for number in column) for column in zip(*rows, strict=True)
    )
    return {"load": loads, "store": stores}


def recorded_counts(tmp_path: Path, settings: Mapping[str, str], *command: str) -> Counts:
    recording = record(tmp_path / "recording", *command, isa="avx2", settings=settings)
    rows = recording.table("footprints").to_pylist()
    return {
        row["access"]: row["access_count"]
        for row in rows
        if (row["phase"], row["granularity"]) == (None, "page")
    }


def _text(path: Path) -> Path:
    """A file of words whose order and repetition are far from regular."""
    state, lines = 1, []
    for _ in range(4000):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        lines.append(f"{state >> 44:x} {state >> 60} word {state >> 58}\n")
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("command", "load_difference"),
    [
        (["/bin/gzip", "-c", TEXT], 0.0005),
        (["/usr/bin/sort", "--parallel=1", TEXT], 0.0005),
        (["/bin/ls", "-R", "/usr/include/linux"], 0.005),  # xchg, as said above
    ],
    ids=["gzip", "sort", "ls"],
)
def test_loads_and_stores(
    command: list[str], load_difference: float, tmp_path: Path, settings: Mapping[str, str]
) -> None:
    text = str(_text(tmp_path / "text"))
    words = [text if word == TEXT else word for word in command]
    ours = recorded_counts(tmp_path, settings, *words)
    lackey = lackey_counts(tmp_path, settings, *words)
    assert lackey["load"] > 300_000
    for access, allowed in (("load", load_difference), ("store", 0.0005)):
        difference = (ours[access] - lackey[access]) / lackey[access]
        print(f"{ours[access]:,} {access}s, Lackey {lackey[access]:,}: {difference:+.4%}")  # noqa: T201
        assert abs(difference) < allowed


def test_locked_instructions_are_the_difference(
    tmp_path: Path, settings: Mapping[str, str]
) -> None:
    # The kernels' chain is not of interest here: its only element leads to itself.
    (tmp_path / "permutation.inc").write_text(".quad 0\n")
    sources = [PROGRAMS / "kernels.S", PROGRAMS / "kernels.c"]
    # Under Lackey a mark would look whether it is timed natively.
    options = [f"-Wa,-I{tmp_path}", "-DSGXLENS_NO_NATIVE_TIMES"]
    program = str(compile_program(sources, tmp_path / "kernels", *options))
    ours = recorded_counts(tmp_path, settings, program)
    lackey = lackey_counts(tmp_path, settings, program)
    # Kernels of 1,024 turns: lock add, lock xadd and xchg have one load more in Lackey; of
    # cmpxchg16b it counts both halves. 16 accesses of a crossing kernel cross a page. The rest is
    # libc's: locked instructions and accesses that cross.
    vector = 16 if "avx" in environment.cpu_fields()["flags"].split() else 0
    assert 0 <= lackey["load"] - ours["load"] - (4 * 1024 - 16 - vector) <= 40
    assert -40 <= lackey["store"] - ours["store"] - (1024 - 16) <= 0
