# SPDX-License-Identifier: Apache-2.0
"""TOML files of platforms and runtimes: those of the package, and those of users.

Users write their own, so that every error is one line with the file and the field.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from sgxlens.enclave.quantities import Constant
from sgxlens.errors import UsageError, first_problem
from sgxlens.text import one_line
from sgxlens.user_files import read_user_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

_Model = TypeVar("_Model", bound=BaseModel)

#: A platform has some 6 KiB. What is far larger is no such file, and would take long to refuse.
SIZE_MAX_BYTES = 1 << 20
#: Characters of what a parser says about a file.
_MESSAGE_MAX = 300
_INTEGER = re.compile(r"[1-9][0-9]*")


def data_names(folder: str) -> tuple[str, ...]:
    """Names of the files of the package in a folder (``platforms``, ``runtimes``), sorted."""
    return tuple(sorted(path.stem for path in _package_folder(folder).glob("*.toml")))


def load_data(model: type[_Model], folder: str, name_or_path: str | os.PathLike[str]) -> _Model:
    """Reads one file of the package, or one of the user.

    Args:
        model: what it holds; every `Constant` in it gets its place in the file as ``name``, after
            the folder in the singular: ``platform.transitions.ocall_ns``.
        folder: the folder of the package, ``platforms`` or ``runtimes``.
        name_or_path: a name as in `data_names`, or a path: what ends in ``.toml`` or has a ``/``.

    Raises:
        UsageError: there is no such name or file; the file is damaged, or a field is wrong.
    """
    raw, where = read_data(folder, name_or_path)
    return validated_data(model, folder.removesuffix("s"), raw, where)


def read_data(folder: str, name_or_path: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """Reads one file as `load_data` does, without looking at its fields.

    Returns:
        What it holds, and the name of the file for errors.

    Raises:
        UsageError: there is no such name or file, or it is no TOML.
    """
    kind = folder.removesuffix("s")
    text = os.fspath(name_or_path)
    is_path = not isinstance(name_or_path, str) or "/" in text or text.endswith(".toml")
    if not is_path:
        names = data_names(folder)
        if text not in names:
            raise UsageError(
                f"no {kind} is called {one_line(text, 60)!r}: there are {', '.join(names)};"
                f" or give a file (x.toml, ./x)"
            )
        path = _package_folder(folder) / f"{text}.toml"
        return parse_toml(_read(path, kind), f"{text}.toml"), f"{text}.toml"
    where = one_line(text, 200)
    return parse_toml(_read(Path(text), kind), where), where


def parse_toml(content: bytes, where: str) -> dict[str, Any]:
    """The content of a file; `where` names it in errors.

    Raises:
        UsageError: it is no TOML.
    """
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not UTF-8 at byte {error.start}: no TOML file") from error
    # Numbers of thousands of digits are a ValueError of another kind.
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not TOML: {one_line(str(error), _MESSAGE_MAX)}") from error


def validated_data(model: type[_Model], kind: str, raw: dict[str, Any], where: str) -> _Model:
    """The content of a file as its model; `kind` as of `load_data`, `where` names it in errors.

    Raises:
        UsageError: a field is wrong.
    """
    try:
        found = model.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{where}: {first_problem(error)}") from error
    except RecursionError as error:
        raise UsageError(f"{where}: nested too deep") from error
    named: _Model = _named(found, kind, where)
    return named


def constants(data: BaseModel) -> tuple[Constant, ...]:
    """All constants of a platform or runtime, in the order of its fields."""
    found: list[Constant] = []

    def visit(value: object) -> None:
        if isinstance(value, Constant):
            found.append(value)
        elif isinstance(value, BaseModel):
            for name in type(value).model_fields:
                visit(getattr(value, name))
        elif isinstance(value, dict):
            for item in value.values():
                visit(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(item)

    visit(data)
    return tuple(found)


def whole_number_keys(values: Any) -> Any:
    """A table with its keys, which are text in TOML, as numbers: ``1`` and up, in one spelling."""
    if not isinstance(values, dict):
        return values
    for key in values:
        if not isinstance(key, int) and not (isinstance(key, str) and _INTEGER.fullmatch(key)):
            raise ValueError(f"{one_line(str(key), 40)!r} is not a whole number from 1 on")
        if len(str(key)) > 9:
            raise ValueError(f"{one_line(str(key), 40)} is too large")
    return {int(key): item for key, item in values.items()}


def _package_folder(folder: str) -> Path:
    return Path(__file__).parent / folder


def _read(path: Path, kind: str) -> bytes:
    wanted = f"a {kind} is a TOML file"
    return read_user_file(path, kind=kind, size_max_bytes=SIZE_MAX_BYTES, wanted=wanted)


def _named(value: Any, path: str, where: str) -> Any:
    """`value` with the names of the constants in it filled in."""
    if isinstance(value, Constant):
        if value.name:
            field = path.partition(".")[2]
            raise UsageError(f"{where}: {field}.name: there is no such field")
        return value.model_copy(update={"name": path})
    if isinstance(value, RootModel):
        return value.model_copy(update={"root": _named(value.root, path, where)})
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return value.model_copy(
            update={name: _named(getattr(value, name), f"{path}.{name}", where) for name in fields}
        )
    if isinstance(value, dict):
        items: Mapping[Any, Any] = value
        return {key: _named(item, f"{path}.{key}", where) for key, item in items.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_named(v, f"{path}.{i}", where) for i, v in enumerate(value))
    return value
