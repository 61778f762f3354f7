# SPDX-License-Identifier: Apache-2.0
"""What is certain of a difference."""

from __future__ import annotations

from typing import Literal

#: ``more``, ``less``: certainly, since the whole range of the difference is. ``same``: there is no
#: difference, and no doubt about it. ``uncertain``: the range reaches to or across 0.
Direction = Literal["more", "less", "same", "uncertain"]
