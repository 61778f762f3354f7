# SPDX-License-Identifier: Apache-2.0
import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

import sgxlens
from sgxlens.cli import doctor
from sgxlens.cli.main import main
from sgxlens.recording import environment


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def _launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts `script` in the place of the tracer's launcher."""
    folder = tmp_path / "_tracer"
    folder.mkdir()
    for name in environment.TRACER_FILES:
        (folder / name).touch()
    (folder / "BUILD_INFO.json").write_text('{"valgrind": "3.19.0"}')
    (folder / "launcher").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "launcher").chmod(0o755)
    monkeypatch.setattr(sgxlens, "__path__", [str(tmp_path)])


def test_each_check_is_a_line_and_all_is_well_here(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status = main(["doctor"])
    *lines, last = capsys.readouterr().out.splitlines()
    assert status == 0, lines
    assert last == "Recording works here."
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    assert len(lines) == len(doctor.CHECKS) + len(doctor.FRAMEWORKS)


def test_a_problem_is_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sgxlens, "__path__", [])
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "problem  tracer" in out
    assert "apt-get install valgrind" in out
    assert out.endswith("Recording does not work here: 1 problem.\n")


def test_another_platform_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert doctor.check_platform().status == "problem"


def test_a_tracer_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _launcher(tmp_path, monkeypatch, "echo; echo 'valgrind: mmap failed' >&2; exit 1")
    finding = doctor.check_tracer()
    assert finding.status == "problem"
    assert "exit status 1: valgrind: mmap failed" in finding.text


def test_a_tracer_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TRIAL_SECONDS", 0.2)
    _launcher(tmp_path, monkeypatch, "exec sleep 100")
    assert "did not end" in doctor.check_tracer().text


def test_a_tracer_that_may_not_be_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _launcher(tmp_path, monkeypatch, "")
    (tmp_path / "_tracer" / "launcher").chmod(0o644)
    assert "noexec" in doctor.check_tracer().text


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        ("sse2 avx avx2 fma", "ok", "avx, avx2, fma"),
        ("sse2 avx", "ok", "--isa avx2 does not work"),
        ("sse2", "note", "--isa sse"),
    ],
)
def test_the_processor_decides_what_can_be_shown(
    monkeypatch: pytest.MonkeyPatch, flags: str, status: str, said: str
) -> None:
    monkeypatch.setattr(
        environment, "cpu_fields", lambda: {"model name": "Some CPU", "flags": flags}
    )
    finding = doctor.check_processor()
    assert finding.status == status
    assert said in finding.text


def test_too_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 5 << 20))
    shared = doctor.check_shared_memory()
    assert shared.status == "problem"
    assert "5 MiB free" in shared.text
    output = doctor.check_output_folder()
    assert output.status == "note"
    assert "--output" in output.text


def test_a_nearly_full_shared_memory_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SHARED_MEMORY", tmp_path / "missing")
    finding = doctor.check_shared_memory()
    assert finding.status == "note"
    assert "--shm-size" in finding.text


def test_an_absent_framework_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FRAMEWORKS", (("no-such-package", "to see"), ("click", "")))
    absent, present = doctor.check_frameworks()
    assert (absent.status, absent.text) == ("note", "not installed; to see")
    assert present.status == "ok"
