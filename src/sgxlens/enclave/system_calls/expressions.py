# SPDX-License-Identifier: Apache-2.0
"""Small expressions in the files of runtimes: how many OCALLs a call with such facts makes.

The grammar is a part of Python's: numbers, texts in quotes, variables, ``+ - * / //``, ``and or
not``, comparisons, ``in (...)``, ``a if condition else b``, and the functions of `FUNCTIONS`. A
flag counts as 1 or 0 where a number is wanted. All of it is checked when an expression is read:
names, types, and that it takes few steps. Nothing is ever given to Python's own ``eval``.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from sgxlens.text import one_line

Value = float | str
Type = Literal["number", "flag", "text"]
_Evaluate = Callable[[Mapping[str, Value]], Value]

#: Characters of an expression, and steps that it may take with its definitions spelled out.
TEXT_MAX = 500
STEPS_MAX = 2_000
#: Constants stay below; with the bound on steps no number outgrows memory.
_NUMBER_MAX = 1 << 63


class ExpressionError(ValueError):
    """An expression that makes no sense; the message says what is wrong with it, in one line."""


@dataclass(frozen=True)
class Variable:
    """What an expression may ask for.

    Attributes:
        type: ``number``, ``flag`` or ``text``.
        meaning: what it says, for people; with its unit.
        values: which texts it can be; empty: any.
    """

    type: Type
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Expression:
    """An expression that was read and checked.

    Attributes:
        text: as it was written.
        type: of its value.
        names: the variables it asks for, those of its definitions included.
        steps: how many steps it takes at most.
    """

    text: str
    type: Type
    names: frozenset[str]
    steps: int
    _evaluate: _Evaluate

    def __call__(self, variables: Mapping[str, Value]) -> Value:
        """Its value; `variables` has all of its `names`.

        Raises:
            ExpressionError: the value is out of all bounds.
        """
        try:
            value = self._evaluate(variables)
        except (OverflowError, ValueError) as error:
            raise ExpressionError(f"{_quoted(self.text)} is out of all bounds") from error
        if not isinstance(value, str) and not math.isfinite(value):
            raise ExpressionError(f"{_quoted(self.text)} is out of all bounds")
        return value


def chunks(offset: float, size: float, chunk: float) -> float:
    """How many aligned chunks (bytes each) hold the `size` bytes from `offset` on."""
    if size <= 0:
        return 0
    return (offset + size - 1) // chunk - offset // chunk + 1


def _ceil(value: float) -> float:
    return math.ceil(value)


#: Name: parameters for people, least and most number of arguments, what it does.
FUNCTIONS: dict[str, tuple[str, int, int, Callable[..., float]]] = {
    "min": ("min(a, b, ...)", 2, 8, min),
    "max": ("max(a, b, ...)", 2, 8, max),
    "ceil": ("ceil(a)", 1, 1, _ceil),
    "chunks": ("chunks(offset, size, chunk)", 3, 3, chunks),
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def compile_expression(
    text: str,
    variables: Mapping[str, Variable],
    definitions: Mapping[str, Expression] | None = None,
) -> Expression:
    """Reads an expression.

    Args:
        text: the expression.
        variables: what it may ask for.
        definitions: further names, each of an expression.

    Raises:
        ExpressionError: it is no such expression, or takes too many steps.
    """
    if len(text) > TEXT_MAX:
        raise ExpressionError(f"it is longer than {TEXT_MAX} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of spellings that are refused below anyway
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{_quoted(text)} is no expression") from error
    compiler = _Compiler(variables, definitions or {})
    try:
        kind, evaluate = compiler.visit(tree.body)
    except RecursionError as error:
        raise ExpressionError(f"{_quoted(text)} is nested too deep") from error
    if compiler.steps > STEPS_MAX:
        raise ExpressionError(f"{_quoted(text)} takes more than {STEPS_MAX:,} steps")
    return Expression(text, kind, frozenset(compiler.names), compiler.steps, evaluate)


class _Compiler:
    """Turns a syntax tree into functions, one for each node."""

    def __init__(
        self, variables: Mapping[str, Variable], definitions: Mapping[str, Expression]
    ) -> None:
        self._variables = variables
        self._definitions = definitions
        self.names: set[str] = set()
        self.steps = 0

    def visit(self, node: ast.expr) -> tuple[Type, _Evaluate]:
        self.steps += 1
        method = _VISITORS.get(type(node))
        if method is None:
            raise ExpressionError(f"{_source(node)} is not allowed in an expression")
        return method(self, node)

    def constant(self, node: ast.Constant) -> tuple[Type, _Evaluate]:
        value = node.value
        if isinstance(value, str):
            return "text", lambda _: value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ExpressionError(f"{_source(node)} is not allowed in an expression")
        if not -_NUMBER_MAX <= value <= _NUMBER_MAX:
            raise ExpressionError(f"the number {_source(node)} is too large")
        return "number", lambda _: value

    def name(self, node: ast.Name) -> tuple[Type, _Evaluate]:
        name = node.id
        defined = self._definitions.get(name)
        if defined is not None:
            self.steps += defined.steps
            self.names |= defined.names
            return defined.type, defined._evaluate  # noqa: SLF001 - its own module
        variable = self._variables.get(name)
        if variable is None:
            raise ExpressionError(f"unknown name {_quoted(name)}")
        self.names.add(name)
        return variable.type, lambda variables: variables[name]

    def arithmetic(self, node: ast.BinOp) -> tuple[Type, _Evaluate]:
        operate = _ARITHMETIC.get(type(node.op))
        if operate is None:
            raise ExpressionError(f"{_source(node)}: only + - * / // are allowed")
        left, right = self._number(node.left), self._number(node.right)
        if isinstance(node.op, (ast.Div, ast.FloorDiv)):
            _check_positive(node.right)
        return "number", lambda variables: operate(left(variables), right(variables))

    def unary(self, node: ast.UnaryOp) -> tuple[Type, _Evaluate]:
        if isinstance(node.op, ast.Not):
            flag = self._flag(node.operand)
            return "flag", lambda variables: not flag(variables)
        if isinstance(node.op, ast.USub):
            number = self._number(node.operand)
            return "number", lambda variables: -number(variables)
        raise ExpressionError(f"{_source(node)} is not allowed in an expression")

    def logic(self, node: ast.BoolOp) -> tuple[Type, _Evaluate]:
        flags = [self._flag(value) for value in node.values]
        if isinstance(node.op, ast.And):
            return "flag", lambda variables: all(flag(variables) for flag in flags)
        return "flag", lambda variables: any(flag(variables) for flag in flags)

    def comparison(self, node: ast.Compare) -> tuple[Type, _Evaluate]:
        if len(node.ops) > 1:
            raise ExpressionError(f"{_source(node)}: compare two at a time, joined with and")
        operator, other = node.ops[0], node.comparators[0]
        if isinstance(operator, (ast.In, ast.NotIn)):
            return self._membership(node.left, other, is_in=isinstance(operator, ast.In))
        compare = _COMPARISONS.get(type(operator))
        if compare is None:
            raise ExpressionError(f"{_source(node)}: no such comparison is allowed")
        left_type, left = self.visit(node.left)
        right_type, right = self.visit(other)
        if "text" in (left_type, right_type):
            if left_type != right_type or not isinstance(operator, (ast.Eq, ast.NotEq)):
                raise ExpressionError(f"{_source(node)} compares a text with what it is not like")
            self._check_text(node.left, other)
            self._check_text(other, node.left)
        return "flag", lambda variables: compare(left(variables), right(variables))  # type: ignore[arg-type]

    def _membership(
        self, left: ast.expr, right: ast.expr, *, is_in: bool
    ) -> tuple[Type, _Evaluate]:
        if not isinstance(right, ast.Tuple) or not right.elts:
            raise ExpressionError(f"{_source(right)}: in wants values in parentheses")
        kind, value = self.visit(left)
        values = set()
        for element in right.elts:
            if not isinstance(element, ast.Constant):
                raise ExpressionError(f"{_source(element)}: in wants numbers or texts")
            element_type, constant = self.visit(element)
            if (element_type == "text") != (kind == "text"):
                raise ExpressionError(f"{_source(element)} is not like {_source(left)}")
            self._check_text(left, element)
            values.add(constant({}))
        return "flag", lambda variables: (value(variables) in values) == is_in

    def choice(self, node: ast.IfExp) -> tuple[Type, _Evaluate]:
        condition = self._flag(node.test)
        first_type, first = self.visit(node.body)
        second_type, second = self.visit(node.orelse)
        if (first_type == "text") != (second_type == "text"):
            raise ExpressionError(f"{_source(node)} is sometimes a text, sometimes not")
        kind: Type = first_type if first_type == second_type else "number"
        return kind, lambda variables: (first if condition(variables) else second)(variables)

    def call(self, node: ast.Call) -> tuple[Type, _Evaluate]:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise ExpressionError(f"unknown function {_source(node.func)}: there are {known}")
        usage, least, most, function = FUNCTIONS[node.func.id]
        if node.keywords or not least <= len(node.args) <= most:
            raise ExpressionError(f"{_source(node)} should be {usage}")
        if node.func.id == "chunks":
            _check_positive(node.args[2])
        arguments = [self._number(argument) for argument in node.args]
        return "number", lambda variables: function(*[a(variables) for a in arguments])

    def _number(self, node: ast.expr) -> Callable[[Mapping[str, Value]], float]:
        kind, evaluate = self.visit(node)
        if kind == "text":
            raise ExpressionError(f"{_source(node)} is a text, not a number")
        return evaluate  # type: ignore[return-value]

    def _flag(self, node: ast.expr) -> _Evaluate:
        kind, evaluate = self.visit(node)
        if kind != "flag":
            raise ExpressionError(f"{_source(node)} is a {kind}, neither true nor false")
        return evaluate

    def _check_text(self, variable: ast.expr, text: ast.expr) -> None:
        """Refuses a text that the variable can never be: it is a slip of the pen."""
        if not isinstance(variable, ast.Name) or not isinstance(text, ast.Constant):
            return
        known = self._variables.get(variable.id)
        if known is not None and known.values and text.value not in known.values:
            near = get_close_matches(str(text.value), known.values)
            raise ExpressionError(
                f"{variable.id} is never {_source(text)}: it is {', '.join(near or known.values)}"
                + (", or another" if near else "")
            )


_VISITORS: dict[type[ast.expr], Callable[[_Compiler, ast.expr], tuple[Type, _Evaluate]]] = {
    ast.Constant: _Compiler.constant,  # type: ignore[dict-item]
    ast.Name: _Compiler.name,  # type: ignore[dict-item]
    ast.BinOp: _Compiler.arithmetic,  # type: ignore[dict-item]
    ast.UnaryOp: _Compiler.unary,  # type: ignore[dict-item]
    ast.BoolOp: _Compiler.logic,  # type: ignore[dict-item]
    ast.Compare: _Compiler.comparison,  # type: ignore[dict-item]
    ast.IfExp: _Compiler.choice,  # type: ignore[dict-item]
    ast.Call: _Compiler.call,  # type: ignore[dict-item]
}


def _check_positive(node: ast.expr) -> None:
    """Divisors are constants, so that no call can make one of them 0."""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ExpressionError(f"{_source(node)}: what divides is a number above 0")


def _source(node: ast.expr) -> str:
    try:
        return _quoted(ast.unparse(node))
    except (RecursionError, ValueError):  # nested deep; an integer of thousands of digits
        return "a part of it"


def _quoted(text: str) -> str:
    return f"`{one_line(text, 60)}`"
