# SPDX-License-Identifier: Apache-2.0
"""Streaming and splitting: what layers do that the EPC does not hold."""

from __future__ import annotations

from typing import Any

import pytest

import paged
from advised import SGX1, Make, asked, declined
from sgxlens.enclave.platform import load_platform
from sgxlens.recording.format import PAGE_BYTES


def of_type(kind: str, passes: int = 1) -> list[dict[str, Any]]:
    """The operators, all of type `kind`."""
    return [{**row, "type": kind} for row in paged.tables(passes=passes)["operators"]]


def test_weights_that_page_should_be_decrypted_as_they_are_used(make: Make) -> None:
    (advice,) = asked("streaming", make(), SGX1, epc=paged.SMALL_EPC)
    weights = paged.WEIGHT_PAGES * PAGE_BYTES
    assert advice.evidence[2].value.likely == pytest.approx(weights, rel=0.02)
    # 12.6 us a page against 0.16 + 0.08 ns a byte.
    saved = paged.WEIGHT_PAGES * (12_600 - PAGE_BYTES * 0.24) / 1e9
    (gain,) = advice.gains
    assert gain.saved.likely == pytest.approx(saved, rel=0.1)
    assert gain.saved.low < saved < gain.saved.high
    page, decrypt = (row.value.likely for row in advice.evidence[:2])
    assert page == pytest.approx(256 * 12.6e-6)
    assert decrypt == pytest.approx((1 << 20) * 0.16e-9)
    assert advice.modification is None


def test_where_nothing_pages_or_decrypting_is_as_slow_nothing_is_streamed(make: Make) -> None:
    path = make()
    assert "nothing to stream" in declined("streaming", path, SGX1, epc=paged.LARGE_EPC)
    place = load_platform(SGX1).overridden(epc_bytes=1400 << 10)
    aes = place.compute.aes_gcm_byte_ns
    assert aes is not None
    for constant, reason in (
        (aes.model_copy(update={"low": 3.0, "likely": 3.0, "high": 3.0}), "in place of paging"),
        (None, "does not say how fast AES-GCM is"),
    ):
        slow = place.compute.model_copy(update={"aes_gcm_byte_ns": constant})
        assert reason in declined("streaming", path, place.model_copy(update={"compute": slow}))


def test_tables_of_which_rows_are_looked_up_are_not_streamed(make: Make) -> None:
    assert "nothing to stream" in declined(
        "streaming", make(operators=of_type("Gather")), SGX1, epc=paged.SMALL_EPC
    )


def test_a_layer_that_goes_through_its_weights_again_should_be_split(make: Make) -> None:
    (advice,) = asked("splitting", make(passes=2), SGX1, epc=paged.SMALL_EPC)
    loads, pages = (row.value.likely for row in advice.evidence)
    assert pages == pytest.approx(paged.WEIGHT_PAGES, rel=0.02)
    assert loads > 1.7 * pages
    assert advice.gains[0].saved.likely == pytest.approx((loads - pages) * 12.6e-6, rel=0.01)
    assert "into 2 parts" in advice.title


def test_weights_that_are_used_once_are_no_better_off_in_parts(make: Make) -> None:
    once = declined("splitting", make(), SGX1, epc=paged.SMALL_EPC)
    assert "goes through them once, as its parts would" in once
    steps = declined(
        "splitting", make(passes=2, operators=of_type("LSTM", 2)), SGX1, epc=paged.SMALL_EPC
    )
    assert "recurrent" in steps
    assert "no inference loads" in declined("splitting", make(), SGX1, epc=paged.LARGE_EPC)
