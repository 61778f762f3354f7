# SPDX-License-Identifier: Apache-2.0
"""What is found in a configuration file, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

#: ``error``: it does not start, or the program fails; ``warning``: it works otherwise than meant,
#: or is not secure; ``note``: it could be better.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Finding:
    """One thing to change.

    Attributes:
        severity: how bad it is.
        line: in the user's file, from 1; of what is missing, where it belongs.
        key: what it is about, as in ``sgx.enclave_size``; empty: the file.
        problem: what was found, in one sentence.
        consequence: what comes of it.
        remedy: what to do.
        snippet: what to write there, in the language of the file; empty: none.
    """

    severity: Severity
    line: int
    key: str
    problem: str
    consequence: str
    remedy: str
    snippet: str = ""
