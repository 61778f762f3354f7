# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from sgxlens.report.terminal.layout import fitted_table, share


def lines(width: int, *rows: list[str], whole: tuple[int, ...] = ()) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    console.print(fitted_table(["name", "type", "n"], rows, width, (0, 1), whole))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_table_that_fits_is_not_shortened() -> None:
    assert lines(30, ["abc", "Conv", "12"], ["defghi", "X", "3"]) == [
        "name    type   n",
        "────────────────",
        "abc     Conv  12",
        "defghi  X      3",
    ]


def test_the_widest_name_is_shortened_first() -> None:
    found = lines(26, ["/features/0/squeeze/Conv", "MaxPool", "7,654"])
    assert cell_len(found[2]) <= 26
    assert found[2].startswith("/")
    assert "MaxPool" in found[2]
    assert "…" in found[2]
    assert found[2].endswith("7,654")


def test_what_can_be_spared_goes_before_names_are_hard_to_read() -> None:
    name = "/features/0/squeeze"
    headings, rows = ["name", "a", "b"], [[name, "1,234", "5,678"]]
    expected = {40: [name, "1,234", "5,678"], 30: [name, "5,678"], 22: [name]}
    for width, cells in expected.items():
        stream = io.StringIO()
        table = fitted_table(headings, rows, width, (0,), spare=(1, 2))
        Console(file=stream, width=width).print(table)
        assert stream.getvalue().splitlines()[-1].split() == cells


def test_an_explanation_is_continued_below_and_not_shortened() -> None:
    why = "the host is asked, for the first use and each time afterwards"
    stream = io.StringIO()
    table = fitted_table(["what", "n", "why"], [["read", "1", why]], 30, (0, 2), folded=2)
    Console(file=stream, width=30).print(table)
    body = stream.getvalue().splitlines()[2:]
    assert all(cell_len(line) <= 30 for line in body)
    assert " ".join(" ".join(body).split()) == f"read 1 {why}"


@pytest.mark.parametrize("width", [24, 30, 40, 70])
def test_wide_and_hostile_characters_are_measured(width: int) -> None:
    found = lines(width, ["名前" * 40, "\x1b[31m" * 3, "1"], ["a\nb", "", "22"])
    assert all(cell_len(line) <= width for line in found)
    assert "\x1b" not in "".join(found)
    assert found[3].startswith("a b")


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "-"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (123, 100_000, "0.12 %"),
        (1, 100_000, "<0.01 %"),
        (99_999, 100_000, ">99.9 %"),
    ],
)
def test_shares_are_short_and_never_none_or_all_unless_they_are(
    part: int, whole: int, text: str
) -> None:
    assert share(part, whole) == text
