# SPDX-License-Identifier: Apache-2.0
"""Expressions of runtimes: what is read means what Python means, what is not is one line."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sgxlens.enclave.system_calls.expressions import (
    STEPS_MAX,
    ExpressionError,
    Value,
    Variable,
    chunks,
    compile_expression,
)

VARIABLES = {
    "n": Variable("number", "a number"),
    "offset": Variable("number", "a number"),
    "failed": Variable("flag", "a flag"),
    "kind": Variable("text", "a text", ("trusted", "allowed")),
}

_NUMBERS: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["n", "offset", "failed"])
        | st.integers(0, 10**6).map(str)
        | st.tuples(_NUMBERS, st.sampled_from("+-*"), _NUMBERS).map(lambda t: f"({' '.join(t)})")
        | st.tuples(_NUMBERS, st.integers(1, 99)).map(lambda t: f"({t[0]} // {t[1]})")
        | st.tuples(_NUMBERS, _NUMBERS).map(lambda t: f"max({t[0]}, {t[1]})")
        | st.tuples(_NUMBERS, _FLAGS, _NUMBERS).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})")
    )
)
_FLAGS: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["failed", "kind == 'trusted'", "kind in ('allowed', 'trusted')"])
        | st.tuples(_NUMBERS, st.sampled_from(["<", "<=", "==", "!="]), _NUMBERS).map(" ".join)
        | st.tuples(_FLAGS, st.sampled_from(["and", "or"]), _FLAGS).map(
            lambda t: f"({' '.join(t)})"
        )
        | _FLAGS.map(lambda flag: f"(not {flag})")
    )
)


@given(
    text=_NUMBERS | _FLAGS,
    n=st.integers(0, 2**63),
    offset=st.integers(0, 2**63),
    failed=st.booleans(),
    kind=st.sampled_from(["trusted", "allowed"]),
)
@settings(max_examples=200)
def test_an_expression_means_what_it_means_in_python(
    text: str, n: int, offset: int, failed: bool, kind: str
) -> None:
    facts: dict[str, Value] = {"n": n, "offset": offset, "failed": failed, "kind": kind}
    try:
        expression = compile_expression(text, VARIABLES)
    except ExpressionError as error:
        message = str(error)
        assume("longer than" not in message)
        raise
    assert expression(facts) == eval(text, {"max": max}, dict(facts))  # noqa: S307 - the definition
    assert expression.names <= set(facts)


WORDS = r"""
    n kind failed 'x' 1 0 1e999 9**9 ** << // / % + - * ( ) [ ] { } , : . = == < is in not and or if
    else lambda for x yield await f'' __import__ open n.real n() n[0] (n:=1) *n ... None True \ # ;
    1j 0x
"""
PIECES = st.sampled_from([*WORDS.split(), "\0", "\n"])


@given(st.lists(PIECES, max_size=60).map(" ".join) | st.text(max_size=80))
@settings(max_examples=500)
def test_whatever_is_written_is_read_or_refused_in_one_line_and_soon(text: str) -> None:
    start = time.process_time()
    message = ""
    try:
        expression = compile_expression(text, VARIABLES)
        expression({"n": 1, "offset": 2, "failed": True, "kind": "trusted"})
    except ExpressionError as error:
        message = str(error)
    assert time.process_time() - start < 1
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no expression"),
        ("n +", "is no expression"),
        ("(" * 250 + ")" * 250, "is no expression"),
        ("n + " * 200 + "n", "longer than"),
        ("nn", "unknown name `nn`"),
        ("__import__('os')", "unknown function `__import__`"),
        ("n.real", "`n.real` is not allowed"),
        ("[n for n in (1, 2)]", "is not allowed"),
        ("2 ** 99999", "only + - * / // are allowed"),
        ("1 << 99999", "only + - * / // are allowed"),
        ("n / offset", "what divides is a number above 0"),
        ("n // 0", "what divides is a number above 0"),
        ("chunks(offset, n, 0)", "what divides is a number above 0"),
        ("chunks(offset, n)", "should be chunks(offset, size, chunk)"),
        ("99999999999999999999", "is too large"),
        ("1j", "is not allowed"),
        ("True", "is not allowed"),
        ("n and failed", "`n` is a number, neither true nor false"),
        ("kind + 1", "`kind` is a text, not a number"),
        ("kind == 1", "compares a text with what it is not like"),
        ("kind < 'trusted'", "compares a text with what it is not like"),
        ("kind == 'trust'", "kind is never `'trust'`: it is trusted, or another"),
        ("'refused' == kind", "kind is never `'refused'`"),
        ("kind in ('trusted', 'x')", "kind is never `'x'`"),
        ("kind in 'trusted'", "in wants values in parentheses"),
        ("n in (1, 'a')", "is not like `n`"),
        ("1 < n < 3", "compare two at a time"),
        ("'a' if failed else 1", "sometimes a text, sometimes not"),
        ("max(n)", "should be max(a, b, ...)"),
        ("max(*n)", "should be max(a, b, ...)"),
        ("max(*n, 1)", "is not allowed"),
        ("n if failed else", "is no expression"),
    ],
)
def test_what_is_no_expression_says_why(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, VARIABLES)
    assert message in str(caught.value)


def test_definitions_cannot_be_stacked_to_take_for_ever() -> None:
    definitions = {"a": compile_expression("n + n + n + n + n + n", VARIABLES)}
    text = "a + a + a + a + a + a"
    while definitions["a"].steps * 6 < STEPS_MAX - 20:
        definitions["a"] = compile_expression(text, VARIABLES, definitions)
    with pytest.raises(ExpressionError, match=f"more than {STEPS_MAX:,} steps"):
        compile_expression(text, VARIABLES, definitions)


def test_what_outgrows_all_numbers_is_an_error_when_it_does() -> None:
    expression = compile_expression("n" + " * n" * 60 + " / 3", VARIABLES)
    assert expression({"n": 1}) == pytest.approx(1 / 3)
    with pytest.raises(ExpressionError, match="out of all bounds"):
        expression({"n": 2**63})


@given(st.integers(0, 100_000), st.integers(-5, 100_000), st.sampled_from([1, 7, 4096, 16384]))
def test_chunks_are_those_that_hold_a_byte(offset: int, size: int, chunk: int) -> None:
    assert chunks(offset, size, chunk) == len(
        {byte // chunk for byte in (*range(offset, offset + size, chunk), offset + size - 1)}
        if size > 0
        else ()
    )
