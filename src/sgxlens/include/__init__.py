# SPDX-License-Identifier: Apache-2.0
"""The C header `sgxlens/mark.h`, and where it is."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """The folder to give to a C compiler as `-I`, so that it finds `sgxlens/mark.h`.

    Raises:
        FileNotFoundError: the package was not installed completely.
    """
    # In an editable installation the package has two folders: the sources and what was built.
    for part in __path__:
        if (Path(part) / "sgxlens" / "mark.h").is_file():
            return Path(part)
    msg = "sgxlens/mark.h is missing from the installed package: install sgxlens again"
    raise FileNotFoundError(msg)
