# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sgxlens.advice import Advice, Cost, Gain, Modification
from sgxlens.advice.advice import Change, GainOf, OutputDeviation
from sgxlens.advice.advise import RankedAdvice
from sgxlens.enclave.quantities import Range
from sgxlens.optimization.limits import Limits
from sgxlens.optimization.search import Found, Standing, Trial, search

BATCH = Modification(batch=16, model=("dynamic-batch",))
INT8 = Modification(model=("int8-dynamic",))
ORT = Modification(model=("ort-format",))
ARENA = Modification(session={"enable_cpu_mem_arena": False})


def gain(of: GainOf, before: float, after: float) -> Gain:
    return Gain(of, Range.exact(before), Range.exact(after), Range.exact(before - after))


def standing(sample: float, startup: float = 10.0, deviation: float = 0.0) -> Standing:
    outputs = OutputDeviation(16, 160, 0.05, deviation, deviation, deviation, None)
    return Standing(
        modification=Modification(),
        recording="made up",
        sample=gain("sample", 1.0, sample),
        startup=gain("startup", 10.0, startup),
        memory=gain("memory", 1e9, 1e9),
        native_ratio=Range.exact(1.0),
        outputs=outputs,
    )


def advised(
    modification: Modification | None,
    of: GainOf = "inference",
    changes: Change = "program",
    costs: tuple[Cost, ...] = (),
) -> RankedAdvice:
    made = Advice("a change", "", (), changes, (gain(of, 1.0, 0.5),), costs, (), (),
                  modification=modification)  # fmt: skip
    return RankedAdvice("a_rule", made)


class MadeUp:
    """The same advice always; what a modification makes of the program is given."""

    def __init__(
        self, advice: Sequence[RankedAdvice], result: Callable[[Modification], Standing | str]
    ) -> None:
        self.advice, self.result = advice, result
        self.tried: list[Modification] = []

    def start(self) -> Standing:
        return standing(1.0)

    def advise(self, standing: Standing) -> Sequence[RankedAdvice]:  # noqa: ARG002
        return self.advice

    def batch(self, standing: Standing) -> int | None:
        return standing.modification.batch or 1

    def trial(self, modification: Modification) -> Trial:
        programs = [replace(one, settings={}) for one in self.tried]
        self.tried.append(modification)
        made = self.result(modification)
        if isinstance(made, str):
            return Trial(None, made, 0)
        count = int(replace(modification, settings={}) not in programs)
        return Trial(replace(made, modification=modification), "", count)


def outcomes(found: Found) -> list[tuple[str, str]]:
    return [(attempt.outcome, attempt.reason) for attempt in found.attempts]


def test_changes_that_gain_are_joined_and_others_dropped_with_the_reason() -> None:
    def result(modification: Modification) -> Standing | str:
        if modification.session:
            return "the model has no arena"
        sample = 1.0 / (modification.batch or 1)
        return standing(sample * (0.99 if "int8-dynamic" in modification.model else 1))

    made_up = MadeUp([advised(ARENA), advised(BATCH), advised(INT8, changes="model")], result)
    found = search(made_up, Limits(), 5)
    assert found.standing.modification == BATCH
    assert outcomes(found) == [
        ("dropped", "the model has no arena"),
        ("kept", "a sample takes 93.8% less"),
        ("dropped", "a sample takes 1.0% less: not worth it"),
    ]
    assert made_up.tried[-1].batch == 16
    assert made_up.tried[-1].model == ("dynamic-batch", "int8-dynamic")
    assert (found.recording_count, found.ended) == (
        2,
        "nothing more that a machine can change is worth it",
    )


def test_outputs_beyond_the_tolerance_are_not_taken_however_fast() -> None:
    made_up = MadeUp([advised(INT8)], lambda _: standing(0.1, deviation=0.06))
    found = search(made_up, Limits(), 5)
    assert found.standing == made_up.start()
    ((outcome, reason),) = outcomes(found)
    assert outcome == "dropped"
    assert "0.06" in reason
    assert "tolerance of 0.05" in reason


def test_the_budget_ends_the_search_but_not_what_needs_no_recording() -> None:
    size = Modification(settings={"enclave_size": None})
    advice = [advised(BATCH), advised(INT8), advised(size, of="startup")]
    made_up = MadeUp(
        advice,
        lambda made: standing(1.0 / len(made.model or "1") / 2, 5.0 if made.settings else 10.0),
    )
    found = search(made_up, Limits(), 1)
    assert found.standing.modification == BATCH | size
    assert found.recording_count == 1
    assert found.ended.startswith("the budget is used up")
    assert [one.reason for one in found.untried] == ["the budget of recordings is used up"]


@pytest.mark.parametrize(
    ("sample", "startup", "expected"),
    [
        (1.0, 5.0, ("kept", "the start takes 50.0% less")),
        (1.0, 9.9, ("dropped", "the start takes 1.0% less: not worth it")),
        (1.1, 5.0, ("dropped", "the start takes 50.0% less, but a sample takes 10.0% more")),
    ],
)
def test_a_shorter_start_must_not_make_a_sample_slower(
    sample: float, startup: float, expected: tuple[str, str]
) -> None:
    found = search(
        MadeUp([advised(ORT, of="startup")], lambda _: standing(sample, startup)), Limits(), 5
    )
    assert outcomes(found) == [expected]


def test_files_that_others_cannot_read_are_written_last() -> None:
    made_up = MadeUp([advised(ORT), advised(INT8)], lambda m: standing(0.5 ** len(m.model)))
    assert search(made_up, Limits(), 5).standing.modification.model == (
        "int8-dynamic",
        "ort-format",
    )


SECURITY, PROCESSORS = Cost("security", "x"), Cost("processors", "x")


@pytest.mark.parametrize(
    ("row", "limits", "expected"),
    [
        (advised(None), Limits(), "a person must do it"),
        (advised(INT8, changes="model"), Limits(is_exact=True), "--exact"),
        (advised(ARENA, costs=(SECURITY,)), Limits(), "--allow security"),
        (advised(ARENA, costs=(PROCESSORS,)), Limits(), "--allow processors"),
        (advised(Modification(settings={"replicas": 1})), Limits(), "for a person to decide"),
        (advised(BATCH), Limits(max_batch=1), "--max-batch 1"),
    ],
)
def test_what_is_not_allowed_is_not_tried(row: RankedAdvice, limits: Limits, expected: str) -> None:
    made_up = MadeUp([row], lambda _: standing(0.1))
    found = search(made_up, limits, 5)
    assert not made_up.tried
    assert expected in found.untried[0].reason


def test_a_permission_and_a_smaller_batch_are_taken() -> None:
    allowed = Limits(max_batch=9, permissions=frozenset({"security"}))
    rows = [advised(BATCH, costs=(SECURITY,))]
    found = search(MadeUp(rows, lambda _: standing(0.1)), allowed, 5)
    assert found.standing.modification == replace(BATCH, batch=9)
    assert allowed.allowed(rows[0].advice, 4) == replace(BATCH, batch=8)
