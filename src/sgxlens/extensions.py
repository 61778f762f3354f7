# SPDX-License-Identifier: Apache-2.0
"""What other packages bring by entry points: rules of advice, checks of configurations."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Protocol, TypeVar

from sgxlens.errors import UsageError
from sgxlens.text import one_line


class Named(Protocol):
    """Something of which there may be several, each with a name of its own."""

    @property
    def name(self) -> str:
        """Its name."""


_Brought = TypeVar("_Brought", bound=Named)


def extended(
    built_in: Sequence[_Brought], kind: type[_Brought], group: str
) -> tuple[list[_Brought], list[tuple[str, str]]]:
    """What the package has, and what others bring.

    Args:
        built_in: what the package has.
        kind: the type of each.
        group: the group of entry points that name others.

    Returns:
        All of them, those of the package first; and the names of those that could not be loaded,
        with what happened, in one line.
    """
    found = list(built_in)
    broken: list[tuple[str, str]] = []
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        try:
            brought = point.load()
        except Exception as error:  # noqa: BLE001 - what others wrote may raise anything
            broken.append((point.name, problem_of(error)))
            continue
        if not isinstance(brought, kind):
            what = f"{point.value} is {type(brought).__name__}, not a sgxlens {kind.__name__}"
            broken.append((point.name, what))
        elif any(brought.name == other.name for other in found):
            what = f"there is another {kind.__name__.lower()} called {brought.name!r}"
            broken.append((point.name, what))
        else:
            found.append(brought)
    return found, broken


def require_known(asked: Sequence[str], known: Sequence[Named], word: str) -> None:
    """Refuse a name that nothing has.

    Args:
        asked: the names.
        known: all that have one.
        word: what each of them is called, as ``rule``.

    Raises:
        UsageError: nothing has one of the names; the message lists those there are.
    """
    names = [one.name for one in known]
    for name in asked:
        if name not in names:
            raise UsageError(
                f"no {word} is called {one_line(name, 60)!r}: there are {', '.join(names)}"
            )


def problem_of(error: BaseException) -> str:
    """An exception in one line."""
    return one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 300)
