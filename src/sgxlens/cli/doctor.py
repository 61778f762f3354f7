# SPDX-License-Identifier: Apache-2.0
"""`sgxlens doctor`: what works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from sgxlens.errors import TracerError
from sgxlens.recording import environment

TRIAL_SECONDS = 60
TRIAL_OPTIONS = (
    *("--tool=sgxlens", "--sink=nowhere", "--quiet"),
    *("--command-line-only=yes", "--vgdb=no"),  # as in a session
)
OUTPUT_BYTES_WANTED = 100 << 20
FRAMEWORKS = (
    ("onnxruntime", "to record ONNX models: pip install 'sgxlens[onnx]'"),
    ("onnx", "to record ONNX models: pip install 'sgxlens[onnx]'"),
    ("torch", "to record PyTorch programs: pip install 'sgxlens[torch]'"),
    ("scikit-learn", "to record scikit-learn programs: pip install scikit-learn"),
)

Status = Literal["ok", "note", "problem"]
_COLOURS: dict[Status, str] = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True)
class Finding:
    """What one check found. A `problem` keeps recording from working, a `note` does not."""

    check: str
    status: Status
    text: str


def check_platform() -> Finding:
    """The tracer exists for one platform."""
    found = f"{platform.machine()} {platform.system()} {platform.release()}"
    if environment.is_supported_platform():
        return Finding("platform", "ok", found)
    return Finding("platform", "problem", f"{found}; recording needs x86-64 Linux")


def check_native_core() -> Finding:
    """The compiled module can be loaded."""
    try:
        importlib.import_module("sgxlens._native")
    except ImportError as error:
        return Finding("native core", "problem", f"{error}; install sgxlens again")
    return Finding("native core", "ok", "loaded")


def check_tracer() -> Finding:
    """The tracer is there and can run a program."""
    try:
        folder = environment.tracer_folder()
        version = environment.valgrind_version()
        with tempfile.TemporaryDirectory(prefix="sgxlens-") as session:
            failure = _try_tracer(environment.tracer_command(Path(session)))
    except TracerError as error:
        return Finding("tracer", "problem", error.message)
    if failure is not None:
        return Finding("tracer", "problem", f"{folder}/launcher does not run: {failure}")
    return Finding("tracer", "ok", f"runs programs; linked with Valgrind {version}")


def _try_tracer(command: list[str]) -> str | None:
    """Traces `true`; returns why that failed, or nothing."""
    true = shutil.which("true") or "/bin/true"
    try:
        done = subprocess.run(
            [*command, *TRIAL_OPTIONS, true],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except PermissionError:
        return "it may not be executed; is its file system mounted noexec?"
    except OSError as error:
        return f"{error.strerror}"
    except subprocess.TimeoutExpired:
        return f"`true` did not end within {TRIAL_SECONDS} seconds"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").split("\n")
    lines = [line.strip() for line in said if line.strip()]
    what = lines[0] if lines else "it said nothing"
    return (
        f"exit status {done.returncode}: {what} (too little memory, or a limit on it: `ulimit -v`?)"
    )


def check_shared_memory() -> Finding:
    """The stream between tracer and recorder goes through memory."""
    root = environment.session_root()
    free = shutil.disk_usage(root).free
    text = f"{root}, {_size(free)} free"
    if free < environment.SHARED_MEMORY_BYTES_WANTED:
        return Finding(
            "shared memory", "problem", f"{text}; free some, or set TMPDIR to another folder"
        )
    if root == environment.SHARED_MEMORY:
        return Finding("shared memory", "ok", text)
    return Finding(
        "shared memory",
        "note",
        f"{text}; used because {environment.SHARED_MEMORY} is missing, read-only or nearly full"
        " (Docker: --shm-size=1g)",
    )


def check_processor() -> Finding:
    """What the tracer can show to programs depends on the processor."""
    flags = environment.cpu_fields().get("flags", "").split()
    present = [flag for flag in ("avx", "avx2", "fma") if flag in flags]
    name = environment.host_info().cpu
    if "avx" not in present:
        return Finding("processor", "note", f"{name}, without AVX; record with --isa sse")
    missing = [flag for flag in ("avx2", "fma") if flag not in present]
    without = f", without {' and '.join(missing)}: --isa avx2 does not work" if missing else ""
    return Finding("processor", "ok", f"{name}: {', '.join(present)}{without}")


def check_frameworks() -> Iterator[Finding]:
    """Frameworks are optional: only what is recorded must be there."""
    for name, remedy in FRAMEWORKS:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "note", f"not installed; {remedy}")


def check_output_folder() -> Finding:
    """Recordings are written to the current folder if nothing else is said."""
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free
    text = f"{folder}, {_size(free)} free"
    if not os.access(folder, os.W_OK):
        return Finding("output", "note", f"{text}, not writable; name a folder with --output")
    if free < OUTPUT_BYTES_WANTED:
        return Finding("output", "note", f"{text}; name a folder with more space with --output")
    return Finding("output", "ok", text)


def _size(byte_count: int) -> str:
    mebibytes = byte_count / (1 << 20)
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_platform,
    check_native_core,
    check_tracer,
    check_shared_memory,
    check_processor,
    check_output_folder,
)


@click.command("doctor")
def command() -> int:
    """Says what works on this machine and what does not, with the remedy.

    Exit status 0 if programs can be recorded, else 1.
    """
    findings = [check() for check in CHECKS]
    findings += check_frameworks()
    for finding in findings:
        status = click.style(f"{finding.status:<8}", fg=_COLOURS[finding.status])
        click.echo(f"{status} {finding.check:<14} {finding.text}")
    problems = sum(finding.status == "problem" for finding in findings)
    if problems:
        click.echo(
            f"Recording does not work here: {problems} problem{'s' if problems > 1 else ''}."
        )
        return 1
    click.echo("Recording works here.")
    return 0
