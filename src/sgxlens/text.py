# SPDX-License-Identifier: Apache-2.0
"""Text that came from outside, made fit for a terminal."""

from __future__ import annotations


def one_line(text: str, limit: int | None = None) -> str:
    r"""`text` in one line, without anything that a terminal would obey.

    White space becomes single spaces; control characters, bidirectional overrides and other
    invisible characters become ``\xNN`` or ``\uNNNN``. More than `limit` characters are cut in the
    middle, since the ends of a path or symbol tell most.
    """
    visible = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in " ".join(text.split())
    )
    if limit is None or len(visible) <= limit:
        return visible
    if limit < 5:
        return visible[:limit]
    head = (limit - 1) // 2
    return visible[:head] + "…" + visible[len(visible) - (limit - 1 - head) :]
