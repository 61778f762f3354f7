# SPDX-License-Identifier: Apache-2.0
"""Building an enclave: what is done before the program's first instruction.

What the program does until its first result (its libraries are hashed and mapped, the model is
loaded) is in its phases, and so is what the enclave adds to it; see
`sgxlens.enclave.runtime_work`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Range
from sgxlens.errors import UsageError
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime


def startup_charges(platform: Platform, runtime: Runtime, built_bytes: int) -> list[Charge]:
    """What it takes to build an enclave, and the runtime to start in it.

    Pages are added one by one; once the EPC is full, each evicts another. Gramine measures only
    what is not heap (gramineproject/gramine: pal/src/host/linux-sgx/host_main.c,
    initialize_enclave()): heap pages take EADD without EEXTEND. The platform's constants make no
    difference between the two.

    Args:
        platform: the platform.
        runtime: the runtime.
        built_bytes: pages that are added before the start, as `MemoryNeeds.built_bytes`.

    Raises:
        UsageError: there is no such size, or the platform cannot do what the runtime does.
    """
    if runtime.memory.commits != "at_build" and platform.generation == "sgx1":
        raise UsageError(
            f"{runtime.title} adds pages to a running enclave, which takes SGX2: {platform.title}"
            " has SGX1; choose another runtime or platform"
        )
    if built_bytes < PAGE_BYTES:
        raise UsageError(f"an enclave of {built_bytes} bytes: give at least one page of 4 KiB")
    page_count = -(-built_bytes // PAGE_BYTES)
    beyond = _beyond_epc(page_count, platform)
    within = Range(page_count - beyond.high, page_count - beyond.likely, page_count - beyond.low)
    build = platform.startup
    entry, transitions = runtime.entry, platform.transitions
    charges = [
        Charge("runtime", "pages added to the enclave", build.add_page_ns, within),
        Charge("runtime", "pages added, evicting others", build.add_page_evicting_ns, beyond),
        Charge(
            "transitions", "OCALLs of the runtime", transitions.ocall_ns, entry.start_ocalls.range
        ),
        Charge(
            *("transitions", "exceptions of the runtime", transitions.exception_ns),
            entry.start_exceptions.range,
        ),
    ]
    if runtime.work.preheats and runtime.memory.commits == "at_build":
        # Reading all of what the EPC cannot hold loads every page of it again.
        every = page_count if beyond.likely else 0
        loads = Range(page_count if beyond.low else 0, every, page_count if beyond.high else 0)
        faults = Range(page_count - loads.high, page_count - loads.likely, page_count - loads.low)
        swap_ns = platform.paging.page_swap(1)
        charges += [
            Charge("transitions", "faults of pages preheated", transitions.aex_ns, faults),
            Charge("paging", "loads of pages preheated", swap_ns, loads),
        ]
    return [charge for charge in charges if charge.count.high > 0]


def _beyond_epc(page_count: int, platform: Platform) -> Range:
    """How many of the pages of an enclave find the EPC full."""
    usable = platform.epc.usable_bytes
    beyond = [
        max(page_count - int(size) // PAGE_BYTES, 0)
        for size in (usable.high, usable.likely, usable.low)
    ]
    return Range(*beyond)
