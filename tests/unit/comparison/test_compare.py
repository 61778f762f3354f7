# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import predictable
import sgxlens
from compared import make_pair, model_target
from sgxlens.comparison.model import Change, Comparison, TimeChanges, median_difference
from sgxlens.enclave.quantities import Range
from sgxlens.report.comparison import change_verdict

MakeRecording = Callable[..., Path]
PLATFORM = "xeon-e-2288g"


def times_of(comparison: Comparison) -> TimeChanges:
    (changes,) = comparison.changes
    assert changes.times is not None
    return changes.times


def test_a_recording_does_not_differ_from_itself(make_recording: MakeRecording) -> None:
    path = make_recording(predictable.tables(), **predictable.metadata())
    comparison = sgxlens.compare([path, path], PLATFORM)
    times = times_of(comparison)
    changes = [
        times.added_seconds,
        times.slowdown,
        times.startup_seconds,
        *(row.added_seconds for row in times.causes),
        *(row.added_seconds for row in times.operators),
        *(row.count for row in times.counts),
    ]
    assert {change.direction for change in changes} == {"same"}
    assert all(change.difference == Range.exact(0) for change in changes)
    # Measured again, the native time would not be the same.
    assert times.native_seconds.difference.likely == 0
    assert times.native_seconds.direction in ("same", "uncertain")
    assert times.graph is not None
    assert times.graph.corresponds
    assert not times.sensitivity
    assert change_verdict(comparison, comparison.changes[0]).endswith("Nothing else changes.")
    facts = comparison.changes[0].facts
    assert all(row.before_bytes == row.after_bytes for row in facts.sizes)
    assert all(row.before_ratio == row.after_ratio for row in facts.sources)


def test_differences_are_those_of_the_predictions(make_recording: MakeRecording) -> None:
    pair = make_pair(make_recording, {"syscalls": predictable.syscalls(500)}, slower=1.5)
    times = times_of(sgxlens.compare(pair, PLATFORM))
    before, after = (sgxlens.predict(path, PLATFORM) for path in pair)
    for change, left, right in (
        (times.added_seconds, before.steady.added_seconds, after.steady.added_seconds),
        (times.sgx_seconds, before.steady.sgx_seconds, after.steady.sgx_seconds),
        (times.slowdown, before.steady.slowdown, after.steady.slowdown),
        (times.startup_seconds, before.startup.total_seconds, after.startup.total_seconds),
    ):
        assert (change.before, change.after) == (left, right)
        assert change.difference.likely == pytest.approx(right.likely - left.likely, rel=1e-9)
        assert change.difference.low <= change.difference.likely <= change.difference.high
    for row, left, right in zip(
        times.causes, before.steady.causes, after.steady.causes, strict=True
    ):
        assert row.added_seconds.before == left.added_seconds
        assert row.added_seconds.after == right.added_seconds
    operators = {row.name: row for row in times.operators}
    assert (
        operators["/features/Conv"].added_seconds.before == before.steady.operators[0].added_seconds
    )
    total = sum(row.added_seconds.difference.likely for row in times.operators)
    assert total == pytest.approx(times.added_seconds.difference.likely)
    assert sum(row.added_seconds.difference.likely for row in times.types) == pytest.approx(total)


def test_what_is_shared_does_not_make_a_difference_uncertain(
    make_recording: MakeRecording,
) -> None:
    traps = [row | {"count": 107} for row in predictable.tables()["traps"]]
    times = times_of(sgxlens.compare(make_pair(make_recording, {"traps": traps}), PLATFORM))
    transitions = next(row.added_seconds for row in times.causes if row.cause == "transitions")
    assert transitions.direction == "more"
    counts = {row.name: row.count for row in times.counts}
    assert counts["OCALLs"].difference == counts["traps"].difference == Range.exact(100)
    # Only these are different: nothing but what they cost makes the range.
    assert {swing.name for swing in times.sensitivity} == {
        "platform.transitions.ocall_ns",
        "platform.transitions.exception_ns",
    }
    (exit_,) = (row for row in times.exits if row.name == "rdtsc")
    assert (exit_.before_count, exit_.after_count) == (7, 107)


def test_batches_that_inputs_tell_are_compared_by_sample(make_recording: MakeRecording) -> None:
    paths = [
        make_recording(
            predictable.tables(),
            f"batch {batch}",
            **(predictable.metadata() | {"target": model_target(batch)}),
        )
        for batch in (1, 4)
    ]
    comparison = sgxlens.compare(paths, PLATFORM)
    assert [side.batch_size for side in comparison.sides] == [1, 4]
    times = times_of(comparison)
    assert times.per_sample is not None
    one = times.per_sample.sgx_seconds
    assert one.before == times.sgx_seconds.before
    assert one.after.likely == pytest.approx(times.sgx_seconds.after.likely / 4)
    assert one.direction == "less"
    assert "inside, for each sample" in comparison._repr_html_()


