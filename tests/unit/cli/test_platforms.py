# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sgxlens.cli.main import main
from sgxlens.enclave.data_files import constants
from sgxlens.enclave.platform import Platform, load_platform, platform_names
from sgxlens.report.terminal.platforms import print_platform


def test_all_platforms_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["platforms"]) == 0
    out = capsys.readouterr().out
    assert "xeon-e-2288g    SGX1  92 MiB  no          16 MiB  Linux" in out
    for name in platform_names():
        assert f"\n{name} " in out
        assert load_platform(name).title in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", platform_names())
def test_each_constant_is_shown_with_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["platforms", name]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    words = " ".join(out.split())
    for constant in constants(load_platform(name)):
        assert f" {constant.name.removeprefix('platform.')} " in words
        # Where a long word is broken, the rest is on the next line.
        assert constant.source.replace(" ", "") in words.replace(" ", "")


def test_the_unit_is_that_of_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["platforms", "xeon-e-2288g"]) == 0
    out = capsys.readouterr().out
    units = {line.split()[0]: line.split()[-2] for line in out.splitlines() if "  [" in line}
    assert units["transitions.ocall_ns"] == units["paging.page_swap_ns.16"] == "ns"
    assert units["transitions.timer_hz"] == "Hz"
    assert units["compute.slowdown"] == "ns/ns"
    assert units["epc.usable_bytes"] == "MiB"


def test_json_is_what_the_file_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["platforms", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["schema_version"]) == ("sgxlens-platforms", 1)
    assert [p["name"] for p in report["platforms"]] == list(platform_names())
    swaps = report["platforms"][1]["paging"]["page_swap_ns"]
    assert list(swaps) == ["1", "2", "4", "8", "16"]
    assert set(swaps["1"]) == {"low", "likely", "high", "source", "rule", "calibrated_on"}


def test_json_of_one_is_a_platform_file_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["platforms", "sgx1-client", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["platforms"]
    loaded = load_platform("sgx1-client")
    again = Platform.model_validate(found)
    assert again.model_dump() == loaded.model_dump()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_unknown_platform_is_one_line(
    capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main(["platforms", "pdp-11", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sgxlens: error: no platform is called 'pdp-11': there are ")
    assert error.count("\n") == 1


def test_a_file_of_ones_own_is_shown_and_harmless(tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "src/sgxlens/enclave/platforms/sgx1-client.toml"
    path = tmp_path / "mine.toml"
    path.write_text(
        source.read_text().replace("a Xeon E-2288G", "a \\u001b[31m Xeon", 1), encoding="utf-8"
    )
    output = io.StringIO()
    print_platform(load_platform(path), output)
    assert "\x1b" not in output.getvalue()
    assert "x1b[31m" in output.getvalue()
