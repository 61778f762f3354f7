# SPDX-License-Identifier: Apache-2.0
"""EDMM on a processor that cannot add pages to a running enclave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """EDMM on SGX1."""
    platform = subject.platform
    if platform is None or platform.generation != "sgx1" or not subject.is_dynamic:
        return
    key = subject.dynamic_key
    yield subject.found(
        "error",
        key,
        f"{key} is on, and {platform.title} is SGX1, which has no dynamic memory",
        "The enclave does not start there.",
        "Turn it off and give a size, or take a machine with SGX2 and Linux 6.0 or newer.",
        f"{key} = false" if subject.document.family == "gramine" else '"enable_edmm": false',
    )


CHECK = Check("dynamic_memory", "EDMM where there is none", ("gramine", "occlum"), find)
