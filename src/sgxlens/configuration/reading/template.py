# SPDX-License-Identifier: Apache-2.0
"""Renders a manifest's template as ``gramine-manifest`` does, and knows which line is from where.

Templates are programs that somebody else may have written: they run in Jinja's sandbox, and nothing
of this machine is run for them or shown to them but the variables of the environment. What they ask
for that is not known here stays in the text as it was written, ``{{ name }}``.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from jinja2 import ChainableUndefined, TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.lexer import Token
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sgxlens.errors import UsageError
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jinja2.lexer import TokenStream

#: What a template has that a manifest has not.
_MARKS = re.compile(r"\{\{|\{%|\{#")
#: Templates and what comes out of them are small; more is an endless loop.
_SIZE_MAX = 16 << 20
_NUMBER_MAX = 1 << 64
#: Where Debian's and Ubuntu's package of Gramine has it.
_GRAMINE = PurePosixPath("/usr/lib/x86_64-linux-gnu/gramine")
#: What every template of the documentation is rendered with.
DEFAULTS: Mapping[str, str] = {"arch_libdir": "/lib/x86_64-linux-gnu"}
#: Around the number of a line; neither is allowed in TOML.
_BEGIN, _END = "\x01", "\x02"
_LINE_MARK = re.compile(f"{_BEGIN}([0-9]+){_END}")
#: A value without quotes that is not known, up to the end of its line.
_BARE = re.compile(
    r"(=[ \t]*)(\{\{ [^{}\"'\n]* \}\})"
    rf"(?=(?:{_BEGIN}[0-9]+{_END})?[ \t]*(?:#[^\n]*)?(?:\n|$))"
)


@dataclass(frozen=True)
class Rendered:
    """What came out of a template.

    Attributes:
        text: the manifest.
        unknown: names of variables that it uses and that are not known, in order.
        offsets, lines: from each offset into the text on, the line of the template.
    """

    text: str
    unknown: tuple[str, ...]
    offsets: tuple[int, ...]
    lines: tuple[int, ...]

    def line_at(self, offset: int) -> int:
        """The template's line of an offset into the text."""
        return self.lines[max(bisect_right(self.offsets, offset) - 1, 0)]


def is_template(text: str) -> bool:
    """Whether Jinja would find anything to do in a text."""
    return _MARKS.search(text) is not None


def plain(text: str) -> Rendered:
    """A text that is no template, as if it had been one."""
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines[:-1])]
    return Rendered(text, (), tuple(starts), tuple(range(1, len(lines) + 1)))


