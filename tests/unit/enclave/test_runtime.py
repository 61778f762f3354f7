# SPDX-License-Identifier: Apache-2.0
"""Runtimes: those of the package, and those of users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sgxlens.enclave.data_files import constants
from sgxlens.enclave.runtime import load_runtime, runtime_names
from sgxlens.enclave.system_calls.variables import markdown_variables
from sgxlens.errors import UsageError

OWN = """
extends = "gramine"
name = "mine"
title = "Mine"
"""


READ = '[[syscalls]]\nnames = ["read"]\n'
RULE = "[[syscalls.rules]]\n"

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return _write


@pytest.mark.parametrize("name", runtime_names())
def test_a_runtime_of_the_package_is_called_as_its_file_and_knows_its_constants(name: str) -> None:
    runtime = load_runtime(name)
    assert runtime.name == name
    assert [c.name for c in constants(runtime)][:1] == ["runtime.entry.inference_ecalls"]


def test_a_variant_says_only_what_differs(write: Write) -> None:
    mine = load_runtime(
        write(
            OWN
            + """
[entry.start_ocalls]
low = 1
likely = 2
high = 3
source = "counted"

[[syscalls]]
names = ["getpid", "read"]

[[syscalls.rules]]
outcome = "ocall"
ocalls = 7
"""
        )
    )
    base = load_runtime("gramine")
    assert (mine.entry.start_ocalls.likely, mine.entry.start_ocalls.source) == (2, "counted")
    assert mine.entry.inference_ecalls == base.entry.inference_ecalls
    assert [r.rule.ocalls for r in mine.syscall_rules["read"].rules] == ["7"]
    assert len(mine.syscall_rules["pread64"].rules) == len(base.syscall_rules["pread64"].rules)
    assert mine.syscall_rules.keys() == base.syscall_rules.keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("surprise = 1", "surprise: there is no such field"),
        ('[definitions]\nlookup = "3 * components"', "definitions.lookup: unknown name"),
        ('[[syscalls]]\nnames = ["reed"]\n' + RULE + 'outcome = "inside"', "'reed'"),
        (
            READ + RULE + 'when = "failed"\noutcome = "inside"',
            "syscalls.read.rules.0.when: the last rule has no `when`",
        ),
        (
            READ + RULE + 'outcome = "inside"\n' + RULE + 'outcome = "ocall"',
            "syscalls.read.rules.0.when: rules after it never hold",
        ),
        (
            READ + RULE + 'outcome = "ocall"\nocalls = "kind == \'trustd\'"',
            "syscalls.read.rules.0.ocalls: kind is never `'trustd'`: it is trusted, ",
        ),
        (READ + RULE + 'outcome = "ocall"\nocalls = "\'a\'"', "it is a text, not a number"),
        (READ + RULE + 'outcome = "ocall"\nlike = "rseq2"', "0.like: 'rseq2' has no rules"),
        ('[[events]]\nnames = ["sleep"]\n[[events.rules]]\noutcome = "inside"', "'sleep'"),
        ("extends = 5", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_field_in_one_line(
    write: Write, text: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_runtime(write(OWN + text))
    assert message in caught.value.message
    assert "mine.toml: " in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_runtime_that_extends_itself_is_refused(write: Write) -> None:
    path = write("")
    write(f'extends = "{path}"')
    with pytest.raises(UsageError, match="without an end"):
        load_runtime(path)


def test_an_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no runtime is called 'gramin': there are .*gramine"):
        load_runtime("gramin")


def test_the_documentation_has_the_variables_as_they_are() -> None:
    document = Path(__file__).parents[3] / "docs" / "runtimes.md"
    text = document.read_text(encoding="utf-8")
    assert markdown_variables() in text, "run python tools/write_runtime_docs.py"
    for name in runtime_names():
        assert f"`{name}`" in text


def test_the_example_of_the_documentation_is_a_runtime(write: Write) -> None:
    text = (Path(__file__).parents[3] / "docs" / "runtimes.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    assert load_runtime(write(example)).patched_objects == ("libgomp.so*",)


def test_gramine_says_what_becomes_of_each_call_of_its_table() -> None:
    gramine = load_runtime("gramine")
    outcomes = {n: {r.rule.outcome for r in c.rules} for n, c in gramine.syscall_rules.items()}
    refused = [name for name, found in outcomes.items() if found == {"unsupported"}]
    # 177 are implemented; flock is, but refused unless the manifest says otherwise.
    assert len(outcomes) == 177 + 185
    assert len(refused) == 185 + 1
    assert gramine.rules_for("getpid") is not None
    assert gramine.rules_for("cachestat") is None  # younger than its table
    for rules in gramine.syscall_rules.values():
        counted = [rule.rule for rule in rules.rules if rule.counts]
        assert all(rule.source and rule.note for rule in counted)
