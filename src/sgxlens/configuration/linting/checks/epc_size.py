# SPDX-License-Identifier: Apache-2.0
"""Memory above the machine's EPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.checks import occlum_sizes
from sgxlens.configuration.linting.registry import Check
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.units import format_bytes, format_count, format_seconds_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """An enclave, or an inference, that takes more pages than the EPC of the platform has."""
    platform = subject.platform
    if platform is None:
        return
    is_gramine = subject.document.family == "gramine"
    key = "sgx.enclave_size" if is_gramine else occlum_sizes.user_space_key(subject)
    size = subject.size_bytes(key) if is_gramine else occlum_sizes.size_bytes(subject, key)
    epc = int(platform.epc.usable_bytes.likely)
    machine = f"the EPC of {platform.title} has {format_bytes(epc)}"
    touched = None if subject.observed is None else subject.observed.needs.inference_bytes
    if touched is not None and touched > epc:
        pages = (touched - epc) // PAGE_BYTES
        swap = platform.paging.page_swap_ns.at(1).range.scaled(pages * 1e-9)
        yield subject.found(
            "warning",
            key,
            f"an inference of the recorded program uses {format_bytes(touched)}; {machine}",
            f"{format_count(pages)} pages and more are swapped in each inference: at least"
            f" {format_seconds_range(swap.low, swap.high)} with one thread.",
            "Use less memory at a time, or a machine with a larger EPC: `sgxlens advise` says what"
            " that gains.",
        )
    elif size is not None and size > epc and not subject.is_dynamic:
        known = "" if touched is None else " An inference alone would fit."
        yield subject.found(
            "note" if touched is not None else "warning",
            key,
            f"all {format_bytes(size)} of the enclave are added before it starts; {machine}",
            f"{format_count((size - epc) // PAGE_BYTES)} pages are evicted as others are added,"
            f" and come back when they are used.{known}",
            "Give no more than is needed"
            + (", or add pages as they are used (EDMM)." if platform.generation == "sgx2" else "."),
        )


CHECK = Check("epc_size", "memory above the EPC of the machine", ("gramine", "occlum"), find)
