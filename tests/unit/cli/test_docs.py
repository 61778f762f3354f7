# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import click
import pytest

from sgxlens.cli.main import SUB_COMMANDS, sgxlens

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


def words(text: str) -> str:
    """As text that was wrapped, and had spaces at breaks only, is the same."""
    return "".join(text.split())


@pytest.mark.parametrize("name", SUB_COMMANDS)
def test_the_reference_has_each_command_with_its_options(name: str) -> None:
    # Not the whole page: releases of click lay out help differently.
    sections = DOCUMENT.read_text(encoding="utf-8").split("\n## sgxlens ")[1:]
    section = words(next(text for text in sections if text.startswith(f"{name}\n")))
    command = sgxlens.get_command(click.Context(sgxlens), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for said in (parameter.opts[-1], words(parameter.help or "")):
                assert said in section, f"{said}: run python tools/write_cli_docs.py"


def test_the_reference_has_no_other_command() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [part.split("\n")[0] for part in text.split("\n## sgxlens ")[1:]] == list(SUB_COMMANDS)
