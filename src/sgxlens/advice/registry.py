# SPDX-License-Identifier: Apache-2.0
"""The rules there are: those of the package, and those that other packages bring.

A package brings a rule as an entry point of group ``sgxlens.rules`` that names a `Rule`;
``docs/advice.md`` has the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Declined
from sgxlens.extensions import extended, require_known

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation

GROUP = "sgxlens.rules"
#: Each is a module of `sgxlens.advice.rules` with a `Rule` of the name ``RULE``.
BUILT_IN = (
    "batching",
    "narrower_weights",
    "streaming",
    "splitting",
    "epc_size",
    "fewer_replicas",
    "eviction_order",
    "threads",
    "exitless",
    "raw_syscalls",
    "wait_policy",
    "frequent_calls",
    "clock_reads",
    "missing_files",
    "model_file",
    "eager_mappings",
    "dynamic_memory",
    "enclave_size",
    "allocator_arenas",
    "stacks",
    "telemetry",
    "load_copies",
    "prepacked_weights",
)


@dataclass(frozen=True)
class Rule:
    """Finds one kind of change.

    Attributes:
        name: its name, as ``batching``; unique.
        about: what it looks for, in a few words.
        find: the advice for a situation, or why there is none. It may raise what it likes: the
            other rules still report.
    """

    name: str
    about: str
    find: Callable[[Situation], tuple[Advice, ...] | Declined]


@dataclass(frozen=True)
class BrokenRule:
    """A rule that could not be loaded, or raised.

    Attributes:
        name: the rule.
        problem: what happened, in one line.
    """

    name: str
    problem: str


def rules() -> tuple[list[Rule], list[BrokenRule]]:
    """All rules, those of the package first, and those that could not be loaded."""
    found, broken = extended([_built_in(name) for name in BUILT_IN], Rule, GROUP)
    return found, [BrokenRule(*one) for one in broken]


def chosen_rules(only: Sequence[str]) -> tuple[list[Rule], list[BrokenRule]]:
    """As `rules`, those that are named; none: all.

    Raises:
        UsageError: there is no such rule.
    """
    found, broken = rules()
    require_known(only, [*found, *broken], "rule")
    if not only:
        return found, broken
    return (
        [rule for rule in found if rule.name in only],
        [rule for rule in broken if rule.name in only],
    )


def _built_in(name: str) -> Rule:
    rule: Rule = import_module(f"sgxlens.advice.rules.{name}").RULE
    return rule
