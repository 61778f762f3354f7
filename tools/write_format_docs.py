# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/recording-format.md anew from src/sgxlens/recording/schemas.py."""

from __future__ import annotations

import re
from pathlib import Path

from sgxlens.recording.schemas import markdown_tables

DOCUMENT = Path(__file__).parent.parent / "docs" / "recording-format.md"


def with_tables(text: str) -> str:
    """Return the document with its tables as they are now."""
    return re.sub(
        r"(<!-- tables: .*? -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{markdown_tables()}\n{found[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
