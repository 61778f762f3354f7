# SPDX-License-Identifier: Apache-2.0
"""The target of ``sgxlens record -- COMMAND``: any program that Valgrind can run."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgxlens.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ELF_MAGIC = b"\x7fELF"
_ELF_64_BIT = 2
_ELF_MACHINES = {3: "32-bit x86", 40: "32-bit Arm", 183: "AArch64", 243: "RISC-V", 62: "x86-64"}
_MACHINE_X86_64 = 62
_ELF_EXECUTABLE, _ELF_SHARED = 2, 3
_SEGMENT_INTERPRETER = 3
# As the kernel has it: an interpreter may be a script itself, a few times.
_INTERPRETERS_MAX = 5


class CommandTarget:
    """A command, checked before it starts.

    Args:
        command: the program and its arguments, as a shell would pass them.

    Raises:
        TargetError: there is no such program, or the tracer cannot run it.
    """

    kind = "command"

    def __init__(self, command: Sequence[str]) -> None:
        if not command or not command[0]:
            raise TargetError("no command given")
        self.program = find_program(command[0])
        check_program(self.program)
        self._command = list(command)

    def command(self) -> list[str]:
        """The command line to run, as it was given."""
        return self._command

    def native_command(self, *, profiled: bool = False) -> list[str] | None:
        """The command line for a native run; None with `profiled`: nobody knows its operators."""
        return None if profiled else self.command()

    def info(self) -> dict[str, Any]:
        """The field ``target`` of ``recording.json``."""
        return {"kind": self.kind, "program": str(self.program)}

    def close(self) -> None:
        """Does nothing: a command needs no preparation."""


def find_program(name: str) -> Path:
    """The file that would be run as `name`, looked up in PATH as a shell does.

    Raises:
        TargetError: there is none.
    """
    if "\0" in name:
        raise TargetError(f"{name!r} cannot be the name of a program")
    if "/" in name:
        return Path(name)
    found = shutil.which(name)
    if found is None:
        here = f": there is one in this folder, run it as ./{name}" if os.path.exists(name) else ""  # noqa: PTH110
        raise TargetError(f"no command {name!r} in PATH{here}")
    return Path(found)


def check_program(program: Path, described: str | None = None, depth: int = 0) -> None:
    """Refuses a file that cannot be run, or not under the tracer.

    Args:
        program: the file.
        described: how messages call it; None: by its path.
        depth: how many scripts led here.

    Raises:
        TargetError: with the reason and the remedy.
    """
    name = described or str(program)
    try:
        status = program.stat()
        if stat.S_ISDIR(status.st_mode):
            raise TargetError(f"{name} is a folder, not a program")
        if not stat.S_ISREG(status.st_mode):
            raise TargetError(f"{name} is not a regular file")
        if not os.access(program, os.X_OK):
            raise TargetError(f"{name} is not executable: chmod +x {program}, or check its mount")
        _refuse_privileges(program, name, status)
        with program.open("rb") as file:
            head = file.read(4096)
            if head.startswith(_ELF_MAGIC):
                _check_elf(file.fileno(), head, name)
                return
    except FileNotFoundError as error:
        raise TargetError(f"{name} does not exist") from error
    except OSError as error:
        raise TargetError(f"cannot read {name}: {error.strerror}") from error
    _check_script(program, head, name, depth)


def _refuse_privileges(program: Path, name: str, status: os.stat_result) -> None:
    remedy = "make a copy without it (cp does) and record the copy"
    for bit, what in ((stat.S_ISUID, "setuid"), (stat.S_ISGID, "setgid")):
        if status.st_mode & bit:
            raise TargetError(f"{name} is {what}, which no tracer may run: {remedy}")
    try:
        capabilities = os.getxattr(program, "security.capability")
    except OSError:  # none, or a file system without them
        return
    if capabilities:
        raise TargetError(f"{name} has file capabilities, which no tracer may grant: {remedy}")


def _check_elf(descriptor: int, head: bytes, name: str) -> None:
    if len(head) < 64:
        raise TargetError(f"{name} is cut short: its ELF header is not whole")
    kind, machine = struct.unpack_from("<HH", head, 16)
    what = _ELF_MACHINES.get(machine, f"ELF machine {machine}")
    if head[4] != _ELF_64_BIT:
        bits = "32-bit (x32)" if machine == _MACHINE_X86_64 else what
        raise TargetError(f"{name} is a {bits} program: only x86-64 is traced, use a 64-bit build")
    if machine != _MACHINE_X86_64:
        raise TargetError(f"{name} is a program for {what}: only x86-64 is traced")
    if kind not in (_ELF_EXECUTABLE, _ELF_SHARED):
        raise TargetError(f"{name} is an ELF file but not a program")
    loader = _elf_loader(descriptor, head, name)
    if loader is not None and not Path(loader).exists():
        raise TargetError(f"{name} needs the loader {loader}, which is not installed here")


def _elf_loader(descriptor: int, head: bytes, name: str) -> str | None:
    """The dynamic loader that the program names; None for a static one."""
    (table,) = struct.unpack_from("<Q", head, 32)
    entry_bytes, count = struct.unpack_from("<HH", head, 54)
    if count and entry_bytes < 56:
        raise TargetError(f"{name} is damaged: its ELF header makes no sense")
    for index in range(count):
        try:
            entry = os.pread(descriptor, 56, table + index * entry_bytes)
        except (OSError, OverflowError):
            entry = b""
        if len(entry) < 56:
            raise TargetError(f"{name} is cut short: its program headers are not whole")
        (kind,) = struct.unpack_from("<I", entry, 0)
        if kind == _SEGMENT_INTERPRETER:
            offset, size = struct.unpack_from("<Q16xQ", entry, 8)
            try:
                path = os.pread(descriptor, min(size, 4096), offset)
            except (OSError, OverflowError):
                path = b""
            return os.fsdecode(path.split(b"\0")[0])
    return None


def _check_script(program: Path, head: bytes, name: str, depth: int) -> None:
    if not head.startswith(b"#!"):
        raise TargetError(
            f"{name} is neither an ELF program nor a script with a #! line: give the program that"
            f" runs it, as in -- sh {program}"
        )
    line = os.fsdecode(head[2:].split(b"\n")[0])
    # The kernel parts words at blanks only: a carriage return belongs to the name.
    words = [word for word in line.replace("\t", " ").split(" ") if word]
    if not words:
        raise TargetError(f"{name} names no interpreter in its #! line")
    if depth >= _INTERPRETERS_MAX:
        raise TargetError(f"{name} is a script of a script of a script ...: give the program")
    interpreter = words[0]
    if interpreter.endswith("\r"):
        raise TargetError(f"{name} has Windows line ends: its interpreter is not found")
    try:
        check_program(Path(interpreter), f"{interpreter} (interpreter of {program})", depth + 1)
        called = _called_by_env(words[1:]) if Path(interpreter).name == "env" else None
        if called is not None:
            check_program(find_program(called), depth=depth + 1)
    except TargetError as error:
        if depth == 0 and name not in str(error):
            raise TargetError(f"{name} cannot run: {error}") from error
        raise


def _called_by_env(words: Sequence[str]) -> str | None:
    """The program that env runs; None where its options make that hard to tell."""
    for word in words:
        if word.startswith("-") and word not in ("-S", "--split-string"):
            return None
        if not word.startswith("-") and "=" not in word:
            return word
    return None
