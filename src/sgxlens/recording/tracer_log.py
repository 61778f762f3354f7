# SPDX-License-Identifier: Apache-2.0
"""What the tracer's own messages mean for the user."""

from __future__ import annotations

import re
from pathlib import Path

_UNHANDLED = re.compile(r"unhandled instruction bytes: ((?:0x[0-9A-F]+ ?)+)", re.IGNORECASE)
_LINE = re.compile(r"^(?:==|--|\*\*)\d+(?:==|--|\*\*)?[:\d]*\s*(.*)$")
_TELLING = ("sgxlens:", "valgrind:", "out of memory", "Assertion", "FATAL", "wrong ELF")


def explain(folder: Path) -> str:
    """Return one line on why the tracer ended a program, or "" where it has nothing to say."""
    for path in sorted(folder.glob("log.*")):
        text = path.read_text(errors="replace")
        unhandled = _UNHANDLED.search(text)
        if unhandled is not None:
            return _of_instruction(unhandled.group(1).split())
        for line in text.splitlines():
            matched = _LINE.match(line)
            message = matched.group(1) if matched is not None else line
            if any(word in message for word in _TELLING):
                return message.strip()
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
        f"the program used {what}: use a build that chooses its instructions at run time, or one "
        "for AVX2 at most (no -march=native), and clear caches of compiled kernels"
    )
