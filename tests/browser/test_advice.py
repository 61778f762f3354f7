# SPDX-License-Identifier: Apache-2.0
"""What to change, on the page of a report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import paged
import sgxlens
from browser import Browser, Page
from hostile import HOSTILE_NAMES
from looking import OVERLAPS
from page_data import page_data
from sgxlens.advice import Advisory
from sgxlens.advice.advice import Verified
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.several import predict_on
from sgxlens.report.advice import json_text as advice_json
from sgxlens.report.html import write_html
from sgxlens.report.page import page_report
from sgxlens.units import format_seconds

READY = "#evidence"
#: Which changes can be read whole.
OPEN = "[...document.querySelectorAll('details.advice')].map(one => one.open)"


@dataclass(frozen=True)
class Advised:
    """A report with advice for the first of two platforms, and that advice as JSON."""

    path: Path
    found: dict[str, Any]


@pytest.fixture
def report(advised: Path, tmp_path: Path) -> Advised:
    recording = sgxlens.open(advised)
    platforms = ("xeon-gold-6326", "xeon-e-2288g")
    predictions, _ = predict_on(recording, platforms, epc=paged.SMALL_EPC)
    advisory = with_verified(sgxlens.advise(recording, platforms[0], epc=paged.SMALL_EPC))
    path = tmp_path / "advised.html"
    write_html(page_report(recording, predictions, advisories=[advisory, None]), path)
    return Advised(path, json.loads(advice_json(recording.metadata, advisory)))


@pytest.fixture
def page(browser: Browser, report: Advised) -> Iterator[Page]:
    page = browser.open(report.path, ready=READY)
    page.fill("#platform", "0")
    yield page
    assert page.problems == []
    page.close()


def test_advice_is_that_of_json_and_can_be_copied(page: Page, report: Advised) -> None:
    found = report.found
    shown, other = page_data(report.path.read_text())["advice"]
    facts = shown.pop("facts")
    assert shown == {name: found[name] for name in ("advice", "silent", "broken")}
    assert other is None
    gains = []
    for row in found["advice"]:
        verified = row["advice"]["verified"]
        for index, gain in enumerate(row["advice"]["gains"]):
            real = verified["gains"][index] if verified else None
            gains += [
                gain["saved"],
                *([real["saved"]] if real else []),
                gain["before"],
                gain["after"],
            ]
            gains += [real["after"]] if real else []
    assert page.do(
        "[...document.querySelectorAll('.gain [data-value]')].map(e => +e.dataset.value)"
    ) == [one["likely"] for one in gains]
    text = page.do("document.querySelector('#advice').textContent")
    for row in found["advice"]:
        advice = row["advice"]
        for said in (advice["finding"], *(step["snippet"] for step in advice["steps"])):
            assert re.sub(r"(?<=[0-9] )us\b", "\u00b5s", said) in text
    assert all(row["reason"] in text for row in found["silent"])
    assert facts[0]
    assert all(sentence in text for of_one in facts for _, sentence in of_one)
    assert HOSTILE_NAMES[0] in text
    assert page.do("document.querySelectorAll('main img, main b, main script').length") == 0
    snippet = "document.querySelector('.snippet code').textContent"
    page.click(".snippet button")
    assert page.do("getSelection().toString()").strip() == page.do(snippet).strip()
    page.do("document.querySelector('.first-change a').focus()")
    page.press("Enter", 13)
    assert page.do("location.hash") == "#advice-1"
    # Of the other platform nobody asked.
    page.fill("#platform", "1")
    assert page.do(snippet).startswith("sgxlens advise ")
    page.resize(390, 900)
    page.fill("#platform", "0")
    page.click("#advice-all")
    assert page.do("document.documentElement.scrollWidth") <= 390
    assert page.do(OVERLAPS) == []


def test_changes_are_folded_but_for_the_first(page: Page, report: Advised) -> None:
    many = len(report.found["advice"])
    assert many > 2
    assert page.do(OPEN) == [True] + [False] * (many - 1)
    summaries = page.do(
        "[...document.querySelectorAll('.advice > summary')].map(one => one.textContent)"
    )
    for row, said in zip(report.found["advice"], summaries, strict=True):
        advice = row["advice"]
        assert advice["title"] in said
        assert advice["state"] in said
        assert ("by hand" if advice["modification"] is None else "automatic") in said
        assert format_seconds(advice["gains"][0]["saved"]["likely"]) in said.replace("\u00a0", " ")
    for is_open, title in ((True, "Close all"), (False, "Open all")):
        page.click("#advice-all")
        assert page.do(OPEN) == [is_open] * many
        assert page.do("document.querySelector('#advice-all').textContent") == title
    # By keys, and what is opened one by one counts for the button, too.
    for place in range(1, many + 1):
        page.do(f"document.querySelector('#advice-{place} > summary').focus()")
        page.press(" ", 32)
    assert page.do(OPEN) == [True] * many
    assert page.do("document.querySelector('#advice-all').textContent") == "Close all"


def test_links_and_printers_open_changes(browser: Browser, page: Page, report: Advised) -> None:
    many = len(report.found["advice"])
    second = [True, True] + [False] * (many - 2)
    top = "document.querySelector('#advice-2').getBoundingClientRect().top"
    page.do("location.hash = '#advice-2'")
    page.settle()
    assert page.do(OPEN) == second
    assert 0 <= page.do(top) < 300
    page.do(
        f"window.addEventListener('beforeprint', () => {{ window.printed = {OPEN} }});"
        " document.querySelector('#advice-1 > summary').click()"
    )
    page.settle()
    page.ask("Page.printToPDF")
    assert page.do("window.printed") == [True] * many
    page.settle()
    assert page.do(OPEN) == [False, True] + [False] * (many - 2)
    page.click(".first-change a")
    assert page.do(OPEN) == second
    # The address leads there from the start, where the platform has advice.
    other = browser.open(report.path, ready=READY, fragment="#how-large")
    other.settle()
    assert abs(other.do("document.querySelector('#how-large').getBoundingClientRect().top")) < 300
    other.close()


def with_verified(advisory: Advisory) -> Advisory:
    """The advice, the first of it as if a new recording had been made."""
    first, *others = advisory.advice
    gains = first.advice.gains
    verified = Verified(
        gains=tuple(replace(gain, after=gain.after.scaled(0.5)) for gain in gains),
        inside=(True,) * len(gains),
        native_ratio=Range(0.9, 1.0, 1.1),
        native_spread=1.02,
        outputs=None,
        recording=f"verify/{HOSTILE_NAMES[2]}",
        was_there=True,
    )
    changed = replace(first.advice, state="verified", verified=verified)
    return replace(advisory, advice=(replace(first, advice=changed), *others))
