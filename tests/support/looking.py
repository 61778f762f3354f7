# SPDX-License-Identifier: Apache-2.0
"""What tests of pages look at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sgxlens.cli.main import main

if TYPE_CHECKING:
    import pytest

    from browser import Page

WIDTHS = (1280, 390)
#: Texts that lie upon each other, but for what scrolls or is folded away.
OVERLAPS = """
(() => {
  const boxes = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest(".visually-hidden, title")) continue;
    if (!parent.checkVisibility()) continue;
    const scroll = parent.closest(".scroll")?.getBoundingClientRect();
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (!box.width || (scroll && box.right > scroll.right)) continue;
      boxes.push([box, node.data.trim().slice(0, 40)]);
    }
  }
  const found = [];
  boxes.forEach(([a, one], i) => boxes.slice(i + 1).forEach(([b, other]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 2 && down > 4) found.push(one + " / " + other);
  }));
  return found;
})()
"""
#: A long table shows its beginning: asks for more, and tells whether there was more.
SHOW_MORE = """
(() => {
  const buttons = [...document.querySelectorAll("button.more")];
  const more = buttons.find((one) => /\\b(all|more)\\b/.test(one.innerText));
  more?.click();
  return more !== undefined;
})()
"""


def show_all(page: Page) -> None:
    """Let long tables show all rows."""
    page.settle()
    while page.do(SHOW_MORE):
        page.settle()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What a command prints as JSON."""
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def values(page: Page, table: str) -> list[list[float]]:
    """The numbers behind the cells of a table, by row."""
    found: list[list[float]] = page.do(
        f"[...document.querySelectorAll('#{table} tbody tr')].map(row =>"
        " [...row.querySelectorAll('[data-value]')].map(cell => Number(cell.dataset.value)))"
    )
    return found
