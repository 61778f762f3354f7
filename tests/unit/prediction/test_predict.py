# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import predictable
import sgxlens
from sgxlens.enclave.platform import ByThreads, load_platform
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime, runtime_names
from sgxlens.errors import RecordingError, UsageError
from sgxlens.prediction import Prediction
from sgxlens.recording.reader import Recording, open_recording

MakeRecording = Callable[..., Path]
PLATFORM = "xeon-e-2288g"


@pytest.fixture
def recording(make_recording: MakeRecording) -> Recording:
    return open_recording(make_recording(predictable.tables(), **predictable.metadata()))


def predicted(recording: Recording, **arguments: Any) -> Prediction:
    found: Prediction = sgxlens.predict(recording, PLATFORM, **arguments)
    return found


def test_a_path_and_a_recording_give_the_same(recording: Recording) -> None:
    by_path = sgxlens.predict(str(recording.path), load_platform(PLATFORM))
    assert by_path == predicted(recording)


def test_a_prediction_is_plain_data(recording: Recording) -> None:
    def check(value: object) -> None:
        if isinstance(value, dict):
            for item in value.values():
                check(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                check(item)
        else:
            assert isinstance(value, (str, int, float, type(None))), value

    check(asdict(predicted(recording)))


def test_the_steady_inference_is_the_last_one(recording: Recording) -> None:
    prediction = predicted(recording)
    assert (prediction.steady.phase, prediction.steady.name) == (4, "inference 2")
    assert prediction.steady in prediction.phases
    assert [p.name for p in prediction.phases] == [
        "start",
        "load",
        "warm-up 1",
        "inference 1",
        "inference 2",
    ]


def test_every_phase_adds_up(recording: Recording) -> None:
    for time in predicted(recording).phases:
        whole = pytest.approx(time.added_seconds.likely)
        assert math.fsum(c.added_seconds.likely for c in time.causes) == whole
        assert time.sgx_seconds.likely == pytest.approx(
            time.native.median_seconds + time.added_seconds.likely
        )
        if time.operators:
            native = math.fsum(o.native_seconds or 0 for o in time.operators)
            assert native == pytest.approx(time.native.median_seconds)
            assert math.fsum(o.added_seconds.likely for o in time.operators) == whole


def test_start_up_ends_with_the_first_result(recording: Recording) -> None:
    prediction = predicted(recording)
    startup = prediction.startup
    assert startup.build_seconds.likely > 0
    assert math.fsum(i.added_seconds.likely for i in startup.items) == pytest.approx(
        startup.build_seconds.likely
    )
    assert startup.phases == ("start", "load", "warm-up 1")
    until = prediction.phases[:3]
    assert startup.native_seconds == pytest.approx(sum(p.native.median_seconds for p in until))
    assert startup.inside_seconds.likely == pytest.approx(sum(p.sgx_seconds.likely for p in until))
    assert startup.total_seconds.likely == pytest.approx(
        startup.inside_seconds.likely + startup.build_seconds.likely
    )


def test_a_slower_constant_makes_a_longer_time(recording: Recording) -> None:
    platform = load_platform(PLATFORM)
    slow = platform.compute.slowdown.model_copy(update={"likely": 0.5, "high": 0.5})
    slower = platform.model_copy(
        update={"compute": platform.compute.model_copy(update={"slowdown": slow})}
    )
    before, after = predicted(recording), sgxlens.predict(recording, slower)
    added = (0.5 - platform.compute.slowdown.likely) * before.steady.native.median_seconds
    assert after.steady.sgx_seconds.likely == pytest.approx(
        before.steady.sgx_seconds.likely + added
    )


def test_a_swing_is_what_a_changed_platform_predicts(recording: Recording) -> None:
    platform = load_platform(PLATFORM)
    steady = predicted(recording).steady
    names = [s.name for s in steady.sensitivity if s.name.startswith("platform.")]
    assert "platform.compute.slowdown" in names
    assert len(names) > 3
    for swing in steady.sensitivity:
        if swing.name not in names:
            continue
        for end in ("low", "high"):
            value = getattr(swing.value, end)
            changed = sgxlens.predict(recording, _with(platform, swing.name.split(".")[1:], value))
            expected = getattr(swing, f"{end}_seconds")
            assert changed.steady.sgx_seconds.likely == pytest.approx(expected)


def _with(part: Any, path: list[str], value: float) -> Any:
    """A part of a platform in which the constant at `path` is known to be `value`."""
    if not path:
        return part.model_copy(update={"low": value, "likely": value, "high": value})
    if isinstance(part, ByThreads):
        count = int(path[0])
        return part.model_copy(
            update={"root": part.root | {count: _with(part.root[count], [], value)}}
        )
    return part.model_copy(update={path[0]: _with(getattr(part, path[0]), path[1:], value)})


def test_threads_are_as_recorded_or_as_asked_for(make_recording: MakeRecording) -> None:
    def made(threads: int | None, name: str) -> Recording:
        fields = predictable.metadata(threads)
        return open_recording(make_recording(predictable.tables(), name, **fields))

    four = made(4, "four")
    assert predicted(four).deployment.threads == 4
    assert predicted(four, threads=2, native_seconds=0.1).deployment.threads == 2
    with pytest.raises(UsageError, match="of 4 threads, not of 2"):
        predicted(four, threads=2)
    with pytest.raises(UsageError, match="at least 1"):
        predicted(four, threads=0)
    assert predicted(made(None, "one")).deployment.threads == 1
    tables = predictable.tables()
    for row in tables["contexts"]:
        if row["thread"] == 2:
            row["line_access_count"] = 100
    path = make_recording(tables, "two", **predictable.metadata(None))
    assert sgxlens.predict(path, PLATFORM).deployment.threads == 2


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_a_native_time_that_is_none_is_refused(recording: Recording, seconds: float) -> None:
    with pytest.raises(UsageError, match="more than nothing"):
        predicted(recording, native_seconds=seconds)


def test_several_phases_of_one_name_must_be_told_apart(make_recording: MakeRecording) -> None:
    tables = predictable.tables()
    for row in tables["phases"]:
        row["name"] = row["name"].replace("inference 2", "inference 1")
    path = make_recording(tables, **predictable.metadata())
    with pytest.raises(UsageError, match="give the index of one: 3, 4"):
        sgxlens.predict(path, PLATFORM, phase="inference 1")
    assert sgxlens.predict(path, PLATFORM, phase=3).steady.phase == 3


def test_what_is_not_modelled_follows_from_what_was_recorded(
    make_recording: MakeRecording, metadata: dict[str, Any]
) -> None:
    plain = sgxlens.predict(
        make_recording(predictable.tables(), "plain", **predictable.metadata()), PLATFORM
    )
    text = " ".join(plain.not_modelled)
    assert "Address translation" in text
    assert "processes" not in text
    assert "take turns" not in text
    processes = [metadata["processes"][0] | {"process": n, "pid": 100 + n} for n in (0, 1)]
    path = make_recording(
        predictable.tables(), "many", **predictable.metadata(4), processes=processes
    )
    text = " ".join(sgxlens.predict(path, PLATFORM).not_modelled)
    assert "Other processes: 2 were recorded" in text
    assert "take turns" in text


def test_a_child_that_was_not_recorded_is_told(make_recording: MakeRecording) -> None:
    call = {
        "process": 0, "phase": 1, "thread": 1, "position": 0, "number": 56, "name": "clone",
        "caller": "", **{f"arg{i}": 0 for i in range(6)}, "result": 101,
        "kernel_read_bytes": 0, "kernel_write_bytes": 0, "path": None,
    }  # fmt: skip
    tables = predictable.tables() | {"syscalls": [call], "traps": []}
    path = make_recording(tables, "child", **predictable.metadata())
    assert any("--follow-children" in s for s in sgxlens.predict(path, PLATFORM).not_modelled)
    tables["syscalls"] = [call | {"arg0": 0x10000}]  # a thread
    path = make_recording(tables, "thread", **predictable.metadata())
    assert not any("--follow-children" in s for s in sgxlens.predict(path, PLATFORM).not_modelled)


def test_warnings_tell_what_the_numbers_are_of(make_recording: MakeRecording) -> None:
    outcome = {"status": "interrupted", "exit_code": None, "signal": None, "message": "by you"}
    path = make_recording(predictable.tables(), **predictable.metadata(), outcome=outcome)
    warnings = " ".join(sgxlens.predict(path, PLATFORM).warnings)
    assert "not of a clean run: by you" in warnings
    assert "Native times are of A CPU" in warnings
    given = " ".join(sgxlens.predict(path, PLATFORM, native_seconds=1.0).warnings)
    assert "Native times are of" not in given


def test_the_size_of_the_enclave_is_suggested_or_given(recording: Recording) -> None:
    suggested = predicted(recording).sizing
    assert suggested.enclave_bytes is not None
    assert suggested.enclave_bytes >= suggested.total_bytes.high
    assert suggested.enclave_bytes & (suggested.enclave_bytes - 1) == 0
    assert not suggested.is_given
    assert suggested.committed_bytes == predictable.MAPPING["size_bytes"]
    given = predicted(recording, enclave_size="4G").sizing
    assert (given.enclave_bytes, given.built_bytes, given.is_given) == (4 << 30, 4 << 30, True)
    with pytest.raises(UsageError, match="64 MiB are what it maps; give at least 128 MiB"):
        predicted(recording, enclave_size="64M")
    with pytest.raises(UsageError, match="must be a power of two, such as 256 MiB"):
        predicted(recording, enclave_size="200M")


def test_runtimes_are_named_or_given(recording: Recording) -> None:
    by_name = sgxlens.predict(recording, "xeon-gold-6326", "gramine-edmm")
    assert by_name.deployment.runtime == "gramine-edmm"
    given = sgxlens.predict(recording, "xeon-gold-6326", load_runtime("gramine-edmm"))
    assert by_name == given
    assert by_name.sizing.enclave_bytes is None
    with pytest.raises(UsageError, match="no setting for the size of the enclave"):
        sgxlens.predict(recording, "xeon-gold-6326", "gramine-edmm", enclave_size="1G")
    # Pages that are added when they are mapped are not there to be evicted before.
    assert by_name.sizing.built_bytes < predicted(recording).sizing.built_bytes
    with pytest.raises(UsageError, match="gramine"):
        predicted(recording, runtime="no-such")
    with pytest.raises(UsageError, match="takes SGX2"):
        predicted(recording, runtime="gramine-edmm")


def test_a_tiny_epc_pages_and_more_replicas_page_more(recording: Recording) -> None:
    def loads(**arguments: Any) -> float:
        items = predicted(recording, **arguments).steady.items
        return sum(i.count.likely for i in items if i.cause == "paging")

    assert loads() == 0
    with pytest.raises(UsageError, match="too small for an enclave of 256 MiB"):
        predicted(recording, epc="1M")
    with pytest.raises(UsageError, match="policy 'best'"):
        predicted(recording, policy="best")
    with pytest.raises(UsageError, match="replicas"):
        predicted(recording, replicas=0)


def test_the_epc_for_an_overhead_is_told(recording: Recording) -> None:
    needs = predicted(recording, overheads_percent=[50, 5, 5]).epc
    assert [row.overhead_percent for row in needs.for_overhead] == [5, 50]
    assert needs.for_overhead[0].epc_bytes.likely >= needs.for_overhead[1].epc_bytes.likely
    assert [p.policy for p in needs.policies if p.is_used] == [needs.policy]
    assert needs.footprint_bytes > 0


def test_a_loop_over_the_clock_is_told_where_it_traps(make_recording: MakeRecording) -> None:
    tables = predictable.tables()
    tables["traps"][0]["count"] = 1_000_000
    path = make_recording(tables, **predictable.metadata())
    loops = [s for s in sgxlens.predict(path, PLATFORM).not_modelled if "RDTSC 1.00 M times" in s]
    assert "phase 'inference 2'" in loops[0]
    native = sgxlens.predict(path, "xeon-gold-6326").not_modelled
    assert not any("RDTSC" in s for s in native)


@pytest.mark.parametrize("missing", ["mappings", "contexts", "page_visits"])
def test_a_recording_that_lacks_what_is_needed_is_refused(
    make_recording: MakeRecording, missing: str
) -> None:
    tables = predictable.tables()
    del tables[missing]
    path = make_recording(tables, **predictable.metadata())
    with pytest.raises(RecordingError) as error:
        sgxlens.predict(path, PLATFORM)
    assert "record it again" in error.value.message or "no table" in error.value.message


def test_page_visits_of_contexts_that_there_are_not_are_damage(
    make_recording: MakeRecording,
) -> None:
    path = make_recording(predictable.tables() | {"contexts": []}, **predictable.metadata())
    with pytest.raises(RecordingError, match=r"corrupted: .*a context that there is not"):
        sgxlens.predict(path, PLATFORM)


def test_operators_that_are_not_numbered_from_0_are_damage(make_recording: MakeRecording) -> None:
    tables = predictable.tables()
    tables["operators"][0]["operator"] = (1 << 32) - 1
    path = make_recording(tables, **predictable.metadata())
    with pytest.raises(RecordingError, match=r"operators\.parquet: there is no operator"):
        sgxlens.predict(path, PLATFORM)


def test_a_region_beyond_the_last_address_is_damage(make_recording: MakeRecording) -> None:
    tables = predictable.tables()
    tables["extents"][0]["address"] = (1 << 64) - 1
    path = make_recording(tables, **predictable.metadata())
    with pytest.raises(RecordingError, match="a range beyond the last address"):
        sgxlens.predict(path, PLATFORM)


@pytest.mark.parametrize("name", runtime_names())
def test_every_runtime_predicts(recording: Recording, name: str) -> None:
    prediction = sgxlens.predict(recording, "xeon-gold-6326", name)
    assert prediction.deployment.runtime == name
    assert prediction.steady.slowdown.low >= 1
    assert prediction.startup.build_seconds.likely > 0


def test_what_leaves_the_enclave_is_counted_and_charged_where_it_happens(
    recording: Recording,
) -> None:
    prediction = predicted(recording)
    rows = {row.name: row for row in prediction.exits.rows}
    assert rows["rdtsc"].count == 7
    assert rows["rdtsc"].exceptions.likely == 7
    assert rows["getpid"].count == 3
    leaving = [row for row in prediction.exits.rows if row.ocalls.likely]
    charged = [i for i in prediction.steady.items if i.what.startswith("OCALLs of ")]
    assert {f"OCALLs of {row.name}" for row in leaving} == {item.what for item in charged}
    for item in charged:
        (row,) = (row for row in leaving if item.what == f"OCALLs of {row.name}")
        assert item.count == row.ocalls
    # On SGX2, RDTSC does not trap.
    native = sgxlens.predict(recording, "xeon-gold-6326")
    assert not any(row.exceptions.high for row in native.exits.rows)


def test_what_files_are_decides_what_is_hashed(make_recording: MakeRecording) -> None:
    position = predictable.syscalls()[0]["position"]
    first = {**predictable.syscalls()[0], "position": position - 1}
    calls = [
        first | {"number": 257, "name": "openat", "path": "/no/such/weights.bin", "result": 3},
        first | {"number": 0, "name": "read", "arg0": 3, "arg2": 5000, "result": 5000},
        first | {"number": 3, "name": "close", "arg0": 3, "result": 0},
    ]
    tables = predictable.tables()
    path = make_recording(tables | {"syscalls": calls}, **predictable.metadata())

    def hashed(**kinds: Any) -> list[Range]:
        found = sgxlens.predict(path, PLATFORM, **kinds)
        return [i.count for i in found.steady.items if i.what == "bytes of files hashed"]

    # Twice when it is looked up, and once as it is read; it may be twice as long.
    assert hashed() == hashed(trusted=["/no/**"]) == [Range(15_000, 15_000, 30_000)]
    assert hashed(allowed=["/no/**"]) == []


def test_pages_that_are_new_in_a_repeated_inference_are_likely_growth(
    make_recording: MakeRecording,
) -> None:
    path = make_recording(predictable.tables(), **predictable.metadata())

    def first_loads(phase: str) -> list[Range]:
        # The enclave does not fit, so that pages have left before they are used.
        found = sgxlens.predict(path, PLATFORM, phase=phase, enclave_size="1G")
        return [i.count for i in found.steady.items if i.what == "first page loads"]

    assert [count.likely for count in first_loads("warm-up 1")] == [1]
    assert first_loads("inference 2") == []


@pytest.mark.parametrize(
    ("phase", "platform", "arguments", "load_count"),
    [
        ("warm-up 1", PLATFORM, {"enclave_size": "1G"}, 1),
        ("inference 2", PLATFORM, {"enclave_size": "1G"}, 0),
        ("warm-up 1", "xeon-gold-6326", {"epc": "1G", "enclave_size": "4G"}, 1),
        ("warm-up 1", "xeon-gold-6326", {"epc": "1G", "runtime": "occlum-edmm"}, 0),
    ],
)
def test_the_curve_and_the_policies_say_of_the_platform_what_is_predicted(
    recording: Recording, phase: str, platform: str, arguments: dict[str, Any], load_count: int
) -> None:
    found = sgxlens.predict(recording, platform, phase=phase, **arguments)
    items = found.steady.items
    assert sum(i.count.likely for i in items if i.what.endswith("page loads")) == load_count
    epc = found.epc
    own = [p for p in epc.curve if p.epc_bytes == found.deployment.epc_bytes.likely]
    used = [p for p in epc.policies if p.is_used]
    assert [row.load_count for row in (*own, *used)] == [load_count] * 2
