# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, signals to the recorder and its sudden death: the program ends, and nothing is left."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import (
    SGXLENS,
    is_running,
    processes_with,
    record_line,
    run,
    session_folder,
    shell_status,
    wait_until,
)
from recordings import needs_tracer
from sgxlens.recording.environment import session_root
from sgxlens.recording.reader import open_recording

pytestmark = needs_tracer

CTRL_C = b"\x03"
CTRL_D = b"\x04"


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)  # noqa: S606
        self.text = b""

    def wait_for(self, text: bytes) -> None:
        """Read on until the screen shows `text`, after what was waited for before."""
        while text not in self.text:
            self.text += os.read(self.screen, 4096)
        self.text = self.text.partition(text)[2]

    def press(self, keys: bytes) -> None:
        os.write(self.screen, keys)

    def end(self) -> int:
        """Read what is still written, and wait for the end."""
        try:
            while data := os.read(self.screen, 4096):
                self.text += data
        except OSError:  # how Linux tells the end of a terminal
            pass
        os.close(self.screen)
        return shell_status(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    # A test's own folder is in the command line of the recorder and of the program.
    wait_until(lambda: not _running(tmp_path), "every process had ended")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".sgxlens")]


def _running(folder: Path) -> list[int]:
    return [pid for pid in processes_with(str(folder)) if is_running(pid)]


def _command(
    tmp_path: Path, program: Path, *arguments: str, options: tuple[str, ...] = ()
) -> list[str]:
    return record_line(tmp_path / "r", [program, *arguments, str(tmp_path)], *options)


def test_ctrl_c_ends_the_program_and_keeps_the_recording(tmp_path: Path, behaviours: Path) -> None:
    terminal = Terminal(_command(tmp_path, behaviours, "spins"))
    terminal.wait_for(b"ready")
    session = session_folder(tmp_path)
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    recording = open_recording(tmp_path / "r")
    recording.verify()
    outcome = recording.metadata.outcome
    assert (outcome.status, outcome.signal) == ("interrupted", "SIGINT")
    assert recording.metadata.processes[0].line_access_count > 10_000
    assert not session.exists()


def test_ctrl_c_reaches_the_program_once(tmp_path: Path, behaviours: Path) -> None:
    terminal = Terminal(_command(tmp_path, behaviours, "counts_interrupts"))
    terminal.wait_for(b"ready")
    terminal.press(CTRL_C)
    terminal.wait_for(b"interrupt\r\n")
    terminal.press(CTRL_D)
    terminal.wait_for(b"1 interrupts")
    # It went on and ended by itself, with a status of its own.
    assert terminal.end() == 11
    outcome = open_recording(tmp_path / "r").metadata.outcome
    assert (outcome.status, outcome.exit_code) == ("interrupted", 11)


def test_a_signal_to_the_recorder_reaches_the_program_once(
    tmp_path: Path, behaviours: Path
) -> None:
    with _start(_command(tmp_path, behaviours, "counts_interrupts")) as recorder:
        assert recorder.stdout is not None
        recorder.send_signal(signal.SIGINT)
        assert recorder.stdout.readline() == b"interrupt\n"
        assert recorder.communicate(timeout=60)[0] == b"1 interrupts\n"
        assert recorder.returncode == 11


def test_a_second_ctrl_c_kills_a_program_that_ignores_the_first(
    tmp_path: Path, behaviours: Path
) -> None:
    command = _command(tmp_path, behaviours, "ignores_interrupts")
    command.remove("-q")
    terminal = Terminal(command)
    terminal.wait_for(b"ready")
    terminal.press(CTRL_C)
    terminal.wait_for(b"waiting for the program to end; Ctrl-C kills it")
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    assert b"Traceback" not in terminal.text
    outcome = open_recording(tmp_path / "r").metadata.outcome
    assert (outcome.status, outcome.signal) == ("interrupted", "SIGKILL")


def test_ctrl_c_ends_children_too(tmp_path: Path, behaviours: Path) -> None:
    command = _command(tmp_path, behaviours, "sleeps_with_a_child", options=("--follow-children",))
    terminal = Terminal(command)
    terminal.wait_for(b"ready")
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    assert [p.end for p in open_recording(tmp_path / "r").metadata.processes] == ["killed"] * 2


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a recorder without a terminal; return it when its program is ready."""
    recorder = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if "counts_interrupts" not in command else subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert recorder.stdout is not None
    assert recorder.stdout.readline() == b"ready\n"
    return recorder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("behaviour", ["spins", "sleeps"])
def test_a_recorder_that_is_asked_to_end_ends_the_program(
    tmp_path: Path, behaviours: Path, behaviour: str, number: signal.Signals
) -> None:
    with _start(_command(tmp_path, behaviours, behaviour)) as recorder:
        recorder.send_signal(number)
        assert shell_status(recorder.wait(60)) == 128 + number
    outcome = open_recording(tmp_path / "r").metadata.outcome
    assert (outcome.status, outcome.signal) == ("interrupted", number.name)


def test_what_is_ignored_stays_ignored(tmp_path: Path, behaviours: Path) -> None:
    # As nohup does, and a shell for what runs in the background.
    command = _command(tmp_path, behaviours, "sleeps")
    with _start(["sh", "-c", 'trap "" INT HUP; exec "$@"', "sh", *command]) as recorder:
        recorder.send_signal(signal.SIGINT)
        recorder.send_signal(signal.SIGHUP)
        recorder.send_signal(signal.SIGTERM)
        assert shell_status(recorder.wait(60)) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("behaviour", "options"),
    [
        ("spins", ()),
        ("sleeps", ()),
        ("ignores_interrupts", ()),
        ("sleeps_with_a_child", ("--follow-children",)),
    ],
)
def test_a_program_does_not_outlive_a_killed_recorder(
    tmp_path: Path, behaviours: Path, behaviour: str, options: tuple[str, ...]
) -> None:
    with _start(_command(tmp_path, behaviours, behaviour, options=options)) as recorder:
        assert len(_running(tmp_path)) == 2 + len(options)
        session = session_folder(tmp_path)
        recorder.kill()
        recorder.wait(60)
        start = time.monotonic()
        wait_until(lambda: not _running(tmp_path), "the program had ended")
        assert time.monotonic() - start < 10
    assert not (tmp_path / "r").exists()
    # What the killed recorder could not clear away, a later one does.
    os.utime(session, (0, 0))
    assert run(*_command(tmp_path, behaviours, "exits", "0")).status == 0
    assert not session.exists()
    for folder in tmp_path.glob(".sgxlens-*.partial"):
        folder.rmdir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_model_that_is_being_checked_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = [SGXLENS, "record", "-q", "-o", str(tmp_path / "r"), str(model)]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(folder)}) as recorder:
        # The program that loads the model has its folder in its command line.
        wait_until(lambda: _running(folder), "the model was loaded")
        recorder.send_signal(number)
        assert recorder.wait(60) == 128 + number
    assert not list(folder.glob("sgxlens-*"))
    assert not (tmp_path / "r").exists()


def test_folders_of_others_are_not_cleared_away(tmp_path: Path, behaviours: Path) -> None:
    fresh = session_root() / "sgxlens-session-test-fresh"
    fresh.mkdir()
    try:
        with _start(_command(tmp_path, behaviours, "sleeps")) as recorder:
            session = session_folder(tmp_path)
            os.utime(session, (0, 0))
            done = run(*record_line(tmp_path / "other", [behaviours, "exits", "0"]))
            assert done.status == 0
            assert session.exists()
            assert fresh.exists()
            recorder.terminate()
    finally:
        fresh.rmdir()
