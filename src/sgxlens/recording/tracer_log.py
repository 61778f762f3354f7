# SPDX-License-Identifier: Apache-2.0
"""What the tracer's own messages mean for the user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LOG_BYTES_MAX = 1 << 20
_UNHANDLED = re.compile(r"unhandled instruction bytes: ((?:0x[0-9A-F]+ ?)+)", re.IGNORECASE)
_OMITTED = re.compile(r"sgxlens: (a child process is not recorded: .*)")
_OWN = re.compile(r"(?:sgxlens|valgrind): +(.*)")
_OUT_OF_MEMORY = re.compile(r"out of memory", re.IGNORECASE)
_TOO_MANY_THREADS = re.compile(r"Max number of threads is too low")
_ASSERTION = re.compile(r"Assertion '.*' failed")


@dataclass(frozen=True)
class Explanation:
    """What the tracer's logs tell, each in one line or "".

    ``crash``: why the program got a signal; ``failure``: why the tracer ended it; ``omission``:
    what of it was not recorded.
    """

    crash: str = ""
    failure: str = ""
    omission: str = ""


def explain(folder: Path) -> Explanation:
    """Read the logs in a session's folder."""
    text = "".join(_read(path) for path in sorted(folder.glob("log.*")))
    unhandled = _UNHANDLED.search(text)
    omitted = _OMITTED.search(text)
    return Explanation(
        crash="" if unhandled is None else _of_instruction(unhandled.group(1).split()),
        failure=_failure(text),
        omission="" if omitted is None else omitted.group(1).strip(),
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LOG_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""


def _failure(text: str) -> str:
    if _OUT_OF_MEMORY.search(text):
        return (
            "out of memory: it needs about as much again as the program; give the machine more, or"
            " raise the limit (ulimit -v)"
        )
    if _TOO_MANY_THREADS.search(text):
        return "the program has more threads than the tracer can follow: give it fewer"
    for pattern in (_ASSERTION, _OWN):
        found = [match.group(match.lastindex or 0) for match in pattern.finditer(text)]
        told = [message for message in found if not _OMITTED.match(f"sgxlens: {message}")]
        if told:
            return told[0].strip()
    return ""


def _of_instruction(tokens: list[str]) -> str:
    """Name the instruction set of bytes that the tracer does not know."""
    data = bytes(int(token, 16) for token in tokens)
    shown = " ".join(f"{byte:02x}" for byte in data[:8])
    what = f"an instruction that the tracer does not know ({shown})"
    if data[:1] == b"\x62":
        what = f"an AVX-512 instruction ({shown}), which the tracer does not know"
    elif data[:1] in (b"\xc4", b"\xc5"):
        what = f"a vector instruction that the tracer does not know ({shown})"
    return (
        f"the program used {what}: use a build that chooses its instructions at run time, or one"
        " for AVX2 at most (no -march=native), and clear caches of compiled kernels"
    )
