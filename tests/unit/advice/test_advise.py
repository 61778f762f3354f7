# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import paged
import sgxlens
from sgxlens import extensions
from sgxlens.advice import Advice, Declined, Gain, Rule, registry
from sgxlens.advice.advise import Advisory
from sgxlens.advice.situation import Situation, gain_elsewhere
from sgxlens.enclave.quantities import Range

MakeRecording = Callable[..., Path]


def made_up(saved: float, of: str = "inference", changes: str = "program") -> Advice:
    gain = Gain(of, Range.exact(1), Range.exact(1 - saved), Range.exact(saved))  # type: ignore[arg-type]
    return Advice(f"Save {saved}", "Found.", (), changes, (gain,), (), ())  # type: ignore[arg-type]


def raising(situation: Situation) -> tuple[Advice, ...] | Declined:
    raise KeyError(f"nothing of {situation.platform.name}")


def wrong(situation: Situation) -> tuple[Advice, ...] | Declined:
    return (situation,)  # type: ignore[return-value]


THIRD_PARTY = Rule("third", "for a test", lambda _: (made_up(0.9, "startup"), made_up(0.5)))
RAISING = Rule("raising", "for a test", raising)
WRONG = Rule("wrong", "for a test", wrong)
TAKEN = Rule("batching", "for a test", lambda _: Declined("nothing"))


@pytest.fixture
def path(make_recording: MakeRecording) -> Path:
    return make_recording(paged.tables(), **paged.metadata())


@pytest.fixture
def advised(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Advisory]:
    """Advice with the rules of this module that are named, and one of the package."""

    def advise(*names: str) -> Advisory:
        points = [EntryPoint(name, f"{__name__}:{name}", registry.GROUP) for name in names]
        monkeypatch.setattr(extensions, "entry_points", lambda **_: points)
        monkeypatch.setattr(registry, "BUILT_IN", ("batching",))
        monkeypatch.setitem(__import__("sys").modules, __name__, _this_module())
        found: Advisory = sgxlens.advise(path, "xeon-e-2288g", epc=paged.SMALL_EPC)
        return found

    return advise


def _this_module() -> object:
    import types

    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


def test_rules_of_other_packages_are_asked_and_ranked(advised: Callable[..., Advisory]) -> None:
    advisory = advised("THIRD_PARTY")
    assert [(row.rule, row.advice.gains[0].of) for row in advisory.advice] == [
        ("batching", "sample"),
        ("third", "inference"),
        ("third", "startup"),
    ]


def test_a_rule_that_fails_does_not_silence_the_others(advised: Callable[..., Advisory]) -> None:
    advisory = advised("NO_SUCH_NAME", "RAISING", "TAKEN", "WRONG", "raising")
    assert [row.rule for row in advisory.advice] == ["batching"]
    problems = {row.name: row.problem for row in advisory.broken}
    assert problems.keys() == {"NO_SUCH_NAME", "TAKEN", "WRONG".lower(), "raising"}
    assert "AttributeError" in problems["NO_SUCH_NAME"]
    assert "another rule called 'batching'" in problems["TAKEN"]
    assert "at least one gain" in problems["wrong"]


def test_what_keeps_the_model_and_the_machine_comes_first() -> None:
    from sgxlens.advice.advise import _rank

    rows = [
        made_up(0.95, "memory"),
        made_up(0.9, "startup"),
        made_up(0.8, changes="machine"),
        made_up(0.7, changes="model"),
        made_up(0.1),
        made_up(0.2),
    ]
    ranked = sorted(rows, key=_rank)
    assert [row.title for row in ranked] == [f"Save {n}" for n in (0.2, 0.1, 0.7, 0.8, 0.9, 0.95)]


def test_errors_on_two_machines_are_independent(path: Path) -> None:
    before = sgxlens.predict(path, "xeon-e-2288g", epc=paged.SMALL_EPC)
    after = sgxlens.predict(path, "xeon-gold-6326")
    gain = gain_elsewhere(before.steady, after.steady)
    assert gain.saved.likely == pytest.approx(gain.before.likely - gain.after.likely)
    assert gain.before.low - gain.after.high <= gain.saved.low
    assert gain.saved.high <= gain.before.high - gain.after.low


def test_rules_may_be_named(path: Path) -> None:
    advisory = sgxlens.advise(path, "xeon-e-2288g", only=("exitless",))
    assert [row.rule for row in advisory.silent] == ["exitless"]
    with pytest.raises(sgxlens.UsageError, match=r"no rule is called 'no such': there are batch"):
        sgxlens.advise(path, "xeon-e-2288g", only=("exitless", "no such"))


def test_an_incomplete_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sgxlens.RecordingError):
        sgxlens.advise(tmp_path, "xeon-e-2288g")


def test_the_recipe_of_the_documentation_works(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs/advice.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Rule] = {}
    exec(compile(code, "docs/advice.md", "exec", dont_inherit=True), names)  # noqa: S102
    monkeypatch.setattr(registry, "rules", lambda: ([names["RULE"]], []))
    advisory = sgxlens.advise(path, "xeon-e-2288g", epc=paged.SMALL_EPC)
    assert [row.rule for row in advisory.silent] == ["larger_cache"]
    assert not advisory.broken
