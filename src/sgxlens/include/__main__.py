# SPDX-License-Identifier: Apache-2.0
"""`python -m sgxlens.include` prints the folder for a C compiler's `-I`."""

from __future__ import annotations

from sgxlens.include import folder

print(folder())  # noqa: T201
