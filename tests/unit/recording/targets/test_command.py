# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sgxlens.errors import TargetError
from sgxlens.recording.targets.command import CommandTarget
from sgxlens.recording.targets.script import ScriptTarget

LS = Path(shutil.which("ls") or "/bin/ls").resolve()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    def make(content: bytes, mode: int = 0o755) -> str:
        path = tmp_path / "program"
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    return make


def patched(offset: int, value: bytes) -> bytes:
    content = bytearray(LS.read_bytes())
    content[offset : offset + len(value)] = value
    return bytes(content)


def test_commands_stay_as_given() -> None:
    target = CommandTarget(["ls", "-l"])
    assert target.command() == ["ls", "-l"]
    assert target.info()["kind"] == "command"
    assert CommandTarget([sys.executable, "-c", "1"]).program == Path(sys.executable)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "no command given"),
        ([""], "no command given"),
        (["no-such-command"], "no command 'no-such-command' in PATH"),
        (["./no-such-file"], "does not exist"),
        (["/"], "is a folder"),
        (["a\0b"], "cannot be the name"),
        (["/dev/null"], "is not a regular file"),
    ],
)
def test_what_is_no_program(command: list[str], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        CommandTarget(command)


def test_a_program_beside_is_pointed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match=r"run it as \./mine"):
        CommandTarget(["mine"])


@pytest.mark.parametrize(
    ("mode", "message"),
    [(0o644, r"chmod \+x"), (0o4755, "is setuid.*make a copy"), (0o2755, "is setgid")],
)
def test_modes(program: Callable[..., str], mode: int, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        CommandTarget([program(LS.read_bytes(), mode)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched(4, b"\x01"), r"32-bit \(x32\)"),
        (patched(4, b"\x01")[:18] + b"\x03" + patched(4, b"\x01")[19:], "32-bit x86 program"),
        (patched(18, struct.pack("<H", 183)), "for AArch64"),
        (patched(18, struct.pack("<H", 999)), "for ELF machine 999"),
        (patched(16, struct.pack("<H", 1)), "not a program"),
        (patched(32, b"\xff" * 8), "program headers are not whole"),
        (patched(54, struct.pack("<H", 1)), "makes no sense"),
        (LS.read_bytes()[:30], "ELF header is not whole"),
        (LS.read_bytes()[:100], "program headers are not whole"),
        (LS.read_bytes().replace(b"/lib64/ld-linux", b"/lib64/no-linux"), "needs the loader"),
        (b"", "neither an ELF program nor a script"),
        (b"echo\n", "neither an ELF program nor a script"),
    ],
)
def test_programs_that_cannot_be_traced(
    program: Callable[..., str], content: bytes, message: str
) -> None:
    with pytest.raises(TargetError, match=message):
        CommandTarget([program(content)])


@pytest.mark.parametrize(
    "line", [b"#!/bin/sh", b"#! /bin/sh -e", b"#!/usr/bin/env sh", b"#!/usr/bin/env -S sh -e"]
)
def test_scripts_with_an_interpreter(program: Callable[..., str], line: bytes) -> None:
    CommandTarget([program(line + b"\nexit 0\n")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#!/no/such/shell\n", r"/no/such/shell \(interpreter of .*program\) does not exist"),
        (b"#!/usr/bin/env no-such-shell\n", "program cannot run: no command 'no-such-shell'"),
        (b"#!\n", "names no interpreter"),
        (b"#!/bin/sh\r\necho\r\n", "Windows line ends"),
    ],
)
def test_scripts_without_one(program: Callable[..., str], content: bytes, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        CommandTarget([program(content)])


def test_a_script_that_interprets_itself(program: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="script of a script"):
        CommandTarget([program(f"#!{tmp_path}/program\n".encode())])


def test_python_scripts(tmp_path: Path) -> None:
    script = tmp_path / "model.py"
    script.write_text("print('\\d')\n")
    target = ScriptTarget(script, ["--size", "3"])
    assert target.command() == [sys.executable, str(script), "--size", "3"]
    assert target.info()["kind"] == "script"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"x = = 1\n", r"not valid Python: invalid syntax \(line 1\)"), (b"\0", "not valid Python")],
)
def test_what_is_no_python(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.py").write_bytes(content)
    with pytest.raises(TargetError, match=message):
        ScriptTarget(tmp_path / "model.py")


def test_scripts_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist"):
        ScriptTarget(tmp_path / "model.py")
    with pytest.raises(TargetError, match=r"without a __main__.py"):
        ScriptTarget(tmp_path)
