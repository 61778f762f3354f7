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
