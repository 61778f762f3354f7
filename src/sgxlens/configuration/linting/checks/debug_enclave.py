# SPDX-License-Identifier: Apache-2.0
"""An enclave that the host can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """Debugging that is on."""
    is_gramine = subject.document.family == "gramine"
    key = "sgx.debug" if is_gramine else "metadata.debuggable"
    if subject.document.is_true(key):
        yield subject.found(
            "warning",
            key,
            f"{key} is true",
            "The host can read and change all memory of the enclave; nothing in it is secret.",
            "Use it to measure and debug, never in production.",
            f"{key} = false" if is_gramine else '"debuggable": false',
        )


CHECK = Check("debug_enclave", "an enclave that the host can read", ("gramine", "occlum"), find)
