# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from sgxlens.text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain näme 名", "plain näme 名"),
        ("a\nb\t c", "a b c"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x07\x00\x7f\x9b", r"\x07\x00\x7f\x9b"),
        ("abc\u202etxt.exe", r"abc\u202etxt.exe"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\udcff", r"\udcff"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("", ""),
    ],
)
def test_nothing_that_a_terminal_obeys_remains(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_long_text_loses_its_middle() -> None:
    assert one_line("/usr/lib/libexample.so", 11) == "/usr/…le.so"
    assert len(one_line("x" * 1000, 30)) == 30
    assert one_line("abcdef", 3) == "abc"
    assert one_line("abcdef", 6) == "abcdef"
