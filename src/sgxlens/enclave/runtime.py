# SPDX-License-Identifier: Apache-2.0
"""Runtimes: what becomes of a program's system calls and traps inside an enclave.

A runtime is a TOML file; ``docs/runtimes.md`` says how to write one. A variant ``extends`` another
and says only what differs.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sgxlens.enclave.data_files import data_names, read_data, validated_data
from sgxlens.enclave.memory_rules import Memory, Work
from sgxlens.enclave.quantities import Constant
from sgxlens.enclave.system_calls.rules import (
    CompiledRules,
    RuleGroup,
    compile_definitions,
    compile_groups,
)
from sgxlens.enclave.system_calls.variables import EVENTS, VARIABLES
from sgxlens.errors import UsageError
from sgxlens.recording.syscalls import is_syscall_name
from sgxlens.text import one_line

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from sgxlens.enclave.system_calls.expressions import Expression

_FOLDER = "runtimes"
#: A variant of a variant of a variant is hard enough to follow.
_EXTENDS_MAX = 5
#: Stands for all system calls that no group names.
ANY_CALL = "*"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Files(_Part):
    """What files are to the runtime, where the user does not say so.

    Attributes:
        read_only: files that the recording only reads.
        written: files that it opens for writing, or changes.
        pseudo, tmpfs: patterns of paths that the runtime makes itself or keeps inside.
    """

    read_only: Literal["trusted", "allowed", "encrypted"]
    written: Literal["trusted", "allowed", "encrypted"]
    pseudo: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()


class Entry(_Part):
    """Transitions that no system call of the program makes.

    Attributes:
        inference_ecalls: ECALLs that one inference takes.
        start_ocalls: OCALLs of the runtime before the program's first instruction; loading the
            program is event ``program_load``.
        start_exceptions: traps of the runtime until then.
    """

    inference_ecalls: Constant
    start_ocalls: Constant
    start_exceptions: Constant


class Threads(_Part):
    """Threads of the runtime itself.

    Attributes:
        own: how many of them need a place in the enclave, beside the program's.
    """

    own: Constant


class Clock(_Part):
    """How clocks are read without leaving, where the platform allows RDTSC.

    Attributes:
        resync_period_ms: the host is asked once in this time; 0: never.
    """

    resync_period_ms: Constant


class Runtime(_Part):
    """A runtime.

    Attributes:
        name: its short name.
        title: its name for people.
        version: the version that the rules are of.
        source: where the rules are read: repository and commit; sources of rules are within it.
        description: what is special about it.
        notes: what one must keep in mind with predictions for it.
        switchless: OCALLs are handed to threads outside, where a rule does not say otherwise.
        patched_objects: object files beside the C library whose system calls reach the runtime
            without a trap, as patterns of file names.
        files, entry, threads, clock: see there.
        memory, work: see `sgxlens.enclave.memory_rules`.
        definitions: named expressions that rules may use; each may use those before it.
        syscalls, events: the rules.
    """

    name: str = Field(min_length=1, max_length=60)
    title: str = Field(min_length=1, max_length=200)
    version: str
    source: str = Field(min_length=1)
    description: str
    notes: tuple[str, ...] = ()
    switchless: bool = False
    patched_objects: tuple[str, ...] = ()
    files: Files
    entry: Entry
    threads: Threads
    clock: Clock
    memory: Memory
    work: Work
    definitions: dict[str, str] = {}
    syscalls: tuple[RuleGroup, ...]
    events: tuple[RuleGroup, ...]

    @model_validator(mode="after")
    def _is_complete(self) -> Runtime:
        for group in self.syscalls:
            for name in group.names:
                if name != ANY_CALL and not is_syscall_name(name):
                    raise ValueError(f"syscalls: no system call is called {one_line(name, 60)!r}")
        rules = self.syscall_rules  # a rule that makes no sense is refused now
        missing = [name for name in EVENTS if name not in self.event_rules]
        if missing:
            raise ValueError(f"events: there are no rules for {', '.join(missing)}")
        for name in self.event_rules:
            if name not in EVENTS:
                raise ValueError(f"events: no event is called {one_line(name, 60)!r}")
        for group in self.syscalls:
            for index, rule in enumerate(group.rules):
                if rule.like and (rule.like not in rules or _is_like(rules[rule.like])):
                    raise ValueError(
                        f"syscalls.{group.names[0]}.rules.{index}.like: {one_line(rule.like, 60)!r}"
                        " has no rules of its own"
                    )
        return self

    @cached_property
    def syscall_rules(self) -> Mapping[str, CompiledRules]:
        """The rules by name of the system call; ``*``: of all others."""
        return compile_groups(self.syscalls, VARIABLES, self._definitions, "syscalls")

    @cached_property
    def event_rules(self) -> Mapping[str, CompiledRules]:
        """The rules by name of the event."""
        return compile_groups(self.events, VARIABLES, self._definitions, "events")

    @cached_property
    def _definitions(self) -> Mapping[str, Expression]:
        return compile_definitions(self.definitions, VARIABLES, "definitions")

    @cached_property
    def rules_text(self) -> str:
        """All rules in one text: variants of a runtime may well have the same."""
        return self.model_dump_json(include={"definitions", "syscalls", "events"})

    def rules_for(self, name: str) -> CompiledRules | None:
        """The rules of a system call; None: the runtime's table does not know it."""
        return self.syscall_rules.get(name) or self.syscall_rules.get(ANY_CALL)


