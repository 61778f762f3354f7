# SPDX-License-Identifier: Apache-2.0
"""Rules of a runtime: what becomes of a system call or event, by its facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sgxlens.enclave.system_calls.expressions import (
    Expression,
    ExpressionError,
    Value,
    Variable,
    compile_expression,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: ``inside``: done in the enclave. ``ocall``: the runtime asks the host. ``trap``: the instruction
#: or access raises an exception. ``unsupported``: the runtime refuses it, inside.
Outcome = Literal["inside", "ocall", "trap", "unsupported"]


def _as_text(value: Any) -> Any:
    """Numbers as text, so that all counts are expressions."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value


_Text = Annotated[str, BeforeValidator(_as_text), Field(strict=True, min_length=1)]


class RangeOfExpressions(BaseModel):
    """A count that even the facts of a call do not tell exactly."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    low: _Text
    likely: _Text
    high: _Text


Count = RangeOfExpressions | _Text


class Rule(BaseModel):
    """What becomes of a call to which a condition applies; counts are numbers or expressions.

    Attributes:
        when: the condition; empty: always. The first rule that applies holds.
        outcome: what happens.
        like: name of another system call that is counted in its place, with the same facts.
        ocalls: OCALLs made.
        real_ocalls: how many of these leave the enclave even where OCALLs are switchless.
        exceptions: traps delivered to the runtime inside.
        aex: asynchronous exits that the host handles alone.
        ecalls: ECALLs, as of a thread that the host makes to run inside.
        hashed_bytes: bytes hashed inside (SHA-256).
        encrypted_bytes: bytes encrypted or decrypted inside (AES-GCM).
        copied_bytes: bytes copied across the border of the enclave.
        note: why, for people.
        source: where it is read, within the runtime's own source.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    when: str = Field(default="", strict=True)
    outcome: Outcome
    like: str = Field(default="", strict=True)
    ocalls: Count = "0"
    real_ocalls: Count = "0"
    exceptions: Count = "0"
    aex: Count = "0"
    ecalls: Count = "0"
    hashed_bytes: Count = "0"
    encrypted_bytes: Count = "0"
    copied_bytes: Count = "0"
    note: str = ""
    source: str = ""


#: The fields of a rule that count something.
COUNT_FIELDS = (
    "ocalls",
    "real_ocalls",
    "exceptions",
    "aex",
    "ecalls",
    "hashed_bytes",
    "encrypted_bytes",
    "copied_bytes",
)


class RuleGroup(BaseModel):
    """The rules of some system calls or events, in order.

    Attributes:
        names: whose rules they are; ``*``: of all that have none of their own.
        rules: the last one has no condition, so that one always holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    names: tuple[str, ...] = Field(min_length=1)
    rules: tuple[Rule, ...] = Field(min_length=1)


class RuleError(ValueError):
    """A rule makes no sense; `field` says which, `message` why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")


@dataclass(frozen=True, eq=False)
class CompiledRule:
    """A rule whose expressions were read.

    Attributes:
        rule: the rule.
        when: its condition; None: always.
        counts: by field, expressions for low, likely and high; those that are 0 are left out.
        names: the variables that the counts ask for.
    """

    rule: Rule
    when: Expression | None
    counts: Mapping[str, tuple[Expression, Expression, Expression]]
    names: tuple[str, ...]

    def applies(self, facts: Mapping[str, Value]) -> bool:
        """Whether its condition holds."""
        return self.when is None or bool(self.when(facts))


@dataclass(frozen=True, eq=False)
class CompiledRules:
    """The rules of one system call or event, in order.

    Attributes:
        rules: the rules.
        names: the variables that their conditions ask for.
    """

    rules: tuple[CompiledRule, ...]
    names: tuple[str, ...]

    def rule_for(self, facts: Mapping[str, Value]) -> CompiledRule:
        """The first rule that applies; the last one always does."""
        return next(rule for rule in self.rules if rule.applies(facts))


def compile_definitions(
    definitions: Mapping[str, str], variables: Mapping[str, Variable], where: str
) -> dict[str, Expression]:
    """Reads named expressions; each may use those before it.

    Raises:
        RuleError: one makes no sense.
    """
    known: dict[str, Expression] = {}
    for name, text in definitions.items():
        field = f"{where}.{name}"
        if not name.isidentifier() or name in variables:
            raise RuleError(field, f"{name!r} is no name of its own")
        known[name] = _compiled(text, variables, known, field)
    return known


def compile_groups(
    groups: Sequence[RuleGroup],
    variables: Mapping[str, Variable],
    definitions: Mapping[str, Expression],
    where: str,
) -> dict[str, CompiledRules]:
    """Reads the rules of all groups, by name.

    Raises:
        RuleError: one makes no sense.
    """
    found: dict[str, CompiledRules] = {}
    for group in groups:
        first = group.names[0]
        rules = tuple(
            _compiled_rule(rule, variables, definitions, f"{where}.{first}.rules.{index}")
            for index, rule in enumerate(group.rules)
        )
        for index, rule in enumerate(rules):
            is_last = index == len(rules) - 1
            if is_last != (rule.when is None):
                problem = "the last rule has no `when`" if is_last else "rules after it never hold"
                raise RuleError(f"{where}.{first}.rules.{index}.when", problem)
        conditions = [rule.when for rule in rules if rule.when is not None]
        names = tuple(sorted({name for condition in conditions for name in condition.names}))
        for name in group.names:
            if name in found:
                raise RuleError(f"{where}.{name}", "there are two groups of this name")
            found[name] = CompiledRules(rules, names)
    return found


def _compiled_rule(
    rule: Rule,
    variables: Mapping[str, Variable],
    definitions: Mapping[str, Expression],
    where: str,
) -> CompiledRule:
    when = None
    if rule.when:
        when = _compiled(rule.when, variables, definitions, f"{where}.when")
        if when.type != "flag":
            raise RuleError(f"{where}.when", "it is neither true nor false")
    counts = {}
    for name in COUNT_FIELDS:
        count: Count = getattr(rule, name)
        texts = (
            (count, count, count)
            if isinstance(count, str)
            else (count.low, count.likely, count.high)
        )
        if texts == ("0", "0", "0"):
            continue
        # One object where all are alike, so that it is evaluated once.
        low, likely, high = map(
            {
                text: _number(text, variables, definitions, f"{where}.{name}")
                for text in dict.fromkeys(texts)
            }.__getitem__,
            texts,
        )
        counts[name] = (low, likely, high)
    asked = {n for triple in counts.values() for expression in triple for n in expression.names}
    return CompiledRule(rule, when, counts, tuple(sorted(asked)))


def _number(
    text: str,
    variables: Mapping[str, Variable],
    definitions: Mapping[str, Expression],
    where: str,
) -> Expression:
    expression = _compiled(text, variables, definitions, where)
    if expression.type == "text":
        raise RuleError(where, "it is a text, not a number")
    return expression


def _compiled(
    text: str,
    variables: Mapping[str, Variable],
    definitions: Mapping[str, Expression],
    where: str,
) -> Expression:
    try:
        return compile_expression(text, variables, definitions)
    except ExpressionError as error:
        raise RuleError(where, str(error)) from error
