# SPDX-License-Identifier: Apache-2.0
"""The tracer as it is installed, started as the recorder starts it."""

import subprocess
from pathlib import Path

import pytest

import sgxlens
from sgxlens.errors import TracerError
from sgxlens.recording import environment

try:
    TRACER: Path | None = environment.tracer_folder()
except TracerError:
    TRACER = None

pytestmark = pytest.mark.skipif(TRACER is None, reason="sgxlens was built without its tracer")
OPTIONS = ["--tool=sgxlens", "--quiet", "--sink=nowhere"]


def _trace(*arguments: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(command or environment.tracer_command()), *OPTIONS, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 1, 77])
def test_output_and_status_pass_through(status: int) -> None:
    done = _trace("sh", "-c", f"echo out; echo err >&2; exit {status}")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", status)


@pytest.mark.parametrize("children", ["no", "yes"])
def test_children_run_whether_traced_or_not(children: str) -> None:
    done = _trace(f"--follow-children={children}", "sh", "-c", "/bin/echo child; (exit 3); exit $?")
    assert (done.stdout, done.stderr, done.returncode) == ("child\n", "", 3)


def test_children_are_traced_by_way_of_the_launcher() -> None:
    # The tool's program is among the mappings of a traced process only.
    script = ["sh", "-c", "/bin/grep -c /sgxlens-amd64-linux /proc/self/maps; exit 0"]
    assert _trace("--follow-children=no", *script).stdout == "0\n"
    assert int(_trace("--follow-children=yes", *script).stdout) > 0


def test_a_folder_with_a_space_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TRACER is not None
    package = tmp_path / "a package"
    package.mkdir()
    subprocess.run(["cp", "-r", str(TRACER), str(package / "_tracer")], check=True)
    monkeypatch.setattr(sgxlens, "__path__", [str(package)])
    session = tmp_path / "session"
    session.mkdir()
    command = environment.tracer_command(session)
    done = _trace("--follow-children=yes", "sh", "-c", "/bin/echo x; exit 4", command=command)
    # Were the path split, ld.so would complain on stderr.
    assert (done.stdout, done.stderr, done.returncode) == ("x\n", "", 4)


def test_a_valgrind_of_the_user_is_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALGRIND_LIB", "/usr/libexec/valgrind")
    monkeypatch.setenv("VALGRIND_LAUNCHER", "/usr/bin/valgrind")
    assert _trace("true").returncode == 0


def test_a_launcher_alone_says_what_it_misses(tmp_path: Path) -> None:
    assert TRACER is not None
    subprocess.run(["cp", str(TRACER / "launcher"), str(tmp_path)], check=True)
    done = _trace("true", command=[str(tmp_path / "launcher")])
    assert done.returncode == 126
    assert done.stderr == (
        f"sgxlens: launcher: {tmp_path}/sgxlens-amd64-linux: No such file or directory\n"
    )
