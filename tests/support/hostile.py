# SPDX-License-Identifier: Apache-2.0
"""Names that would break a careless page."""

from __future__ import annotations

#: Of all names that a recording holds, by characters.
HOSTILE_NAMES = (
    "</script><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "\"quoted' & <b>bold</b> --> ]]>",
    "\u202eright to left\u202c \u05d0\u05d1\u05d2",
    "x" * 10_000,
)
