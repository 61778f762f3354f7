# SPDX-License-Identifier: Apache-2.0
import os
import platform
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

import sgxlens
from sgxlens.errors import TracerError
from sgxlens.recording import environment


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose tracer is empty files; returns the folder that would hold the package."""
    monkeypatch.setattr(sgxlens, "__path__", [str(tmp_path / "sources"), str(tmp_path / "built")])
    return tmp_path / "built"


def _make_tracer(package: Path) -> Path:
    folder = package / "_tracer"
    folder.mkdir(parents=True)
    for name in environment.TRACER_FILES:
        (folder / name).touch()
    (folder / "BUILD_INFO.json").write_text('{"valgrind": "3.19.0"}')
    return folder


def test_the_tracer_is_found_in_whichever_folder_of_the_package_has_it(installed: Path) -> None:
    folder = _make_tracer(installed)
    assert environment.tracer_folder() == folder
    assert environment.tracer_command() == [str(folder / "launcher")]
    assert environment.valgrind_version() == "3.19.0"


@pytest.mark.parametrize("missing", environment.TRACER_FILES)
def test_an_incomplete_tracer_is_none(installed: Path, missing: str) -> None:
    (_make_tracer(installed) / missing).unlink()
    with pytest.raises(TracerError, match="apt-get install valgrind"):
        environment.tracer_folder()


def test_on_another_machine_the_remedy_is_another_one(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(TracerError, match="x86-64 Linux only, and this is aarch64"):
        environment.tracer_folder()


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '"x"'])
def test_a_damaged_build_info_is_said(installed: Path, text: str) -> None:
    (_make_tracer(installed) / "BUILD_INFO.json").write_text(text)
    with pytest.raises(TracerError, match="is damaged"):
        environment.valgrind_version()


@pytest.mark.parametrize("name", ["a folder", "a:folder"])
def test_where_the_path_would_be_split_the_tracer_goes_by_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sgxlens, "__path__", [str(tmp_path / name)])
    folder = _make_tracer(tmp_path / name)
    session = tmp_path / "session"
    session.mkdir()
    for _ in range(2):  # the second time the link is there
        command = environment.tracer_command(session)
    assert command == [
        "/usr/bin/env",
        f"VALGRIND_LIB={session}/tracer",
        f"{session}/tracer/launcher",
    ]
    assert (session / "tracer").resolve() == folder


def test_where_no_path_will_do_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sgxlens, "__path__", [str(tmp_path / "a folder")])
    _make_tracer(tmp_path / "a folder")
    for session in (None, tmp_path / "a session"):
        with pytest.raises(TracerError, match="space or colon"):
            environment.tracer_command(session)


def test_streams_go_to_shared_memory_where_it_has_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SHARED_MEMORY", tmp_path)
    wanted = environment.SHARED_MEMORY_BYTES_WANTED
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(wanted, 0, wanted))
    assert environment.session_root() == tmp_path
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(wanted, 1, wanted - 1))
    assert environment.session_root() != tmp_path


def test_streams_go_to_the_temporary_folder_where_there_is_no_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SHARED_MEMORY", tmp_path / "missing")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert environment.session_root() == tmp_path


def test_the_host_is_described() -> None:
    host = environment.host_info()
    assert host.cpu
    assert 1 <= host.cores <= (os.cpu_count() or 1)
    assert re.match(r"\d+\.\d+", host.kernel)
    assert host.memory_bytes > 1 << 28
    assert host.thread_stack_bytes is not None
    assert host.thread_stack_bytes >= 16 << 10


def test_a_host_without_proc_is_described_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cpu_fields", dict)
    assert environment.host_info().cpu
