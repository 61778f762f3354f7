# SPDX-License-Identifier: Apache-2.0
"""Native times: of phases and of the whole, beside a recording and by themselves.

How long anything takes is asserted with wide margins only: the machine may be busy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import SGXLENS, is_running, processes_with, record_line, run, wait_until
from recordings import PROGRAMS, compile_program, needs_tracer
from sgxlens.recording.native_times.model import load_times
from sgxlens.recording.native_times.summary import NativeSummary
from sgxlens.recording.reader import Recording, open_recording

pytestmark = needs_tracer

SCRIPT = """
import sgxlens, time
for name, seconds in (("short", 0.02), ("long", 0.3), ("short", 0.1), ("end", 0)):
    sgxlens.mark(name)
    time.sleep(seconds)
"""
PROGRAM = """
#include <sgxlens/mark.h>
#include <unistd.h>
int main(void) {
    sgxlens_mark("short");
    usleep(20000);
    sgxlens_mark("long");
    usleep(300000);
    sgxlens_mark("short");
    usleep(100000);
    sgxlens_mark("end");
    return 0;
}
"""


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    # A test's own folder is in the command line of what it runs.
    wait_until(
        lambda: not [pid for pid in processes_with(str(tmp_path)) if is_running(pid)],
        "every process had ended",
    )


@pytest.fixture(scope="module")
def sleeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sleeps")
    (folder / "sleeps.c").write_text(PROGRAM)
    return compile_program([folder / "sleeps.c"], folder / "sleeps")


def _assert_slept(native: NativeSummary) -> None:
    names = [("short", 0), ("long", 0), ("short", 1), ("end", 0)]
    assert list(native.phases) == [("start", 0), *names]
    for key, seconds in zip(names, (0.02, 0.3, 0.1, 0), strict=True):
        assert len(native.phases[key].samples) == 2
        assert seconds <= native.phases[key].min_seconds < seconds + 1
    for run_seconds, *of_run in zip(
        native.run_time.samples, *(t.samples for t in native.phases.values()), strict=True
    ):
        assert sum(of_run) == pytest.approx(run_seconds)


def _note(recording: Recording) -> str:
    """Why there are no native times."""
    assert recording.metadata.native is None
    assert recording.native is None
    assert not recording.has_table("native_times")
    (note,) = recording.metadata.notes
    assert note.startswith("no native times: ")
    return note


def test_the_phases_of_a_script_are_timed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    line = record_line(tmp_path / "r", [sys.executable, script], "--native-runs", "2")
    assert run(*line).status == 0
    recording = open_recording(tmp_path / "r")
    recording.verify()
    assert recording.native is not None
    _assert_slept(recording.native)
    info = recording.metadata.native
    assert info is not None
    assert info.source is None
    assert info.host == recording.metadata.host
    assert info.command == recording.metadata.command
    assert [process.end for process in recording.metadata.processes] == ["exited"]


def test_times_are_taken_from_elsewhere(tmp_path: Path, sleeps: Path) -> None:
    times = tmp_path / "times.json"
    done = run(SGXLENS, "time", "--native-runs", "2", "-o", times, "--", sleeps)
    assert done.status == 0, done.errors
    assert str(times) in done.errors
    line = record_line(tmp_path / "r", [sleeps], "--native", str(times))
    assert run(*line).status == 0
    # And from that recording into another one.
    line = record_line(tmp_path / "again", [sleeps], "--native", str(tmp_path / "r"))
    assert run(*line).status == 0
    for name, source in (("r", times), ("again", tmp_path / "r")):
        recording = open_recording(tmp_path / name)
        assert recording.native is not None
        _assert_slept(recording.native)
        assert recording.native.info.source == str(source)
        assert recording.native.info.created == load_times(times).created


def test_a_wrong_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    times.write_text('{"schema": "sgxlens-native-times", "schema_version": 1, "host": {}}')
    done = run(*record_line(tmp_path / "r", ["touch", tmp_path / "ran"], "--native", str(times)))
    assert (done.status, done.output) == (2, b"")
    assert "times.json: host.cpu: this field is missing" in done.errors
    assert not (tmp_path / "ran").exists()


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    done = run(SGXLENS, "record", "--no-native", "--native-runs", "2", "--", "true")
    assert done.status == 2
    assert "give one of --native, --no-native and --native-runs" in done.errors


def test_of_marks_that_tell_no_times_the_whole_is_timed(tmp_path: Path) -> None:
    marks = compile_program([PROGRAMS / "marks.c"], tmp_path / "marks", "-DSGXLENS_NO_NATIVE_TIMES")
    assert run(*record_line(tmp_path / "r", [marks], "--native-runs", "1")).status == 0
    recording = open_recording(tmp_path / "r")
    assert recording.native is not None
    assert recording.native.phases == {}
    assert recording.native.run_time.median_seconds > 0
    assert "only the whole program is timed" in " ".join(recording.metadata.notes)


def test_a_program_that_replaces_itself_is_timed_from_its_first_mark_on(
    tmp_path: Path, sleeps: Path
) -> None:
    line = record_line(tmp_path / "r", ["env", sleeps], "--native-runs", "2", "--follow-children")
    assert run(*line).status == 0
    recording = open_recording(tmp_path / "r")
    assert len(recording.metadata.processes) == 2
    assert recording.native is not None
    assert next(iter(recording.native.phases)) == ("short", 0)


def test_a_program_runs_with_the_environment_that_it_was_recorded_with(tmp_path: Path) -> None:
    line = record_line(tmp_path / "r", ["sh", "-c", "exit $STATUS"], "--native-runs", "1")
    assert run(*line, env={**os.environ, "STATUS": "7"}).status == 7
    # It failed, but alike.
    assert open_recording(tmp_path / "r").native is not None


def test_a_program_that_ends_otherwise_natively_is_not_timed(tmp_path: Path) -> None:
    program = f"test -e {tmp_path}/ran && exit 3; touch {tmp_path}/ran"
    line = record_line(tmp_path / "r", ["sh", "-c", program], "--native-runs", "2")
    line.remove("-q")
    done = run(*line)
    assert done.status == 0
    note = _note(open_recording(tmp_path / "r"))
    assert "natively the program exited with status 3, unlike when it was recorded" in note
    assert note in done.errors


def test_a_program_killed_by_a_signal_is_timed_alike(tmp_path: Path) -> None:
    line = record_line(tmp_path / "r", ["sh", "-c", "kill -TERM $$"], "--native-runs", "1")
    assert run(*line).status == 128 + signal.SIGTERM
    assert open_recording(tmp_path / "r").native is not None


def test_input_from_a_pipe_is_not_given_again(tmp_path: Path) -> None:
    line = record_line(tmp_path / "r", ["cat"], "--native-runs", "1")
    assert run(*line, input=b"hello").output == b"hello"
    assert "it read its standard input" in _note(open_recording(tmp_path / "r"))


def test_input_that_a_child_may_have_read_is_not_given_again(tmp_path: Path) -> None:
    line = record_line(tmp_path / "r", ["sh", "-c", "cat; true"], "--native-runs", "1")
    assert run(*line, input=b"hello").output == b"hello"
    assert "may have been read" in _note(open_recording(tmp_path / "r"))


def test_a_pipe_that_nobody_read_is_no_obstacle(tmp_path: Path) -> None:
    line = record_line(tmp_path / "r", ["true"], "--native-runs", "1")
    assert run(*line, input=b"hello").status == 0
    assert open_recording(tmp_path / "r").native is not None


def test_input_from_a_file_is_given_again(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("skipped\nmiddle\nlast\n")
    program = f"while read -r line; do echo $line >> {tmp_path}/lines; done"
    line = record_line(tmp_path / "r", ["sh", "-c", program], "--native-runs", "2")
    with (tmp_path / "input").open("rb", buffering=0) as file:
        file.seek(len("skipped\n"))
        assert run(*line, stdin=file).status == 0
    assert open_recording(tmp_path / "r").native is not None
    assert (tmp_path / "lines").read_text() == "middle\nlast\n" * 3


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A recorder whose program was recorded, and waits with a child in its native run."""
    program = (
        'test -n "$SGXLENS_NATIVE_MARKS" || exit 0;'
        f' sh -c "sleep 1000; true" {tmp_path} & touch {tmp_path}/waiting; wait'
    )
    line = record_line(tmp_path / "r", ["sh", "-c", program], "--native-runs", "1")
    line.remove("-q")
    with subprocess.Popen(
        line,
        start_new_session=True,
        # Here lies what a recorder that is killed cannot clear away.
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as recorder:
        wait_until((tmp_path / "waiting").exists, "the native run began")
        yield recorder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_a_native_run_keeps_the_recording(
    tmp_path: Path, waiting: subprocess.Popen[str], number: signal.Signals
) -> None:
    waiting.send_signal(number)
    _, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0  # the recorded program's own
    assert "interrupted" in errors
    recording = open_recording(tmp_path / "r")
    recording.verify()
    assert "the native runs were interrupted" in _note(recording)
    assert recording.metadata.outcome.is_clean


def test_a_native_run_does_not_outlive_a_killed_recorder(
    tmp_path: Path, waiting: subprocess.Popen[str]
) -> None:
    waiting.kill()
    waiting.wait(60)
    wait_until(
        lambda: not [pid for pid in processes_with(str(tmp_path)) if is_running(pid)],
        "the program and its child had ended",
    )
    for folder in tmp_path.glob(".sgxlens-*.partial"):
        assert folder.is_dir()


def test_what_a_native_run_leaves_running_is_ended(tmp_path: Path) -> None:
    # Not in the recorded run, which is the first.
    left = f"sh -c 'sleep 1000' {tmp_path} &"
    program = f"if test -e {tmp_path}/ran; then {left} fi; touch {tmp_path}/ran"
    line = record_line(tmp_path / "r", ["sh", "-c", program], "--native-runs", "2")
    assert run(*line).status == 0
    # The fixture looks for what is left.


def test_time_says_why_there_are_none(tmp_path: Path) -> None:
    done = run(SGXLENS, "time", "-o", tmp_path / "times.json", "--", "sh", "-c", "exit 4")
    assert done.status == 2
    assert done.errors == "sgxlens: error: natively the program exited with status 4\n"
    assert not (tmp_path / "times.json").exists()


def test_time_refuses_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    done = run(SGXLENS, "time", "-o", tmp_path, "--", "touch", tmp_path / "ran")
    assert done.status == 2
    assert "it is a folder" in done.errors
    assert not (tmp_path / "ran").exists()


def test_replayed_accesses_keep_their_native_times(tmp_path: Path) -> None:
    line = record_line(tmp_path / "r", ["true"], "--native-runs", "1", "--keep-accesses")
    assert run(*line).status == 0
    assert run(SGXLENS, "replay", "-o", tmp_path / "again", tmp_path / "r").status == 0
    recording, again = (open_recording(tmp_path / name) for name in ("r", "again"))
    again.verify()
    assert again.metadata.native == recording.metadata.native
    assert again.table("native_times").equals(recording.table("native_times"))


def test_times_of_a_busy_machine_say_so(tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    loop = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    one_processor = f"taskset -c {min(os.sched_getaffinity(0))}"
    line = f"{one_processor} {SGXLENS} time -q -o {times} -- sh -c '{loop}'"
    busy = f"{one_processor} sh -c 'while :; do :; done' {tmp_path}"
    done = run("sh", "-c", f"{busy} & {line}; status=$?; kill $!; exit $status")
    assert done.status == 0, done.errors
    (note,) = load_times(times).notes
    assert "the machine was busy" in note


def test_a_file_of_times_is_plain_json(tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    assert run(SGXLENS, "time", "-q", "-o", times, "--", "true").status == 0
    content = json.loads(times.read_text())
    assert content["schema"] == "sgxlens-native-times"
    assert len(content["runs"]) == 3


def test_a_model_is_timed_by_phase_and_by_operator(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    times = tmp_path / "times.json"
    assert run(SGXLENS, "time", "-q", "--native-runs", "2", "-o", times, model).status == 0
    native = load_times(times)
    assert [r.profiled for r in native.runs] == [False, False, True, True]
    assert native.threads == 1
    for of_run in native.runs:
        names = [phase.name for phase in of_run.phases]
        assert names[:6] == ["start", "import", "load", "warm-up 1", "inference 1", "inference 2"]
        assert names[-1] == "end"
        assert len(names) >= 10  # further inferences: each is some milliseconds
        for phase in of_run.phases:
            is_run = of_run.profiled and phase.name.startswith(("warm-up", "inference"))
            assert bool(phase.operators) == is_run
            # Operators are a part of their phase, and most of it once it is warm.
            spent = sum(operator.seconds for operator in phase.operators)
            assert spent <= phase.seconds + 1e-4
            if is_run:
                assert [o.type for o in phase.operators].count("Conv") == 26
    inferences = [p for r in native.runs if r.profiled for p in r.phases]
    shares = [sum(o.seconds for o in p.operators) / p.seconds for p in inferences if p.operators]
    assert max(shares) > 0.5


@pytest.mark.slow
def test_operators_of_a_recorded_model_have_native_times(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    done = run(
        SGXLENS, "record", "-o", tmp_path / "r", "--native-runs", "2", model, patience_seconds=600
    )
    assert done.status == 0, done.errors
    recording = open_recording(tmp_path / "r")
    native = recording.native
    assert native is not None
    assert native.inference is not None
    assert len(native.inference.samples) >= 10
    (steady,) = recording.select_phases("inference 2")
    recorded = [r for r in recording.table("operators").to_pylist() if r["phase"] == steady.index]
    assert len(recorded) > 30
    assert set(native.inference_operators) == {row["index"] for row in recorded}
    # An inference is faster than under the tracer, by far.
    assert native.inference.median_seconds < steady.elapsed_seconds / 3