def runtime_names() -> tuple[str, ...]:
    """Names of the runtimes that sgxlens knows, sorted."""
    return data_names(_FOLDER)


def load_runtime(name_or_path: str | os.PathLike[str]) -> Runtime:
    """Reads a runtime: one of `runtime_names`, or a file of the user.

    Raises:
        UsageError: there is no such runtime or file; the file is damaged, or a field is wrong.
    """
    raw, where = read_data(_FOLDER, name_or_path)
    merged, seen = raw, [where]
    while "extends" in merged:
        base = merged.pop("extends")
        if not isinstance(base, str):
            raise UsageError(f"{where}: extends: it should be the name of a runtime")
        if len(seen) > _EXTENDS_MAX:
            raise UsageError(f"{where}: extends: {' extends '.join(seen)} ... without an end")
        below, name = read_data(_FOLDER, base)
        seen.append(name)
        merged = _extended(below, merged)
    return validated_data(Runtime, "runtime", merged, where)


def _is_like(rules: CompiledRules) -> bool:
    return any(rule.rule.like for rule in rules.rules)


def _extended(base: dict[str, Any], variant: dict[str, Any]) -> dict[str, Any]:
    """What `variant` says, and what `base` says beyond it."""
    merged = dict(variant)
    for key, value in base.items():
        if key in ("syscalls", "events"):
            merged[key] = _joined_groups(value, variant.get(key, []))
        elif key not in merged:
            merged[key] = value
        elif isinstance(value, dict) and isinstance(merged[key], dict) and "likely" not in value:
            merged[key] = _extended(value, merged[key])
    if "definitions" in base:
        # In the order of the base: what is defined there may be used below it.
        ours = variant.get("definitions", {})
        if isinstance(ours, dict):
            merged["definitions"] = {**base["definitions"], **ours}
    return merged


def _joined_groups(base: Any, variant: Any) -> Any:
    """Groups of the variant, and of the base what they do not name."""
    if not isinstance(base, list) or not isinstance(variant, list):
        return variant
    ours = {
        name
        for group in variant
        if isinstance(group, dict) and isinstance(group.get("names"), list)
        for name in group["names"]
        if isinstance(name, str)
    }
    rest = [
        {**group, "names": [name for name in group["names"] if name not in ours]} for group in base
    ]
    return [*variant, *(group for group in rest if group["names"])]
