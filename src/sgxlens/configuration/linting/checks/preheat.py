# SPDX-License-Identifier: Apache-2.0
"""Preheating: refused with EDMM, useless where the EPC is smaller than the enclave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

KEY = "sgx.preheat_enclave"


def find(subject: Subject) -> Iterator[Finding]:
    """``sgx.preheat_enclave`` where it cannot do any good."""
    if not subject.document.is_true(KEY):
        return
    if subject.is_dynamic:
        yield subject.found(
            "error",
            KEY,
            f"{KEY} together with sgx.edmm_enable",
            "Gramine does not start: with EDMM there are no pages at the start that could be read.",
            "Turn one of them off: preheating makes later times even, EDMM makes the start short.",
            f"{KEY} = false",
        )
        return
    size = subject.size_bytes("sgx.enclave_size")
    platform = subject.platform
    if size is None or platform is None or size <= platform.epc.usable_bytes.likely:
        return
    epc = int(platform.epc.usable_bytes.likely)
    yield subject.found(
        "warning",
        KEY,
        f"{format_count(size // PAGE_BYTES)} pages are read at the start; the EPC of"
        f" {platform.title} has room for {format_count(epc // PAGE_BYTES)} ({format_bytes(epc)})",
        "Reading the later ones evicts the earlier ones: the start takes longer, and what follows"
        " is no faster.",
        "Turn it off, or take an enclave that fits.",
        f"{KEY} = false",
    )


CHECK = Check("preheat", "preheating that is refused or useless", ("gramine",), find)
