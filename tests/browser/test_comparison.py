# SPDX-License-Identifier: Apache-2.0
"""The page that `sgxlens compare --html` writes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import attributed
import predictable
from browser import Browser, Page
from compared import model_target
from hostile import HOSTILE_NAMES
from looking import OVERLAPS, WIDTHS, printed, values
from page_data import page_data
from sgxlens.cli.main import main

MakeRecording = Callable[..., Path]
PLATFORMS = ("--platform", "xeon-e-2288g", "--platform", "xeon-gold-6326")


@pytest.fixture
def recordings(make_recording: MakeRecording) -> list[str]:
    """A recording; one with a batch of 4 and hostile names; and one that is slower."""
    changed = copy.deepcopy(predictable.tables())
    for index, operator in enumerate(changed["operators"]):
        operator["name"] = HOSTILE_NAMES[index % len(HOSTILE_NAMES)]
    changed["syscalls"] = predictable.syscalls(50)
    slower = predictable.tables()
    slower["native_times"] = [
        {**row, "seconds": 2 * row["seconds"]} for row in slower["native_times"]
    ]
    metadata = predictable.metadata()
    return [
        str(make_recording(tables, name, **metadata, target=model_target(batch)))
        for tables, name, batch in (
            (predictable.tables(), "before", 1),
            (changed, "'<b>after", 4),
            (slower, "slower", 1),
        )
    ]


@pytest.fixture
def path(recordings: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "comparison.html"
    assert main(["compare", *recordings, *PLATFORMS, "--html", str(path)]) == 0
    return path


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Page]:
    page = browser.open(path, ready="#evidence")
    page.settle()
    yield page
    assert page.problems == []
    assert page.requests == [path.resolve().as_uri()]
    page.close()


def ends(change: dict[str, Any]) -> list[float]:
    return [change["before"]["likely"], change["after"]["likely"], change["difference"]["likely"]]


def test_a_comparison_shows_the_numbers_of_json(
    page: Page, path: Path, recordings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = printed(capsys, "compare", *recordings, *PLATFORMS, "--json")
    data = page_data(path.read_text())
    for one in found["comparisons"]:
        for side in one["sides"]:
            side["prediction"]["phases"] = []
            side["prediction"]["steady"]["operators"] = []
            side["prediction"]["exits"]["rows"] = []
    assert data["compare"] == found
    for platform, comparison in enumerate(found["comparisons"]):
        page.fill("#platform", str(platform))
        for other, changes in enumerate(comparison["changes"]):
            page.fill("#other", str(other))
            times = changes["times"]
            causes = [
                row["added_seconds"]
                for row in times["causes"]
                if row["added_seconds"]["before"]["high"] or row["added_seconds"]["after"]["high"]
            ]
            assert values(page, "causes") == [
                ends(one) for one in (times["native_seconds"], *causes)
            ]
            assert values(page, "counts") == [ends(row["count"]) for row in times["counts"]]
            assert [row[:2] for row in values(page, "items")] == [
                ends(row["count"])[:2] for row in times["items"]
            ]
            assert (times["per_sample"] is not None) == (other == 0)
            if other == 0:
                assert values(page, "per-sample")[0] == ends(times["per_sample"]["native_seconds"])
            assert [row[2] for row in values(page, "platforms")] == [
                one["changes"][other]["times"]["sgx_seconds"]["difference"]["likely"]
                for one in found["comparisons"]
            ]
            said = page.do("document.querySelector('.verdict p').textContent")
            assert said.startswith(f"{changes['label']} takes ")
    # Of A and C the graphs correspond.
    rows = page.do(
        "[...document.querySelectorAll('#operators tbody tr')].map(row =>"
        " Number(row.querySelector('[data-column=range]').dataset.value))"
    )
    assert rows == [
        row["added_seconds"]["difference"]["likely"] for row in times["operators"] if row["type"]
    ]


def test_a_comparison_can_be_read_by_all(page: Page) -> None:
    cells = "document.querySelectorAll('#operators tbody [data-column=name]')"
    names = f"[...{cells}].map(cell => cell.innerText)"
    page.click("#recordings tbody tr:nth-child(3) input")
    page.click("#operators thead th:nth-child(1) button")
    upwards = page.do(names)
    assert {attributed.CONV, attributed.GEMM} <= set(upwards)
    page.click("#operators thead th:nth-child(1) button")
    assert page.do(names) == upwards[::-1]
    page.do("document.querySelector('#epc-curve svg').focus()")
    page.press("ArrowRight", 39)
    assert "B: " in page.do("document.querySelector('#epc-curve .readout').textContent")
    page.click("#recordings tbody tr:nth-child(2) input")
    assert "<b>after" in page.do("document.querySelector('h1').textContent")
    assert page.do("document.querySelectorAll('main img, main b, main script').length") == 0
    page.do("document.querySelectorAll('details').forEach(one => { one.open = true })")
    for width in WIDTHS:
        page.resize(width, 900)
        page.settle()
        assert page.do("document.documentElement.scrollWidth") <= width
        assert page.do(OVERLAPS) == []
    # What is wider than the page says so, and scrolls with keys.
    assert page.do("document.querySelector('.scroll-hint') !== null")
    assert page.do("document.querySelector('#causes').closest('.scroll').tabIndex") == 0
