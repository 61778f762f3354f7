# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import attributed
import predictable
from browser import Browser, Page
from looking import OVERLAPS, WIDTHS, printed, show_all, values
from page_data import page_data
from real_models import record
from recordings import PROGRAMS, compile_program, needs_tracer
from sgxlens.cli.main import main
from sgxlens.recording.reader import open_recording
from simulated import Extent, Program, Span

MakeRecording = Callable[..., Path]

READY = "#evidence"
#: Where screenshots are left for a person to look at; by default nowhere.
PICTURES = os.environ.get("SGXLENS_TEST_PICTURES")


@pytest.fixture(scope="session")
def written() -> Callable[[Path], Path]:
    """Writes the report of a recording, once for all tests, beside it."""

    @cache
    def written(recording: Path) -> Path:
        path = recording.with_suffix(".html")
        assert main(["report", str(recording), "-q", "-o", str(path)]) == 0
        return path

    return written


@pytest.fixture
def report(recording: Path, written: Callable[[Path], Path]) -> Path:
    return written(recording)


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """A report in the browser, which at the end must have had no problem and no request."""
    page = browser.open(report, ready=READY)
    page.settle()
    yield page
    assert page.problems == []
    assert page.requests == [report.resolve().as_uri()]
    page.close()


def test_numbers_are_those_of_json(
    page: Page, report: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show = printed(capsys, "show", str(recording), "--json")
    predict = printed(capsys, "predict", str(recording), "--json")
    show_all(page)
    data = page_data(report.read_text())
    # What the page does not show is left out of its data.
    for row in show["regions"]["rows"]:
        row["users"] = row["users"][:8]
    for granularity, flows in show["reuse_sources"]["flows"].items():
        show["reuse_sources"]["flows"][granularity] = flows[:100]
    assert data["show"] == show
    for one in predict["predictions"]:
        for phase in one["phases"]:
            phase["operators"] = []
    assert data["predict"] == predict
    for index, one in enumerate(predict["predictions"]):
        page.fill("#platform", str(index))
        steady = one["steady"]
        assert [row[0] for row in values(page, "causes")] == [
            row["added_seconds"]["likely"] for row in steady["causes"]
        ]
        assert values(page, "items") == [
            [item["count"]["likely"], item["added_seconds"]["likely"]] for item in steady["items"]
        ]
        assert values(page, "epc-points") == [
            [point["epc_bytes"], point["load_count"], point["added_seconds"]["likely"]]
            for point in one["epc"]["curve"]
        ]
        cells = page.do(
            "Object.fromEntries([...document.querySelectorAll('#operators tbody tr')].map(row =>"
            " [row.dataset.row, [...row.querySelectorAll('[data-column=added],"
            " [data-column=native], [data-column=footprint]')].map(cell =>"
            " Number(cell.dataset.value))]))"
        )
        entries = {row["index"]: row for row in show["operators"]["rows"]}
        assert cells == {
            str(row["index"]): [
                row["added_seconds"]["likely"],
                row["native_seconds"],
                entries[row["index"]]["use"]["page"]["footprint_bytes"],
            ]
            for row in steady["operators"]
            if row["index"] is not None
        }
    assert [row[:2] for row in values(page, "platforms")] == [
        [one["deployment"]["epc_bytes"]["likely"], one["steady"]["sgx_seconds"]["likely"]]
        for one in predict["predictions"]
    ]
    uses = [row["use"] for row in show["line_bytes"]["roles"]]
    assert uses
    assert values(page, "line-use") == [[use["line_count"], use["byte_count"]] for use in uses]
    assert [row[0] for row in values(page, "sources")] == [
        row["counts"]["line"]["access_count"]
        for row in show["reuse_sources"]["rows"]
        if any(count["access_count"] for count in row["counts"].values())
    ]


def test_operators_can_be_sorted_and_searched(page: Page) -> None:
    show_all(page)
    cells = "[...document.querySelectorAll('#operators tbody [data-column=%s]')]"
    names = f"{cells % 'name'}.map(cell => cell.dataset.value)"
    added = f"{cells % 'added'}.map(cell => +cell.dataset.value)"
    row = "[...document.querySelector('#operators tbody tr').cells]"
    place = page.do(f"{row}.findIndex(cell => cell.dataset.column === 'added')") + 1
    page.click("#operators thead th:nth-child(2) button")
    assert page.do("document.querySelector('th[aria-sort]').ariaSort") == "ascending"
    upwards = page.do(names)
    page.click("#operators thead th:nth-child(2) button")
    assert sorted(page.do(names)) == sorted(upwards)
    assert page.do(names)[0] == upwards[-1]
    assert len(set(upwards)) > 1
    for is_reverse in (True, False):
        page.click(f"#operators thead th:nth-child({place}) button")
        assert page.do(added) == sorted(page.do(added), reverse=is_reverse)
    page.fill("#operators-search", upwards[0])
    found = page.do(names)
    assert 0 < len(found) < len(upwards)
    assert all(upwards[0].lower() in name.lower() for name in found)


def test_platforms_can_be_switched(page: Page, report: Path) -> None:
    verdicts = page_data(report.read_text())["verdicts"]
    for index in (len(verdicts) - 1, 0):
        page.click(f"#platforms tbody tr:nth-child({index + 1}) input")
        said = page.do("document.querySelector('.verdict p').textContent")
        assert said == re.sub(r"(?<=\d )us\b", "\u00b5s", verdicts[index])
        assert page.do("document.querySelector('#platform').value") == str(index)


def test_picture_can_be_zoomed_and_read_with_keys(page: Page) -> None:
    shown = "document.querySelector('#timeline .tools p').textContent"
    picture = "document.querySelector('#timeline canvas').toDataURL()"
    whole = page.do(picture)
    page.click("#zoom-in")
    assert "of" in page.do(shown)
    assert page.do(picture) != whole
    page.click("#zoom-reset")
    assert page.do(picture) == whole
    page.do("document.querySelector('#timeline canvas').focus()")
    for _ in range(2):
        page.press("ArrowRight", 39)
    said = page.do("document.querySelector('.tooltip').innerText")
    assert "0x" in said
    assert page.do("document.querySelector('#timeline [role=status]').textContent") != ""


def test_curves_tell_their_points_to_keys(page: Page) -> None:
    page.do("document.querySelector('#epc-curve svg').focus()")
    page.press("ArrowRight", 39)
    assert "pages loaded" in page.do("document.querySelector('#epc-curve .readout').textContent")
    page.click("#regions input")
    page.do("document.querySelector('#misses-line svg').focus()")
    page.press("ArrowRight", 39)
    said = page.do("document.querySelector('#misses-line .readout').textContent")
    assert "of the accesses to the region" in said


def test_has_a_dark_mode(page: Page, browser: Browser, report: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.do(background)
    page.click("#theme")
    dark = page.do(background)
    assert dark != light
    other = browser.open(report, ready=READY, is_dark=True)
    assert other.do(background) == dark
    # Paper is light, whatever was chosen.
    other.ask("Emulation.setEmulatedMedia", media="print")
    other.settle()
    assert other.do(background) == light
    other.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps(width: int, page: Page, request: pytest.FixtureRequest) -> None:
    page.resize(width, 900)
    page.settle()
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        for theme in ("light", "dark"):
            name = request.node.callspec.params["recording"]
            page.screenshot(Path(PICTURES) / f"{name}-{width}-{theme}.png")
            page.click("#theme")
    page.do("document.querySelectorAll('details').forEach(one => { one.open = true })")
    page.settle()
    assert page.do("document.documentElement.scrollWidth") <= width
    assert page.do(OVERLAPS) == []


def test_it_is_small_and_opens_fast(page: Page, report: Path) -> None:
    assert report.stat().st_size < 2_000_000
    assert page.do("performance.now()") < 3000


def test_hostile_names_stay_text(browser: Browser, hostile: Path, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    assert main(["report", str(hostile), "-q", "-o", str(path)]) == 0
    page = browser.open(path, ready=READY, width=390)
    assert page.problems == []
    assert page.requests == [path.resolve().as_uri()]
    assert "taken" not in page.do("document.title").split("'")[0]
    assert page.do("document.querySelectorAll('main img, main b, main script').length") == 0
    assert page.do("document.documentElement.scrollWidth") <= 390
    text = page.do("document.querySelector('#operators').textContent")
    assert "</script><script>" in text
    page.close()


@pytest.mark.slow
def test_five_thousand_operators_open_fast(
    browser: Browser, make_recording: MakeRecording, tmp_path: Path
) -> None:
    count = 5000
    spans = [
        Span(4, number, tuple((1, number % 512 + 3 * step, "load") for step in range(3)))
        for number in range(count)
    ]
    program = Program(
        attributed.PHASES,
        spans,
        [f"/features/layer.{number}/attention/self/query/MatMul" for number in range(count)],
        (("heap", "unclassified"), ("constant", "weights")),
        [Extent(0, 0, 1024), Extent(1, 64, 300)],
    )
    recorded = program.record()
    tables = {name: recorded.table(name).to_pylist() for name in recorded.metadata.tables}
    tables["native_times"] = [
        predictable.native_row(run, name, 0.01) for run in range(3) for name in attributed.PHASES
    ]
    tables["mappings"] = [predictable.MAPPING]
    path = tmp_path / "many.html"
    recording = make_recording(tables, **predictable.metadata())
    assert main(["report", str(recording), "-q", "-o", str(path)]) == 0
    assert path.stat().st_size < 5_000_000
    page = browser.open(path, ready=READY)
    assert page.do("performance.now()") < 3000
    assert page.do("document.querySelector('.tools [role=status]').textContent").startswith("5,000")
    page.close()


@pytest.mark.slow
@needs_tracer
def test_ten_million_page_visits_open_fast(browser: Browser, tmp_path: Path) -> None:
    program = compile_program([PROGRAMS / "page_walks.c"], tmp_path / "page_walks")
    recording = record(tmp_path, "--", program)
    assert open_recording(recording).metadata.tables["page_visits"].row_count > 10_000_000
    path = tmp_path / "report.html"
    assert main(["report", str(recording), "-q", "-o", str(path)]) == 0
    assert path.stat().st_size < 5_000_000
    page = browser.open(path, ready=READY)
    assert page.do("performance.now()") < 3000
    assert page.problems == []
    page.close()