def render(text: str, variables: Mapping[str, str | bool], where: str) -> Rendered:
    """The manifest of a template.

    Args:
        text: the template.
        variables: what ``gramine-manifest -D`` would be given.
        where: the file, for errors.

    Raises:
        UsageError: it is no template that Jinja takes, or it does what a template may not.
    """
    left = _Left.of_one_template()
    environment = _Sandbox(undefined=left, keep_trailing_newline=True, extensions=[_LineMarks])
    environment.globals = {"range": environment.globals["range"], **_globals()}
    try:
        template = environment.from_string(text)
        marked = _limited(template.generate(**{**DEFAULTS, **variables}))
    except TemplateSyntaxError as error:
        raise UsageError(
            f"{where}:{error.lineno}: no Jinja template: {one_line(error.message or '', 200)}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a template is a program, and may fail like one
        line = _failed_line(error)
        at = f"{where}:{line}" if line else where
        kind = "" if isinstance(error, (TemplateError, UsageError)) else f"{type(error).__name__}: "
        raise UsageError(f"{at}: the template fails: {kind}{one_line(str(error), 200)}") from error
    # A number or flag that is not known is a text to TOML, so that the rest can be read.
    marked = _BARE.sub(r'\1"\2"', marked)
    parts: list[str] = []
    offsets, lines = [0], [1]
    length = end = 0
    for mark in _LINE_MARK.finditer(marked):
        parts.append(marked[end : mark.start()])
        length += mark.start() - end
        end = mark.end()
        offsets.append(length)
        lines.append(int(mark[1]))
    parts.append(marked[end:])
    return Rendered("".join(parts), tuple(dict.fromkeys(left.seen)), tuple(offsets), tuple(lines))


def _limited(pieces: Iterable[str]) -> str:
    found: list[str] = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > _SIZE_MAX:
            raise UsageError(f"more than {_SIZE_MAX >> 20} MiB come out of it: no manifest is")
        found.append(piece)
    return "".join(found)


def _failed_line(error: BaseException) -> int | None:
    """The last line of the template on the way to an error, which Jinja puts into the traceback."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


class _Left(ChainableUndefined):
    """What is not known: it stays in the text as it was written."""

    seen: list[str] = []  # noqa: RUF012 - of each template its own, see below

    @classmethod
    def of_one_template(cls) -> type[_Left]:
        """A class that remembers what one template asked for."""
        return type("_Left", (cls,), {"seen": []})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The sandbox gives what it refuses as something undefined, too.
        if issubclass(self._undefined_exception, SecurityError):
            self._fail_with_undefined_error()
        self._written = str(self._undefined_name)

    def _from(self, written: str) -> _Left:
        found = type(self)(name=self._undefined_name)
        found._written = written  # noqa: SLF001 - its own class
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._from(f"{self._written}.{name}")

    def __getitem__(self, name: Any) -> Any:
        return self._from(f"{self._written}[{name!r}]")

    def __call__(self, *args: Any, **_: Any) -> Any:
        return self._from(f"{self._written}({', '.join(map(repr, args))})")

    def __truediv__(self, other: object) -> str:  # type: ignore[override]
        return f"{self}/{other}"

    def __iter__(self) -> Iterator[Any]:
        yield self  # of a list one element, so that what is done with each is seen

    def __str__(self) -> str:
        self.seen.append(self._written)
        return f"{{{{ {self._written} }}}}"

    __html__ = __str__


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """As it is, where that is no bomb."""
        if operator == "**" or (isinstance(left, int) and isinstance(right, int)):
            result = abs(float(left)) ** float(right) if operator == "**" else abs(left * right)
            if result > _NUMBER_MAX:
                raise SecurityError("a number that is too large")
        elif isinstance(left, int) or isinstance(right, int):
            sized = right if isinstance(left, int) else left
            count = left if isinstance(left, int) else right
            if hasattr(sized, "__len__") and len(sized) * count > _SIZE_MAX:
                raise SecurityError("a text that is too long")
        return super().call_binop(context, operator, left, right)


class _LineMarks(Extension):
    """Puts the number of its line before each piece of the template's own text, and line of it.

    Not where the text does not go to the output at once: there a template may look at it.
    """

    _CAPTURING = ("macro", "call", "filter")

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        depth = 0
        tokens = list(stream)
        for index, token in enumerate(tokens):
            if token.type == "block_begin" and index + 1 < len(tokens):
                word = tokens[index + 1].value
                captures = word in self._CAPTURING or (
                    word == "set" and not _assigns(tokens, index + 2)
                )
                depth += captures
                depth -= word in (*(f"end{name}" for name in self._CAPTURING), "endset")
            if token.type == "data" and not depth:
                yield Token(token.lineno, "data", _marked(token.value, token.lineno))
            else:
                yield token


def _assigns(tokens: list[Token], index: int) -> bool:
    """Whether a ``set`` has its value in its own block."""
    for token in tokens[index:]:
        if token.type in ("assign", "block_end"):
            return token.type == "assign"
    return False


def _marked(text: str, line: int) -> str:
    first, *rest = text.split("\n")
    marked = [f"{_BEGIN}{line}{_END}{first}"]
    marked += [f"{_BEGIN}{line + n}{_END}{part}" for n, part in enumerate(rest, 1)]
    return "\n".join(marked)


class _RuntimeFolder:
    """Gramine's own C library; both ``gramine.runtimedir()`` and ``gramine.runtimedir``."""

    def __call__(self, libc: str = "glibc") -> PurePosixPath:
        return _GRAMINE / "runtime" / str(libc)

    def __str__(self) -> str:
        return str(self())

    def __truediv__(self, other: str) -> PurePosixPath:
        return self() / other


def _globals() -> dict[str, Any]:
    gramine = {
        "libos": _GRAMINE / "libsysdb.so",
        "pkglibdir": _GRAMINE,
        "runtimedir": _RuntimeFolder(),
    }
    return {"gramine": gramine, "env": cast("dict[str, Any]", dict(os.environ))}
