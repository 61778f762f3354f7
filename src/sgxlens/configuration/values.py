# SPDX-License-Identifier: Apache-2.0
"""Values as configuration files have them."""

from __future__ import annotations

import json


def size_text(size_bytes: int) -> str:
    """A size as manifests have it: ``1G``, ``512M``."""
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size_bytes % factor == 0 and size_bytes:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def toml_string(text: str) -> str:
    r"""`text` as a string of a TOML file that is a Jinja template.

    What Jinja would take for its own comes out as it is: ``{{`` is written ``{\u007b``.
    """
    # JSON's strings are TOML's, but for what TOML refuses: DEL, and halves of characters.
    quoted = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    quoted = quoted.replace("\x7f", "\\u007f")
    for mark in "{%#":
        quoted = quoted.replace("{" + mark, f"{{\\u{ord(mark):04x}")
    return quoted
