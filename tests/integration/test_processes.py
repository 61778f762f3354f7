# SPDX-License-Identifier: Apache-2.0
"""A recorded program does what it does alone, and its recording says how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from commands import (
    Done,
    is_running,
    orphaned_folders,
    processes_with,
    record_line,
    run,
    shell_status,
    wait_until,
)
from recordings import compile_program, needs_tracer
from sgxlens.recording.reader import Recording, open_recording

pytestmark = needs_tracer

TEXT = b"Some text in a file, longer than what is read.\n"
# What each behaviour does is said in programs/behaviours.c.
BEHAVIOURS = [
    "exits 0",
    "exits 77",
    "exits 125",
    "crashes",
    "aborts",
    f"raises {signal.SIGTERM.value}",
    f"raises {signal.SIGKILL.value}",
    f"raises {signal.SIGUSR1.value}",
    "loses_its_pipe",
    "vforks",
    "executes /bin/echo some words",
    "executes /nonexistent/program",
    "executes {file}",
    "threads",
    "many_threads 600",
    "closes_everything",
    "changes_folder /usr",
    "reads_to_the_end",
    "writes_bytes",
    "shows_variable HOME",
    "reads_descriptor_3",
    "alarms_five_times",
    "overflows_its_stack",
    "mends_a_fault",
    "runs_out_of_memory 200",
    "asks_for_too_much",
    "maps_much",
    "maps_privately {file}",
    "shares_a_file {file}",
    "loads_a_library",
]
WITH_CHILDREN = ["forks", "spawns", "vforks", "changes_folder /usr", "shares_a_file {file}"]


def _behave(tmp_path: Path, line: str, *prefix: str | Path) -> tuple[Done, bytes]:
    """Run `prefix` and a behaviour; return its end and the file that it was given."""
    file = tmp_path / "file"
    file.write_bytes(TEXT)
    words = line.format(file=file).split()
    with open(file, "rb") as third:
        source = third.fileno()
        done = run(
            *prefix,
            *words,
            input=TEXT * 10_000,
            pass_fds=(3,),
            preexec_fn=lambda: os.dup2(source, 3),
            close_fds=True,
        )
    return done, file.read_bytes()


def _compare(tmp_path: Path, program: Path, line: str, *options: str) -> Recording:
    native = _behave(tmp_path, line, program)
    recorded = _behave(tmp_path, line, *record_line(tmp_path / "r", [program], *options))
    assert recorded == native
    recording = open_recording(tmp_path / "r")
    recording.verify()
    return recording


@pytest.mark.parametrize("line", BEHAVIOURS)
def test_a_recorded_program_behaves_as_it_does_alone(
    tmp_path: Path, behaviours: Path, line: str
) -> None:
    recording = _compare(tmp_path, behaviours, line)
    assert recording.metadata.outcome.status in ("exited", "signalled")
    # The program's own code, besides the loader's.
    assert recording.footprint_blocks("page") > 20
    assert len({process.pid for process in recording.metadata.processes}) == 1


@pytest.mark.parametrize("line", WITH_CHILDREN)
def test_followed_children_behave_too(tmp_path: Path, behaviours: Path, line: str) -> None:
    recording = _compare(tmp_path, behaviours, line, "--follow-children")
    assert len(recording.metadata.processes) > 1
    assert all(process.line_access_count > 0 for process in recording.metadata.processes)


def _record(tmp_path: Path, *command: str | Path, status: int = 0, **options: Any) -> Recording:
    settings = options.pop("settings", ())
    done = run(*record_line(tmp_path / "r", command, *settings), **options)
    assert done.status == status, done
    return open_recording(tmp_path / "r")


@pytest.mark.parametrize(
    ("line", "status", "outcome"),
    [
        ("exits 3", 3, ("exited", 3, None)),
        ("crashes", 139, ("signalled", None, "SIGSEGV")),
        ("aborts", 134, ("signalled", None, "SIGABRT")),
        ("loses_its_pipe", 141, ("signalled", None, "SIGPIPE")),
    ],
)
def test_a_recording_says_how_the_program_ended(
    tmp_path: Path, behaviours: Path, line: str, status: int, outcome: tuple[str, int, str]
) -> None:
    recording = _record(tmp_path, behaviours, *line.split(), status=status)
    told = recording.metadata.outcome
    assert (told.status, told.exit_code, told.signal) == outcome
    (process,) = recording.metadata.processes
    assert process.end == ("exited" if outcome[2] is None else "killed")
    assert process.exit_code == outcome[1]


def test_a_crash_leaves_no_core_file(tmp_path: Path, behaviours: Path) -> None:
    done = run("sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh",
               *record_line(tmp_path / "r", [behaviours, "crashes"]), cwd=tmp_path)  # fmt: skip
    assert done == Done(139, b"", "")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_program_killed_from_outside_is_recorded_up_to_then(
    tmp_path: Path, behaviours: Path
) -> None:
    recorder = subprocess.Popen(
        record_line(tmp_path / "r", [behaviours, "spins"]), stdout=subprocess.PIPE
    )
    assert recorder.stdout is not None
    assert recorder.stdout.readline() == b"ready\n"
    (program,) = [pid for pid in processes_with("--tool=sgxlens") if _parent(pid) == recorder.pid]
    os.kill(program, signal.SIGKILL)
    assert shell_status(recorder.wait(60)) == 137
    recorder.stdout.close()
    recording = open_recording(tmp_path / "r")
    outcome = recording.metadata.outcome
    assert (outcome.status, outcome.signal) == ("signalled", "SIGKILL")
    assert "killed from outside" in outcome.message
    assert recording.metadata.processes[0].end == "killed"
    # The last thing that it told.
    calls = recording.table("syscalls").to_pylist()
    assert any(call["name"] == "write" and call["arg2"] == 6 for call in calls)
    assert recording.metadata.processes[0].line_access_count > 10_000


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_children_are_recorded_only_if_asked_for(tmp_path: Path, behaviours: Path) -> None:
    alone = _record(tmp_path, behaviours, "forks", status=5)
    assert len(alone.metadata.processes) == 1
    recording = _record(
        tmp_path, behaviours, "forks", status=5, settings=["--follow-children", "--force"]
    )
    root, *children = recording.metadata.processes
    assert (root.started, root.end, root.exit_code) == ("exec", "exited", 5)
    assert all(child.parent_pid == root.pid and child.started == "fork" for child in children)
    ends = sorted((child.end, child.exit_code) for child in children if child.exit_code is not None)
    assert ends == [("exited", 0), ("exited", 1), ("exited", 2)]
    assert [child.end for child in children].count("killed") == 2
    # Each has a stream, phases and mappings of its own.
    for process in recording.metadata.processes:
        assert process.line_access_count > 0
        assert recording.select_phases(0, process.process)
    mapped = recording.table("mappings").to_pylist()
    assert {row["process"] for row in mapped} == set(range(len(recording.metadata.processes)))


def test_a_child_that_cannot_be_recorded_runs_and_is_told_of(
    tmp_path: Path, behaviours: Path
) -> None:
    recording = _compare(tmp_path, behaviours, "forks_where_files_are_small", "--follow-children")
    assert len(recording.metadata.processes) == 1
    message = recording.metadata.outcome.message
    assert "a child process is not recorded" in message
    assert "ulimit -f" in message


def test_a_program_that_executes_another_is_two_in_the_recording(
    tmp_path: Path, behaviours: Path
) -> None:
    recording = _record(tmp_path, "sh", "-c", f"exec {behaviours} exits 9", status=9)
    shell, program = recording.metadata.processes
    assert (shell.end, program.end, program.exit_code) == ("replaced", "exited", 9)
    assert shell.pid == program.pid
    assert program.program == str(behaviours)
    assert program.started == "exec"


def test_followed_children_execute_under_the_tracer(tmp_path: Path, behaviours: Path) -> None:
    script = f"{behaviours} exits 3; env -i A=1 {behaviours} shows_variable A; exit 4"
    done = run(*record_line(tmp_path / "r", ["sh", "-c", script], "--follow-children"))
    assert done == Done(4, b"1\n", "")
    recording = open_recording(tmp_path / "r")
    programs = [process.program for process in recording.metadata.processes]
    assert programs.count(str(behaviours)) == 2
    ends = {(process.end, process.exit_code) for process in recording.metadata.processes}
    assert ends == {("replaced", None), ("exited", 0), ("exited", 3), ("exited", 4)}


@pytest.mark.parametrize("follow", [False, True])
def test_a_daemon_outlives_the_program(tmp_path: Path, behaviours: Path, follow: bool) -> None:
    file = tmp_path / "written"
    settings = ["--follow-children"] if follow else []
    recording = _record(tmp_path, behaviours, "daemonises", file, settings=settings)
    if not follow:
        wait_until(file.exists, "the daemon wrote")
        assert len(recording.metadata.processes) == 1
        return
    # A recorder waits for those that it records.
    assert file.read_text() == "from the daemon\n"
    assert [process.end for process in recording.metadata.processes] == ["exited"] * 3


def test_a_cleared_environment_is_no_hindrance(tmp_path: Path, behaviours: Path) -> None:
    command = record_line(tmp_path / "r", [behaviours, "shows_variable", "HOME"])
    assert run("env", "-i", *command) == Done(0, b"(none)\n", "")


def test_threads_are_in_the_recording(tmp_path: Path, behaviours: Path) -> None:
    recording = _record(tmp_path, behaviours, "threads")
    threads = recording.table("threads").to_pylist()
    assert len(threads) == 65
    assert len({row["kernel_tid"] for row in threads}) == 65
    assert all(row["creator"] == 1 for row in threads[1:])


def test_signals_are_in_the_recording(tmp_path: Path, behaviours: Path) -> None:
    recording = _record(tmp_path, behaviours, "alarms_five_times")
    names = [row["name"] for row in recording.table("signals").to_pylist()]
    assert names.count("SIGALRM") >= 5


def test_a_program_refused_memory_by_its_own_limit_goes_on(
    tmp_path: Path, behaviours: Path
) -> None:
    recording = _record(tmp_path, behaviours, "runs_out_of_memory", "300", status=3)
    assert recording.metadata.outcome.status == "exited"


def test_a_tracer_without_memory_says_so(tmp_path: Path, behaviours: Path) -> None:
    # 80 MB are enough for the program, and not for its translation.
    limited = ["sh", "-c", f"ulimit -v 80000; exec {behaviours} exits 3"]
    assert run(*limited).status == 3
    done = run(*record_line(tmp_path / "r", limited))
    assert done.status == 2
    outcome = open_recording(tmp_path / "r").metadata.outcome
    assert outcome.status == "lost"
    assert "the tracer ended the program: out of memory" in outcome.message
    (line,) = done.errors.splitlines()
    assert line.startswith("sgxlens: error: ")
    assert outcome.message in line


def test_python_behaves(tmp_path: Path) -> None:
    # From 3.13 on Python starts programs by posix_spawn, which docs/method.md has as a limit.
    script = (
        "import os, subprocess, sys, threading\n"
        "subprocess._USE_POSIX_SPAWN = False\n"
        "print(subprocess.run(['echo', 'child'], capture_output=True).stdout)\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(6)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "threads = [threading.Thread(target=lambda: None) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "try: subprocess.run(['/nonexistent'])\n"
        "except FileNotFoundError as error: print(error)\n"
        "sys.exit('the end')\n"
    )
    command = [sys.executable, "-I", "-c", script]
    assert run(*record_line(tmp_path / "r", command)) == run(*command)


AVX512 = """
typedef float wide __attribute__((vector_size(64)));
int main(void) {
    volatile wide a = {1}, b = {2};
    a = a + b;
    return (int)a[0];
}
"""


def test_a_program_for_avx512_only_is_told_what_to_do(tmp_path: Path) -> None:
    source = tmp_path / "wide.c"
    source.write_text(AVX512)
    program = compile_program([source], tmp_path / "wide", "-mavx512f")
    done = run(*record_line(tmp_path / "r", [program]))
    assert done.status == 128 + signal.SIGILL
    outcome = open_recording(tmp_path / "r").metadata.outcome
    assert outcome.signal == "SIGILL"
    assert "AVX-512" in outcome.message
    assert "-march=native" in outcome.message


def test_nothing_is_left_behind(tmp_path: Path, behaviours: Path) -> None:
    start = time.time()
    _record(tmp_path, behaviours, "exits", "0")
    wait_until(lambda: not orphaned_folders(start), "the folder of the session was cleared away")
    assert not [pid for pid in processes_with(str(tmp_path)) if is_running(pid)]


@pytest.mark.parametrize(
    ("isa", "hidden"),
    [
        ("sse", ["avx", "f16c", "fma", "avx2", "avx512f"]),
        ("avx", ["fma", "avx2", "avx512f"]),
        ("avx2", ["avx512f"]),
    ],
)
def test_a_program_is_shown_an_instruction_set(
    tmp_path: Path, behaviours: Path, isa: str, hidden: list[str]
) -> None:
    native = _features(run(behaviours, "shows_features").output)
    done = run(*record_line(tmp_path / "r", [behaviours, "shows_features"], "--isa", isa))
    expected = {name: "0" if name in hidden else native[name] for name in native}
    assert _features(done.output) == expected
    assert open_recording(tmp_path / "r").metadata.tracer.isa == isa


def _features(output: bytes) -> dict[str, str]:
    return dict(word.split(":", 1) for word in output.decode().split())
