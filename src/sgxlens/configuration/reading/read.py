# SPDX-License-Identifier: Apache-2.0
"""Reads a manifest of Gramine, its template, or an Occlum.json."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgxlens.configuration.reading.document import Document, Family
from sgxlens.configuration.reading.positions import json_places, toml_places
from sgxlens.configuration.reading.template import Rendered, is_template, plain, render
from sgxlens.errors import UsageError
from sgxlens.text import one_line
from sgxlens.user_files import read_user_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A manifest with the hashes of a large Python has some megabytes.
SIZE_MAX_BYTES = 16 << 20
_MESSAGE_MAX = 300
_SECTIONS: Mapping[Family, tuple[str, ...]] = {
    "gramine": ("loader", "libos", "fs", "sgx", "sys"),
    "occlum": ("resource_limits", "process", "entry_points", "env", "mount", "feature"),
}


def read_document(
    path: str | os.PathLike[str], variables: Mapping[str, str | bool] | None = None
) -> Document:
    """Reads a configuration file.

    Args:
        path: the file.
        variables: of a template, as ``gramine-manifest -D`` takes them.

    Raises:
        UsageError: it cannot be read, or is no configuration file of a runtime that is known.
    """
    where = one_line(os.fspath(path), 200)
    text = _text(Path(path), where)
    if text.lstrip().startswith("{") and text.lstrip()[:2] not in ("{{", "{%", "{#"):
        if variables:
            raise UsageError(f"{where} is JSON, not a template: there is nothing to define in it")
        return parsed_document("occlum", text, plain(text), os.fspath(path))
    if variables and not is_template(text):
        raise UsageError(f"{where} is no template: there is nothing to define in it")
    rendered = render(text, variables or {}, where) if is_template(text) else plain(text)
    return parsed_document("gramine", text, rendered, os.fspath(path))


def parsed_document(family: Family, source: str, rendered: Rendered, path: str) -> Document:
    """A document of a text that was read.

    Raises:
        UsageError: it is no such document.
    """
    where = one_line(path, 200)
    places: Any
    try:
        if family == "occlum":
            values = json.loads(rendered.text)
            places = json_places
        else:
            values = tomllib.loads(rendered.text)
            places = toml_places
        found = places(rendered.text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}:{error.lineno}: not JSON: {error.msg}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_toml_problem(error, rendered, where)) from error
    # Numbers of thousands of digits are a ValueError of another kind.
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where}: cannot be read: {one_line(str(error), _MESSAGE_MAX)}"
        ) from error
    if not isinstance(values, dict) or not values.keys() & {*_SECTIONS[family]}:
        kind = {"gramine": "a manifest of Gramine", "occlum": "an Occlum.json"}[family]
        raise UsageError(
            f"{where} is not {kind}: it has none of the sections {', '.join(_SECTIONS[family])}"
        )
    folder = str(Path(path).absolute().parent)
    return Document(path, folder, family, source, rendered, values, found)


def _toml_problem(error: Exception, rendered: Rendered, where: str) -> str:
    message = str(error)
    line = _line_of(message, rendered)
    text = message.partition(" (at ")[0]
    at = f"{where}:{line}" if line else where
    hint = ""
    if rendered.unknown:
        name = rendered.unknown[0]
        hint = f"; {one_line(name, 60)} is not known here: give it with -D NAME=VALUE"
    return f"{at}: not TOML: {one_line(text, _MESSAGE_MAX)}{hint}"


def _line_of(message: str, rendered: Rendered) -> int | None:
    """The user's line of what the parser says: ``... (at line 3, column 7)``."""
    words = message.rpartition("(at line ")[2].rstrip(")").split(", column ")
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return rendered.line_at(len(rendered.text)) if "end of document" in message else None
    lines = rendered.text.split("\n")
    offset = sum(len(line) + 1 for line in lines[: int(words[0]) - 1])
    return rendered.line_at(offset + int(words[1]) - 1)


def _text(path: Path, where: str) -> str:
    content = read_user_file(
        path,
        kind="manifest",
        size_max_bytes=SIZE_MAX_BYTES,
        wanted="give a manifest, its template, or Occlum.json",
    )
    if b"\0" in content:
        raise UsageError(f"{where} is a binary file, not a manifest, its template, or Occlum.json")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not UTF-8 at byte {error.start}: no manifest") from error
    return text.replace("\r\n", "\n")
