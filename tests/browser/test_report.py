# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from browser import Browser
from sgxlens.cli.main import main


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def test_opens_without_an_error_or_a_request(browser: Browser, report: Path) -> None:
    page = browser.open(report)
    assert page.do("document.querySelectorAll('main section').length") > 1
    assert page.problems == []
    assert page.requests == [report.resolve().as_uri()]
    page.close()


def test_numbers_are_those_of_json(
    browser: Browser, report: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show = printed(capsys, "show", str(recording), "--json")
    predict = printed(capsys, "predict", str(recording), "--json")
    page = browser.open(report)
    data = page.do("JSON.parse(document.getElementById('data').textContent)")
    assert data["show"] == show
    assert data["predict"] == predict
    for index, one in enumerate(predict["predictions"]):
        page.fill("#platform", str(index))
        cells = page.do(
            "[...document.querySelectorAll('#causes [data-row]')].map(row => [row.dataset.row,"
            " Number(row.querySelector('[data-value]').dataset.value)])"
        )
        assert cells == [
            [row["cause"], row["added_seconds"]["likely"]] for row in one["steady"]["causes"]
        ]
        added = page.do(
            "Object.fromEntries([...document.querySelectorAll('#operators [data-row]')].map(row =>"
            " [row.dataset.row, Number(row.querySelector('[data-column=added]').dataset.value)]))"
        )
        assert added == {
            str(row["index"]): row["added_seconds"]["likely"]
            for row in one["steady"]["operators"]
            if row["index"] is not None
        }
    page.close()


def test_operators_can_be_sorted_and_searched(browser: Browser, report: Path) -> None:
    page = browser.open(report)
    names = "[...document.querySelectorAll('#operators [data-column=name]')].map(e => e.innerText)"
    page.click("#operators thead th:nth-child(2) button")
    assert (
        page.do("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"
    )
    upwards = page.do(names)
    page.click("#operators thead th:nth-child(2) button")
    assert page.do(names) == upwards[::-1]
    assert len(set(upwards)) > 1
    page.fill("#operators-search", upwards[0])
    assert page.do(names) == upwards[:1]
    page.close()


def test_has_a_dark_mode(browser: Browser, report: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    page = browser.open(report)
    light = page.do(background)
    page.click("#theme")
    dark = page.do(background)
    assert dark != light
    page.close()
    page = browser.open(report, is_dark=True)
    assert page.do(background) == dark
    page.close()
