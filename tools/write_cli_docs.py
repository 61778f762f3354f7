# SPDX-License-Identifier: Apache-2.0
"""Writes docs/cli.md anew from the commands themselves."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from sgxlens.cli.main import sgxlens

DOCUMENT = Path(__file__).parent.parent / "docs" / "cli.md"
_HEAD = """\
# The command line

What `sgxlens COMMAND --help` prints, of all commands in one place. This page is written from them
by `tools/write_cli_docs.py`.

Exit status of all: 0 when it is done; 2 for an error, told in one line on standard error; 130 when
Ctrl-C ended it, 143 when SIGTERM did. `record` ends as the recorded program did, and `lint` with 1
if it found something.
"""
#: As a terminal of this width would show it; documents have lines as long.
_COLUMNS = 100


def document() -> str:
    """The whole page."""
    parent = click.Context(sgxlens, info_name="sgxlens")
    parts = [_HEAD]
    for name in sgxlens.list_commands(parent):
        command = sgxlens.get_command(parent, name)
        context = click.Context(
            cast("click.Command", command),  # one of a name that it listed itself
            info_name=name,
            parent=parent,
            terminal_width=_COLUMNS,
            max_content_width=_COLUMNS,
        )
        text = "\n".join(line.rstrip() for line in context.get_help().splitlines())
        parts.append(f"## sgxlens {name}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
