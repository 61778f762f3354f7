# SPDX-License-Identifier: Apache-2.0
"""This machine: where the tracer is, where its shared memory goes, and what the host is."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import sgxlens
from sgxlens.errors import TracerError, UsageError
from sgxlens.recording.metadata import HostInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACER_FILES = (
    "launcher",
    "sgxlens-amd64-linux",
    "vgpreload_core-amd64-linux.so",
    "default.supp",
)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- the session makes a private folder in it
# A ring takes 8 MiB, and each process that is followed has one. Docker gives 64 MiB.
SHARED_MEMORY_BYTES_WANTED = 32 << 20

# glibc: ARCH_STACK_DEFAULT_SIZE where there is no limit, and PTHREAD_STACK_MIN.
_UNLIMITED_STACK_BYTES, _STACK_BYTES_MIN = 2 << 20, 16 << 10

_COERCED_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")

# ld.so, which loads a library of the tracer into the program, splits LD_PRELOAD at these.
_SEPARATORS = frozenset(" :")


def tracer_folder() -> Path:
    """The folder of the tracer's files.

    Raises:
        TracerError: the package was built without the tracer, and how to get it.
    """
    # In an editable installation the package has two folders: the sources and what was built.
    for part in sgxlens.__path__:
        folder = Path(part).resolve() / "_tracer"
        if all((folder / name).is_file() for name in TRACER_FILES):
            return folder
    if not is_supported_platform():
        raise TracerError(
            f"the tracer runs on x86-64 Linux only, and this is {platform.machine()}"
            f" {platform.system()}: record there and copy the recording here"
        )
    raise TracerError(
        "sgxlens was built without its tracer, because Valgrind was not installed:"
        " `apt-get install valgrind g++`, then install sgxlens again"
        " (`pip install --force-reinstall --no-deps --no-cache-dir .` in its sources)"
    )


def is_supported_platform() -> bool:
    """Whether the tracer can exist here."""
    return platform.system() == "Linux" and platform.machine() in ("x86_64", "amd64", "AMD64")


def tracer_command(session: Path | None = None) -> list[str]:
    """The command that starts the tracer; its options and the target follow.

    In an installation whose path holds a space or a colon, which ld.so cannot preload from, the
    tracer goes by the name of a link that is made in the folder `session`.

    Raises:
        TracerError: there is no tracer, or `session` is needed and no better.
    """
    folder = tracer_folder()
    if _SEPARATORS.isdisjoint(str(folder)):
        return [str(folder / "launcher")]
    if session is None or not _SEPARATORS.isdisjoint(str(session)):
        raise TracerError(
            f"the tracer cannot work from a folder with a space or colon in its path ({folder}):"
            " install sgxlens elsewhere, or set TMPDIR to a folder without"
        )
    link = session / "tracer"
    if not link.is_symlink():
        link.symlink_to(folder)
    return ["/usr/bin/env", f"VALGRIND_LIB={link}", str(link / "launcher")]


def valgrind_version() -> str:
    """The version of Valgrind that the tracer was linked with, as in ``3.19.0``.

    Raises:
        TracerError: there is no tracer.
    """
    path = tracer_folder() / "BUILD_INFO.json"
    try:
        return str(json.loads(path.read_bytes())["valgrind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TracerError(f"{path} is damaged: install sgxlens again") from error


def session_root() -> Path:
    """The folder for the shared memory between tracer and recorder.

    ``/dev/shm`` where it has space, else the folder for temporary files, where the kernel may
    write the rings to a disk now and then.
    """
    try:
        if (
            os.access(SHARED_MEMORY, os.W_OK | os.X_OK)
            and shutil.disk_usage(SHARED_MEMORY).free >= SHARED_MEMORY_BYTES_WANTED
        ):
            return SHARED_MEMORY
    except OSError:
        pass
    return Path(tempfile.gettempdir())


def cpu_fields() -> dict[str, str]:
    """The first processor's fields of ``/proc/cpuinfo``; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    fields = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def host_info() -> HostInfo:
    """What a recording says about the machine that made it."""
    try:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        memory_bytes = 0
    return HostInfo(
        cpu=cpu_fields().get("model name") or platform.processor() or platform.machine(),
        # What this process may use, not what the machine has: a container may have less.
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        memory_bytes=max(memory_bytes, 0),
        thread_stack_bytes=_thread_stack_bytes(),
    )


def _thread_stack_bytes() -> int:
    """What glibc gives a thread on x86-64 that does not ask for a size (pthread_create(3))."""
    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if limit == resource.RLIM_INFINITY:
        return _UNLIMITED_STACK_BYTES
    return -(-max(limit, _STACK_BYTES_MIN) // resource.getpagesize()) * resource.getpagesize()


def inherited_environment() -> dict[str, str]:
    """The environment that a program gets which is started by this one.

    Python sets LC_CTYPE where it was started in the C locale (PEP 538). The program must not see
    that.
    """
    environment = dict(os.environ)
    if environment.get("LC_CTYPE") in _COERCED_LOCALES and not _was_started_with("LC_CTYPE"):
        del environment["LC_CTYPE"]
    return environment


def with_variables(
    environment: Mapping[str, str] | None, variables: Mapping[str, str]
) -> dict[str, str]:
    """An environment, None for the inherited one, with further variables.

    Raises:
        UsageError: a variable cannot be.
    """
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise UsageError(f"no variable of the environment can be called {name!r}")
    return {**(inherited_environment() if environment is None else environment), **variables}


def _was_started_with(name: str) -> bool:
    try:
        variables = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return True
    return any(variable.startswith(name.encode() + b"=") for variable in variables)
