# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import predictable
from page_data import page_data
from sgxlens.cli.main import main

MakeRecording = Callable[..., Path]
HOSTILE = "</script><!-- <script>alert(1)</script> \u202e &amp; \"'"


def page_of(path: Path, tmp_path: Path) -> str:
    output = tmp_path / "page.html"
    assert main(["report", str(path), "-q", "-o", str(output), "--platform", "sgx1-client"]) == 0
    return output.read_text(encoding="utf-8")


def hostile_recording(make_recording: MakeRecording) -> Path:
    tables = predictable.tables()
    for operator in tables["operators"]:
        operator["name"] = HOSTILE + "x" * 10_000
    target = {"kind": "onnx", "model": f"/models/{HOSTILE.replace('/', '')}"}
    return make_recording(
        tables, **{**predictable.metadata(), "target": target, "command": [HOSTILE, "\x07"]}
    )


@pytest.fixture
def path(make_recording: MakeRecording) -> Path:
    return make_recording(predictable.tables(), **predictable.metadata())


def test_advice_is_of_the_slowest_platform_unless_all_or_none_is_asked_for(
    path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "page.html"
    arguments = ["report", str(path), "-q", "-o", str(output)]
    arguments += ["--platform", "sgx1-client", "--platform", "xeon-gold-6326"]
    for option, places in ((), None), (("--advice", "all"), {0, 1}), (("--advice", "none"), set()):
        assert main([*arguments, *option]) == 0
        data = page_data(output.read_text(encoding="utf-8"))
        found = {place for place, part in enumerate(data["advice"]) if part is not None}
        assert found == ({data["first"]} if places is None else places)


def test_policy_allows_nothing_but_its_own_script_and_style(path: Path, tmp_path: Path) -> None:
    page = page_of(path, tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_says_the_verdict_without_javascript(path: Path, tmp_path: Path) -> None:
    page = page_of(path, tmp_path)
    plain = page.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "times as long" in plain
    assert page_data(page)["verdicts"][0] in plain.replace("&#x27;", "'")


def test_curves_of_regions_are_those_of_their_accesses(path: Path, tmp_path: Path) -> None:
    data = page_data(page_of(path, tmp_path))
    for granularity, curves in data["curves"].items():
        regions = {
            "" if row["region"] is None else str(row["region"]): row["use"][granularity]
            for row in data["show"]["regions"]["rows"]
        }
        assert {one["name"]: one["access_count"] for one in curves["by_region"]} == {
            name: use["access_count"] for name, use in regions.items() if use["access_count"]
        }
        for group in ("by_region", "by_role", "by_source"):
            misses = [one["miss_counts"] for one in curves[group]]
            assert [sum(counts) for counts in zip(*misses, strict=True)] == (
                curves["all"]["miss_counts"]
            )


def test_hostile_names_stay_text(make_recording: MakeRecording, tmp_path: Path) -> None:
    page = page_of(hostile_recording(make_recording), tmp_path)
    data = page_data(page)
    assert data["show"]["operators"]["rows"][0]["name"] == HOSTILE + "x" * 10_000
    # The page's own tags, and none of the names.
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert page.count("<!--") == 1
    assert "alert(1)<" not in page


def test_replaces_a_report_but_no_other_file(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page_of(path, tmp_path)
    page_of(path, tmp_path)
    other = tmp_path / "notes.html"
    other.write_text("mine")
    assert main(["report", str(path), "-o", str(other)]) == 2
    assert "--force" in capsys.readouterr().err
    assert other.read_text() == "mine"
    arguments = ["report", str(path), "-q", "-o", str(other), "--platform", "sgx1-client"]
    assert main([*arguments, "--force"]) == 0
    assert other.read_text().startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("output", ["", "missing/report.html"])
def test_refuses_an_output_that_cannot_be(
    output: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(path), "-o", str(tmp_path / output)]) == 2
    assert capsys.readouterr().err.startswith("sgxlens: error: cannot write ")


def test_leaves_nothing_when_it_cannot_be_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", fail)
    output = tmp_path / "new" / "page.html"
    output.parent.mkdir()
    arguments = ["report", str(path), "-o", str(output), "--platform", "sgx1-client"]
    assert main(arguments) == 130
    assert os.listdir(output.parent) == []


def test_reports_without_native_times_and_says_why_nothing_is_predicted(
    make_recording: MakeRecording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = predictable.tables()
    del tables["native_times"]
    metadata = {**predictable.metadata(), "native": None}
    page = page_of(make_recording(tables, **metadata), tmp_path)
    assert "no native times" in capsys.readouterr().err
    data = page_data(page)
    assert data["predict"] is None
    assert "no native times" in data["no_prediction"]
    assert data["show"]["operators"]["rows"]
