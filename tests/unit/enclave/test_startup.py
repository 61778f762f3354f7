# SPDX-License-Identifier: Apache-2.0
"""What building an enclave costs."""

from __future__ import annotations

import pytest

from sgxlens.enclave.charges import Charge
from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime
from sgxlens.enclave.startup import startup_charges
from sgxlens.errors import UsageError

_MIB = 1 << 20
_PAGES = _MIB // 4096
_ADDED, _EVICTING = "pages added to the enclave", "pages added, evicting others"


def _by_what(charges: list[Charge]) -> dict[str, Range]:
    return {charge.what: charge.count for charge in charges}


def test_pages_evict_others_once_the_epc_is_full() -> None:
    platform = load_platform("xeon-e-2288g").overridden(epc_bytes=64 * _MIB)
    counts = _by_what(startup_charges(platform, load_runtime("gramine"), 256 * _MIB))
    assert counts[_ADDED] == Range.exact(64 * _PAGES)
    assert counts[_EVICTING] == Range.exact(192 * _PAGES)


def test_an_enclave_that_fits_evicts_nothing() -> None:
    platform = load_platform("xeon-e-2288g").overridden(epc_bytes=64 * _MIB)
    counts = _by_what(startup_charges(platform, load_runtime("gramine"), 64 * _MIB))
    assert counts[_ADDED] == Range.exact(64 * _PAGES)
    assert _EVICTING not in counts


def test_an_epc_of_uncertain_size_makes_a_range() -> None:
    platform = load_platform("xeon-e-2288g")
    usable = platform.epc.usable_bytes
    assert usable.low < usable.high
    counts = _by_what(startup_charges(platform, load_runtime("gramine"), 256 * _MIB))
    assert counts[_ADDED].low + counts[_EVICTING].high == 256 * _PAGES
    assert counts[_ADDED].high + counts[_EVICTING].low == 256 * _PAGES


@pytest.mark.parametrize("epc_mib", [64, 1024])
def test_preheating_loads_again_what_does_not_fit(epc_mib: int) -> None:
    platform = load_platform("xeon-gold-6326").overridden(epc_bytes=epc_mib * _MIB)
    runtime = load_runtime("gramine")
    heated = runtime.model_copy(update={"work": runtime.work.model_copy(update={"preheats": True})})
    counts = _by_what(startup_charges(platform, heated, 256 * _MIB))
    what = "loads of pages preheated" if epc_mib < 256 else "faults of pages preheated"
    assert counts[what] == Range.exact(256 * _PAGES)
    assert len([name for name in counts if name.endswith("preheated")]) == 1


def test_sgx1_adds_no_pages_to_a_running_enclave() -> None:
    platform = load_platform("xeon-e-2288g")
    with pytest.raises(UsageError, match="takes SGX2"):
        startup_charges(platform, load_runtime("gramine-edmm"), 256 * _MIB)


def test_an_enclave_has_a_page() -> None:
    with pytest.raises(UsageError, match="at least one page"):
        startup_charges(load_platform("xeon-e-2288g"), load_runtime("gramine"), 0)
