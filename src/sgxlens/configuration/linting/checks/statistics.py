# SPDX-License-Identifier: Apache-2.0
"""Statistics and profiles of an enclave that is not for debugging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_KEYS = ("sgx.enable_stats", "sgx.profile.enable", "sgx.vtune_profile")


def find(subject: Subject) -> Iterator[Finding]:
    """What works with ``sgx.debug`` only."""
    document = subject.document
    is_debug = document.is_true("sgx.debug") or isinstance(document.get("sgx.debug"), str)
    for key in _KEYS:
        value = document.get(key)
        if value in (None, False, "none") or is_debug:
            continue
        yield subject.found(
            "error",
            key,
            f"{key} is on, and sgx.debug is not",
            "Gramine refuses to start: it would tell the host what an enclave for production does.",
            "Turn it off, or make it an enclave for debugging while you measure.",
            "sgx.debug = true",
        )
    stack, mode = "sgx.profile.with_stack", "sgx.profile.mode"
    if document.is_true(stack) and document.get(mode) == "ocall_outer":
        yield subject.found(
            "error",
            stack,
            f'{stack} together with {mode} = "ocall_outer"',
            "Gramine refuses it: outside, there is no stack of the enclave.",
            'Take mode "ocall_inner", or no stacks.',
        )


CHECK = Check("statistics", "statistics or a profile without debugging", ("gramine",), find)
