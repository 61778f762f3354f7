# SPDX-License-Identifier: Apache-2.0
"""What becomes of a call with given facts, by the rules of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sgxlens.enclave.quantities import Range
from sgxlens.enclave.system_calls.expressions import Expression, ExpressionError, Value
from sgxlens.enclave.system_calls.rules import COUNT_FIELDS, CompiledRule, CompiledRules
from sgxlens.errors import UsageError

if TYPE_CHECKING:
    from sgxlens.enclave.runtime import Runtime

Facts = Mapping[str, Value]
_NOTHING = Range.exact(0)


@dataclass(frozen=True, eq=False)
class Effect:
    """What becomes of one call or event.

    Attributes:
        outcome: as of a rule; ``inside`` where a rule for OCALLs counts none.
        why: in words.
        counts: by field of a rule, how often or how much.
        is_known: the runtime has rules for it.
    """

    outcome: str
    why: str
    counts: Mapping[str, Range]
    is_known: bool = True

    @cached_property
    def amounts(self) -> tuple[float, ...]:
        """Low, likely and high of all fields of a rule, in their order."""
        found = (self.counts[name] for name in COUNT_FIELDS)
        return tuple(end for r in found for end in (r.low, r.likely, r.high))

    def or_nothing(self, condition: str) -> Effect:
        """The same where it is not known whether it happens at all: `condition` says when."""
        counts = {name: Range(0, r.likely, r.high) for name, r in self.counts.items()}
        return replace(self, counts=counts, why=f"{self.why}, {condition}")


_UNKNOWN = Effect(
    "ocall",
    "not in the runtime's table: taken for one OCALL",
    {**dict.fromkeys(COUNT_FIELDS, _NOTHING), "ocalls": Range.exact(1)},
    is_known=False,
)


class EffectFinder:
    """Applies the rules of a runtime, and remembers what calls alike became."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._chosen: dict[tuple[object, ...], _Chosen] = {}
        self._known: dict[tuple[object, ...], Effect] = {}
        self._effects: dict[tuple[object, ...], Effect] = {}
        self._asked: dict[tuple[str, str], frozenset[str]] = {}

    def of_call(self, name: str, facts: Facts, maybe: tuple[Facts, ...]) -> Effect:
        """What becomes of a system call; `maybe`: facts that it may have instead."""
        rules = self._runtime.rules_for(name)
        if rules is None:
            return _UNKNOWN
        return self._found(f"syscalls.{name}", rules, facts, maybe)

    def asked(self, name: str, kind: str) -> frozenset[str]:
        """The variables that decide what becomes of a system call.

        Args:
            name: the system call.
            kind: what its path or descriptor is of.
        """
        key = (name, kind)
        if key not in self._asked:
            found: set[str] = set()
            rules = self._runtime.rules_for(name)
            for rule in rules.rules if rules is not None else ():
                is_sure = rule.when is None
                if rule.when is not None and rule.when.names <= {"kind"}:
                    is_sure = bool(rule.when({"kind": kind}))
                    if not is_sure:
                        continue
                elif rule.when is not None:
                    found |= rule.when.names
                found.update(rule.names)
                if rule.rule.like:
                    found |= self.asked(rule.rule.like, kind)
                if is_sure:
                    break
            self._asked[key] = frozenset(found)
        return self._asked[key]

    def of_event(self, name: str, facts: Facts) -> Effect:
        """What becomes of an event."""
        return self._found(f"events.{name}", self._runtime.event_rules[name], facts, ())

    def _found(
        self, where: str, rules: CompiledRules, facts: Facts, maybe: tuple[Facts, ...]
    ) -> Effect:
        chosen = self._choose(where, rules, facts)
        key = (where, id(chosen), *[facts[name] for name in chosen.source.names])
        if not maybe:
            found = self._known.get(key)
            if found is not None:
                return found
        try:
            evaluated = _evaluated(chosen.source, facts)
            others = [_evaluated(self._choose(where, rules, o).source, o) for o in maybe]
        except ExpressionError as error:
            raise UsageError(f"runtime {self._runtime.name}: {where}: {error}") from error
        found = self._effect(where, chosen, evaluated, others)
        if not maybe:
            self._known[key] = found
        return found

    def _choose(self, where: str, rules: CompiledRules, facts: Facts) -> _Chosen:
        """The rule that applies, and the one that counts in its place."""
        key = (where, *[facts[name] for name in rules.names])
        chosen = self._chosen.get(key)
        if chosen is None:
            rule = rules.rule_for(facts)
            like = rule.rule.like
            if not like:
                chosen = _Chosen(rule, rule.rule.outcome, rule.rule.note)
                self._chosen[key] = chosen
            else:
                # The other's conditions may ask for more, so that this is not remembered here.
                other = self._choose(f"syscalls.{like}", self._runtime.syscall_rules[like], facts)
                why = "; ".join(note for note in (rule.rule.note, other.why) if note)
                outcome = "unsupported" if rule.rule.outcome == "unsupported" else other.outcome
                key = (*key, id(other))
                chosen = self._chosen.setdefault(key, _Chosen(other.source, outcome, why))
        return chosen

    def _effect(
        self, where: str, chosen: _Chosen, evaluated: _Triples, others: list[_Triples]
    ) -> Effect:
        triples: _Triples = []
        for index, (name, (least, likely, most)) in enumerate(
            zip(COUNT_FIELDS, evaluated, strict=True)
        ):
            low = min([least, *(other[index][0] for other in others)])
            high = max([most, *(other[index][2] for other in others)])
            if not 0 <= low <= likely <= high:
                raise UsageError(
                    f"runtime {self._runtime.name}: {where}: {name} is {low:g} (low), {likely:g}"
                    f" (likely), {high:g} (high): they should be in this order, from 0 on"
                )
            triples.append((low, likely, high))
        outcome = chosen.outcome
        if outcome == "ocall" and not triples[COUNT_FIELDS.index("ocalls")][2]:
            outcome = "inside"
        key = (outcome, chosen.why, *triples)
        if key not in self._effects:
            counts = {n: Range(*t) for n, t in zip(COUNT_FIELDS, triples, strict=True)}
            self._effects[key] = Effect(outcome, chosen.why, counts)
        return self._effects[key]


_Triples = list[tuple[float, float, float]]
_ZERO = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The rule that counts, what it comes to and why."""

    source: CompiledRule
    outcome: str
    why: str


def _evaluated(rule: CompiledRule, facts: Facts) -> _Triples:
    triples = []
    for name in COUNT_FIELDS:
        expressions = rule.counts.get(name)
        if expressions is None:
            triples.append(_ZERO)
            continue
        low, likely, high = expressions
        if low is high:
            value = _number(low, facts)
            triples.append((value, value, value))
        else:
            triples.append((_number(low, facts), _number(likely, facts), _number(high, facts)))
    return triples


def _number(expression: Expression, facts: Facts) -> float:
    return float(expression(facts))
