# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from sgxlens.enclave.data_files import constants
from sgxlens.enclave.platform import ByThreads, load_platform, platform_names
from sgxlens.errors import UsageError


@pytest.mark.parametrize("name", platform_names())
def test_every_platform_of_the_package_is_whole(name: str) -> None:
    platform = load_platform(name)
    assert platform.name == name
    found = constants(platform)
    assert len({constant.name for constant in found}) == len(found) >= 22
    assert all(constant.name.startswith("platform.") for constant in found)
    assert platform.transitions.ocall_ns.name == "platform.transitions.ocall_ns"
    assert platform.paging.page_swap_ns.at(1).name == "platform.paging.page_swap_ns.1"


def test_the_platforms_asked_for_are_there() -> None:
    assert platform_names() == ("ice-lake-cloud", "sgx1-client", "xeon-e-2288g", "xeon-gold-6326")


def _table(**values: float) -> ByThreads:
    return ByThreads.model_validate(
        {
            key[1:]: {"low": value, "likely": 2 * value, "high": 4 * value, "source": key}
            for key, value in values.items()
        }
    )


def test_between_two_numbers_of_threads_a_constant_is_linear() -> None:
    found = _table(t2=10, t4=20, t8=100).at(6)
    assert (found.low, found.likely, found.high) == (60, 120, 240)
    assert found.source == "t4; t8"
    assert found.rule == "linear between 4 and 8 threads"


@pytest.mark.parametrize("threads", [1, 9])
def test_beyond_the_table_a_constant_is_refused(threads: int) -> None:
    with pytest.raises(UsageError, match=f"from 2 to 8 threads, not for {threads}"):
        _table(t2=10, t8=100).at(threads)


def test_threads_of_replicas_page_together() -> None:
    paging = load_platform("xeon-e-2288g").paging
    assert paging.page_swap(2, 4) is paging.page_swap_ns.at(8)
    with pytest.raises(UsageError, match=r"5 replicas with 4 threads each: .* 1 to 16 threads"):
        paging.page_swap(4, 5)


@pytest.mark.parametrize("key", ["0", "-1", "01", "1.5", "two", "", "9" * 30])
def test_threads_are_counted_in_one_spelling(key: str) -> None:
    with pytest.raises(ValueError, match=r"whole number|too large"):
        ByThreads.model_validate({key: {"low": 1, "likely": 1, "high": 1, "source": "x"}})


def test_overrides_replace_what_was_assumed() -> None:
    platform = load_platform("xeon-gold-6326")
    changed = platform.overridden(epc_bytes=64 << 20, llc_bytes=8 << 20)
    assert changed.epc.usable_bytes.likely == changed.epc.usable_bytes.high == 64 << 20
    assert changed.epc.usable_bytes.name == "platform.epc.usable_bytes"
    assert changed.cache.llc_bytes.low == 8 << 20
    assert changed.transitions == platform.transitions
    assert platform.overridden() == platform


def test_an_epc_that_cannot_be_set_is_noted() -> None:
    platform = load_platform("xeon-e-2288g")
    (note,) = platform.overridden(epc_bytes=64 << 20).notes
    assert note == (
        "an EPC of 64 MiB was asked for: Intel Xeon E-2288G has 92 MiB, which cannot be set"
    )
    settable = load_platform("ice-lake-cloud")
    assert settable.overridden(epc_bytes=1 << 30).notes == settable.notes


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epc_bytes": 0}, "EPC: an EPC holds at least one page"),
        ({"epc_bytes": -1}, "EPC: an EPC holds at least one page"),
        ({"epc_bytes": 1 << 30}, "EPC: 1 GiB are more than any SGX1 processor has"),
        (
            {"llc_bytes": 1023},
            "LLC: 1,023 B are too little: a cache with 16 ways has at least one set of 16 lines",
        ),
        ({"llc_bytes": 1 << 40}, "LLC: no processor has a last-level cache of 1 TiB"),
    ],
)
def test_impossible_overrides_are_refused(overrides: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_platform("xeon-e-2288g").overridden(**overrides)


def _text() -> str:
    folder = Path(__file__).parents[3] / "src" / "sgxlens" / "enclave" / "platforms"
    return (folder / "xeon-e-2288g.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "', 'nom = "', "name: this field is missing"),
        ("ocall_ns]\nlow = 1980", 'ocall_ns]\nlow = "fast"', "transitions.ocall_ns.low: 'fast' is"),
        ("ocall_ns]\nlow = 1980", "ocall_ns]\nlow = 9e9", "transitions.ocall_ns: low, likely and"),
        ("ocall_ns]\nlow = 1980", "ocall_ns]\nlow = -1", "transitions.ocall_ns.low: Input should"),
        ("ocall_ns]\nlow = 1980", "ocall_ns]\nlow = inf", "transitions.ocall_ns.low: Input should"),
        ("ocall_ns]\nlow =", "ocall_ns]\nlo =", "transitions.ocall_ns.low: this field is missing"),
        ("ocall_ns]\n", "ocall_ns]\nmean = 1\n", "transitions.ocall_ns.mean: there is no such"),
        ("ocall_ns]\n", 'ocall_ns]\nname = "x"\n', "transitions.ocall_ns.name: there is no such"),
        ('"sgx1"', '"sgx3"', "generation: Input should be 'sgx1' or 'sgx2'"),
        (
            "is_settable = false",
            'is_settable = "no"',
            "epc.is_settable: Input should be a valid bool",
        ),
        ("llc_ways = 16", "llc_ways = 0", "cache.llc_ways: Input should be greater"),
        ("llc_ways = 16", "llc_ways = 1.5", "cache.llc_ways: Input should be a valid integer"),
        ("page_swap_ns.2]", "page_swap_ns.x]", "paging.page_swap_ns: 'x' is not a whole number"),
        ("[epc]\n", "[epc]\n[epc]\n", "not TOML: Cannot declare"),
        ("likely = 10900", "likely = " + "9" * 5000, "not TOML: "),
    ],
)
def test_an_error_names_file_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = _text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_platform(path)
    assert caught.value.message.startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)
