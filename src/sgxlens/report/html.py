# SPDX-License-Identifier: Apache-2.0
"""Renders a report as one HTML file that needs nothing else: no network, no server.

The page's script and style are built from ``web/`` and lie in this package. Their hashes stand in
the page's Content-Security-Policy, which allows nothing beside them. What came from the recording
is data, never markup: JSON, compressed, in base64, which no name can leave.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from sgxlens.report.files import check_file, write_file
from sgxlens.report.json import Part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: The second line of each report, by which it is known as one.
MARK: Final = "<!-- sgxlens report -->"
_HEAD = f"<!doctype html>\n{MARK}\n"
_COMPRESSION = 6


class Page(Part):
    """The content of a page; ``title`` is what it is about, in a few words."""

    title: str

    def headline(self) -> str:
        """What the browser calls the page."""
        raise NotImplementedError

    def sentences(self) -> Sequence[str]:
        """What a reader without JavaScript is told."""
        raise NotImplementedError


def html_text(page: Page) -> str:
    """The page."""
    script, style = _asset("report.js"), _asset("report.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        f'{_HEAD}<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="generator" content="sgxlens">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(page.headline())}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<div id="report"></div>\n<noscript>\n{_plain(page)}</noscript>\n'
        f'<script type="application/gzip" id="data">{_data(page)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def is_report(path: Path) -> bool:
    """Whether the file at `path` is a report that was written before."""
    with path.open("rb") as file:
        return file.read(len(_HEAD)) == _HEAD.encode()


def check_writable(path: Path, *, force: bool) -> None:
    """Refuse a file that cannot or must not be written, before there is anything to lose.

    Args:
        path: the file to be written.
        force: whether a file that is no report may be replaced.

    Raises:
        UsageError: it is a folder, its folder is missing or read-only, or it is a file that is no
            report.
    """
    check_file(path, force=force or (path.is_file() and is_report(path)))


def write_html(page: Page, path: Path) -> int:
    """Write the page, whole or not at all.

    Returns:
        Its size in bytes.

    Raises:
        UsageError: it cannot be written.
    """
    content = html_text(page).encode("utf-8")
    write_file(path, content)
    return len(content)


def _asset(name: str) -> str:
    return (files("sgxlens.report") / "web" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _data(page: Page) -> str:
    content = page.model_dump(mode="json", by_alias=True)
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    packed = gzip.compress(text.encode("ascii"), _COMPRESSION, mtime=0)
    return base64.b64encode(packed).decode("ascii")


def _plain(page: Page) -> str:
    """What a reader without JavaScript sees."""
    paragraphs = "".join(f"<p>{html.escape(text)}</p>\n" for text in page.sentences())
    return (
        f"<main><h1>{html.escape(page.title)}</h1>\n{paragraphs}"
        "<p>Tables and charts need JavaScript; without it there are the commands that print to a"
        " terminal: sgxlens show, predict, advise and compare.</p></main>\n"
    )
