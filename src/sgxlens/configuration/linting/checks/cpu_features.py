# SPDX-License-Identifier: Apache-2.0
"""Instruction sets that the enclave does not get, or not surely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_TITLES = {"avx": "AVX", "avx512": "AVX-512", "amx": "AMX"}
#: Of ``tracer.isa``: what the recorded program was shown, and so may have used.
_WITH_AVX = ("avx", "avx2")


def find(subject: Subject) -> Iterator[Finding]:
    """Features that are off though used, or on and not there, or left to the host."""
    platform = subject.platform
    there = None if platform is None or not platform.cpu_features else platform.cpu_features
    for name, title in _TITLES.items():
        key = f"sgx.cpu_features.{name}"
        setting = subject.document.get(key, "unspecified")
        has_it = there is not None and name in there
        used = name == "avx" and _shown_avx(subject)
        where = platform.title if platform is not None else "the recording machine"
        if setting == "disabled" and (has_it or used):
            whose = "the recorded program was shown it" if used else f"{where} has it"
            yield subject.found(
                "error" if used else "warning",
                key,
                f"{title} is disabled, and {whose}",
                "Code that was compiled for it stops with SIGILL; libraries that look first take"
                " slower kernels.",
                "Leave it to the machine, or require it.",
                f'{key} = "required"',
            )
        elif setting == "required" and there is not None and name not in there:
            yield subject.found(
                "error",
                key,
                f"{title} is required, and {where} does not have it",
                "The enclave does not start there.",
                "Require it only where all machines have it.",
                f'{key} = "unspecified"',
            )
        elif setting == "unspecified" and has_it and name != "avx":
            yield subject.found(
                "note",
                key,
                f"{title} is not requested, and {where} has it",
                "The loader outside decides whether the enclave gets it: without it, libraries take"
                " slower kernels and round otherwise, and attestation does not tell.",
                "Require it if all your machines have it; disable it if the program does without:"
                " each exit then saves less state.",
                f'{key} = "required"',
            )


def _shown_avx(subject: Subject) -> bool:
    observed = subject.observed
    return observed is not None and observed.recording.metadata.tracer.isa in _WITH_AVX


CHECK = Check("cpu_features", "AVX, AVX-512 and AMX: off, or left to the host", ("gramine",), find)