def test_a_third_model_with_other_inputs_hides_no_batch(make_recording: MakeRecording) -> None:
    other = model_target(1) | {"inputs": [{"name": "tokens", "shape": [1, 128]}]}
    targets = [model_target(1), model_target(4), other]
    paths = [
        make_recording(
            predictable.tables(), f"{i}", **(predictable.metadata() | {"target": target})
        )
        for i, target in enumerate(targets)
    ]
    comparison = sgxlens.compare(paths, PLATFORM)
    assert [side.batch_size for side in comparison.sides] == [1, 4, None]
    per_sample = [one.times and one.times.per_sample for one in comparison.changes]
    assert per_sample[0] is not None
    assert per_sample[1] is None


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [{"name": "data", "shape": [4, 3, 224, 225]}],
        [{"name": "data", "shape": []}],
        [{"name": "data"}],
        ["data"],
        [{"name": "data", "shape": ["n", 3, 224, 224]}],
    ],
)
def test_batches_that_inputs_do_not_tell_are_not_guessed(
    make_recording: MakeRecording, inputs: list[Any]
) -> None:
    targets = [model_target(1), model_target(1) | {"inputs": inputs}]
    paths = [
        make_recording(
            predictable.tables(), f"{i}", **(predictable.metadata() | {"target": target})
        )
        for i, target in enumerate(targets)
    ]
    comparison = sgxlens.compare(paths, PLATFORM)
    assert [side.batch_size for side in comparison.sides] == [None, None]
    assert times_of(comparison).per_sample is None


def test_recordings_of_different_threads_are_compared_with_a_warning(
    make_recording: MakeRecording,
) -> None:
    first = make_recording(predictable.tables(), "one", **predictable.metadata(threads=1))
    second = make_recording(predictable.tables(), "four", **predictable.metadata(threads=4))
    comparison = sgxlens.compare([first, second], PLATFORM)
    assert any("numbers of threads differ (A 1, B 4)" in w for w in comparison.warnings)


def test_without_any_times_what_was_recorded_is_compared(make_recording: MakeRecording) -> None:
    tables = predictable.tables()
    del tables["native_times"]
    paths = [
        make_recording(tables, name, **(predictable.metadata() | {"native": None}))
        for name in ("one", "two")
    ]
    comparison = sgxlens.compare(paths, PLATFORM)
    assert comparison.deployment is None
    assert "no native times" in comparison.no_times
    (changes,) = comparison.changes
    assert changes.times is None
    assert {row.name for row in changes.facts.sizes} >= {"page_footprint", "line_working_set"}
    given = sgxlens.compare(paths, PLATFORM, native_seconds=[0.1, 0.2])
    assert times_of(given).native_seconds.difference == Range.exact(0.1)


def test_sampled_recordings_are_compared_in_their_estimates(make_recording: MakeRecording) -> None:
    fields = predictable.metadata()
    fields["settings"] |= {"sampling_rate": 0.5, "attribute": False}
    paths = [make_recording(name=name, **(fields | {"native": None})) for name in ("one", "two")]
    comparison = sgxlens.compare(paths, PLATFORM)
    assert "sampled" in comparison.no_times
    (changes,) = comparison.changes
    pages = next(row for row in changes.facts.sizes if row.name == "page_footprint")
    assert pages.before_bytes == 2 * 44 * 4096
    assert changes.facts.sources == ()


def test_recordings_of_different_schemas_are_refused(make_recording: MakeRecording) -> None:
    first, second = (sgxlens.open(path) for path in make_pair(make_recording))
    second.metadata = second.metadata.model_copy(update={"schema_version": 1})
    with pytest.raises(sgxlens.UsageError, match="their schema versions are 1 and"):
        sgxlens.compare([first, second], PLATFORM)


def test_phases_must_be_counterparts_unless_they_are_given(make_recording: MakeRecording) -> None:
    tables = predictable.tables()
    names = {"inference 1": "step 1", "inference 2": "step 2"}
    for row in (*tables["phases"],):
        row["name"] = names.get(row["name"], row["name"])
    for row in tables["native_times"]:
        row["phase"] = names.get(row["phase"], row["phase"])
    pair = make_pair(make_recording, tables)
    with pytest.raises(sgxlens.UsageError, match=r"is no counterpart of 'inference 2'.*--phase"):
        sgxlens.compare(pair, PLATFORM)
    comparison = sgxlens.compare(pair, PLATFORM, phase=["inference 2", "step 2"])
    assert [side.phase_name for side in comparison.sides] == ["inference 2", "step 2"]


@pytest.mark.parametrize(
    ("difference", "direction"),
    [
        (Range(1, 2, 3), "more"),
        (Range(-3, -2, -1), "less"),
        (Range(-1, 2, 3), "uncertain"),
        (Range(0, 2, 3), "uncertain"),
        (Range(0, 0, 0), "same"),
        (Range(0, 0, 1e-12), "same"),
    ],
)
def test_a_direction_is_certain_if_the_whole_range_is(difference: Range, direction: str) -> None:
    assert Change.of(Range.exact(5), Range.exact(7), difference).direction == direction


def test_medians_of_more_samples_are_surer() -> None:
    few = median_difference((1.0, 2.0, 4), (1.0, 2.0, 4))
    many = median_difference((1.0, 2.0, 400), (1.0, 2.0, 400))
    assert few == pytest.approx(10 * many)
    assert many == pytest.approx(1.96 * 1.25 / 1.35 / 20 * 2**0.5)
    assert median_difference((1.0, 1.0, 4), (2.0, 2.0, 4)) == 0


def test_notebooks_show_tables(make_recording: MakeRecording) -> None:
    first, second = make_pair(make_recording, slower=2)
    recording = sgxlens.open(first)
    prediction = sgxlens.predict(recording, PLATFORM)
    comparison = sgxlens.compare([first, second], PLATFORM)
    hostile = replace(
        prediction, recording="<script>alert(1)</script>", warnings=('"><img src=x>\u202e',)
    )
    for shown, part in (
        (recording, "inference 2"),
        (prediction, "+ EPC paging"),
        (comparison, "B against A"),
        (hostile, "&lt;script&gt;"),
    ):
        text = shown._repr_html_()
        assert part in text
        assert text.count("<table>") == text.count("</table>") == 1
        for word in ("<script", "<img", "style", "\u202e"):
            assert word not in text, word
