# SPDX-License-Identifier: Apache-2.0
"""Writes the variables in docs/runtimes.md from src/sgxlens/enclave/system_calls/variables.py."""

from __future__ import annotations

import re
from pathlib import Path

from sgxlens.enclave.system_calls.variables import markdown_variables

DOCUMENT = Path(__file__).parent.parent / "docs" / "runtimes.md"


def with_variables(text: str) -> str:
    """Return the document with its variables as they are now."""
    return re.sub(
        r"(<!-- variables: .*? -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{markdown_variables()}\n\n{found[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    DOCUMENT.write_text(with_variables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
