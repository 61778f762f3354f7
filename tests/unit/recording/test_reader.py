# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.format import SCHEMA_VERSION
from sgxlens.recording.read_ahead import read_ahead
from sgxlens.recording.reader import open_recording
from sgxlens.reuse.histogram import ReuseHistogram

MakeRecording = Callable[..., Path]


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the metadata as someone with an editor would."""
    file = path / "recording.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_what_was_written_is_read(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    assert recording.metadata.command == ["python3", "model.py"]
    assert [p.name for p in recording.phases] == ["start", "inference 1", "inference 2"]
    assert recording.phases[1].line_access_count == 200
    assert recording.phases[1].elapsed_seconds == 200e-6
    assert recording.has_table("reuse")
    assert not recording.has_table("syscalls")
    with pytest.raises(RecordingError, match="has no table syscalls: it was not recorded"):
        recording.table("syscalls")
    with pytest.raises(UsageError, match="no table is called 'colours'"):
        recording.table("colours")
    assert "1 processes, 1,000 line accesses, exited" in repr(recording)


def test_columns_are_those_of_the_table(make_recording: MakeRecording) -> None:
    path = make_recording()
    table = open_recording(path).table("reuse")
    recording = open_recording(path)
    for names in (["granularity"], ["count", "granularity"], table.column_names):
        some = recording.columns("reuse", names)
        assert pa.types.is_dictionary(some["granularity"].type)
        assert some.to_pylist() == table.select(names).to_pylist()
    replaced = recording.with_tables(reuse=table.slice(1))
    assert replaced.columns("reuse", ["count"]).equals(table.select(["count"]).slice(1))
    assert replaced.columns("phases", ["name"]).equals(recording.columns("phases", ["name"]))


def test_parquet_opens_by_itself(make_recording: MakeRecording) -> None:
    table = pq.read_table(make_recording() / "reuse.parquet")
    assert table.column_names[:3] == ["process", "phase", "granularity"]


def test_histograms_select_and_sum(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    assert recording.reuse(phase=1) == ReuseHistogram(
        [0, 64, 4096], [0, 67, 4351], [100, 51, 7], 10, 64
    )
    assert recording.reuse(phase="inference 2", access="load").total == 162
    assert recording.reuse(phase=1, access=["load", "fetch"]) == recording.reuse(phase=1)
    assert recording.reuse("page").block_bytes == 4096
    assert recording.reuse().total == sum(recording.reuse(phase=i).total for i in range(3))
    assert recording.reuse(access="store") == ReuseHistogram.empty(64)


def test_phases_of_one_name_are_summed_but_their_footprints_are_not(
    make_recording: MakeRecording, rows: SimpleNamespace
) -> None:
    phases = [rows.phase(i, "run", i, i + 1) for i in range(3)]
    recording = open_recording(make_recording({"phases": phases}))
    assert recording.reuse(phase="run") == recording.reuse()
    with pytest.raises(UsageError, match="3 phases are called 'run': give the index"):
        recording.footprint_blocks(phase="run")


def test_a_phase_is_chosen_by_name_or_by_index_also_as_text(
    make_recording: MakeRecording, rows: SimpleNamespace
) -> None:
    phases = [rows.phase(i, name, i, i + 1) for i, name in enumerate(["run", "2", "rest"])]
    recording = open_recording(make_recording({"phases": phases}))

    def chosen(phase: int | str) -> list[int]:
        return [one.index for one in recording.select_phases(phase)]

    assert chosen("0") == chosen(0) == chosen("run") == [0]
    assert chosen("2") == [1]  # a name before an index
    assert chosen(2) == [2]
    with pytest.raises(UsageError, match="no phase 7: there are"):
        recording.select_phases("7")


def test_processes_are_told_apart(make_recording: MakeRecording, rows: SimpleNamespace) -> None:
    tables = {
        "phases": [rows.phase(0, "start", 0, 5, process=p) for p in (0, 1)],
        "reuse": [rows.reuse(0, "line", "load", (0, 0), 5 + p, process=p) for p in (0, 1)],
        "footprints": [
            rows.footprint(phase, "line", "any", 5, 7 + p, process=p)
            for p in (0, 1)
            for phase in (0, None)
        ],
    }
    recording = open_recording(make_recording(tables))
    assert recording.reuse(phase=0).total == 11
    assert recording.reuse(phase=0, process=1).total == 6
    assert recording.reuse(process=0).total == 5
    assert recording.footprint_blocks() == 15
    assert recording.footprint_blocks(phase="start", process=1) == 8


def test_footprints(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    assert recording.footprint_blocks() == 90
    assert recording.footprint_blocks("page", phase=1) == 44
    assert recording.footprint_blocks(phase="inference 1", access="fetch") == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"granularity": "word"}, "no granularity 'word': there is line, page"),
        ({"access": "read"}, "no access class 'read'"),
        ({"access": ["load", "any"]}, "no access class 'any'"),
        ({"phase": 7}, r"no phase 7: there are 0 \(start\), 1 \(inference 1\)"),
        ({"phase": "nope"}, "no phase 'nope'"),
        ({"process": 3}, "no process 3: there is 0"),
        ({"process": 1 << 70}, "no process"),
    ],
)
def test_unknown_selections_say_what_there_is(
    make_recording: MakeRecording, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        open_recording(make_recording()).reuse(**arguments)


def test_what_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="does not exist"):
        open_recording(tmp_path / "nope")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="is not a folder"):
        open_recording(tmp_path / "file")
    with pytest.raises(RecordingError, match=r"it has no recording.json, which is written last"):
        open_recording(tmp_path)
    (tmp_path / "recording.json").write_text("{}")
    with pytest.raises(RecordingError, match="is not a sgxlens recording"):
        open_recording(tmp_path)
    with pytest.raises(RecordingError):
        open_recording(tmp_path / "\0")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800", '{"a": 1' + "0" * 5000 + "}"])
def test_metadata_that_is_no_json(make_recording: MakeRecording, text: str) -> None:
    path = make_recording()
    (path / "recording.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RecordingError, match="is corrupted"):
        open_recording(path)


def test_a_newer_version_is_refused(make_recording: MakeRecording) -> None:
    path = make_recording()
    edit(path, lambda content: content.update(schema_version=SCHEMA_VERSION + 1, new_field=1))
    with pytest.raises(
        RecordingError,
        match=rf"version {SCHEMA_VERSION + 1}; this one reads up to {SCHEMA_VERSION}\): upgrade",
    ):
        open_recording(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("schema_version"), "schema_version is missing"),
        (lambda c: c.update(schema_version=True), "schema_version is missing"),
        (lambda c: c["host"].pop("cores"), "host.cores: this field is missing"),
        (lambda c: c["host"].update(cores="many"), "host.cores: Input should be a valid integer"),
        (lambda c: c["outcome"].update(status="fine"), "outcome.status: Input should be"),
        (lambda c: c["processes"][0].update(pid=None), "processes.0.pid: Input should be"),
        (lambda c: c.update(extra=1), "extra: there is no such field"),
        (lambda c: c.update(elapsed_seconds=99.0), "was changed after it was written"),
        (lambda c: c["tables"].pop("reuse"), "was changed|lists no table"),
    ],
)
def test_metadata_that_was_damaged_names_the_field(
    make_recording: MakeRecording, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = make_recording()
    edit(path, change)
    with pytest.raises(RecordingError, match=message) as caught:
        open_recording(path)
    assert "\n" not in caught.value.message


def test_damaged_tables_are_refused(make_recording: MakeRecording) -> None:
    path = make_recording()
    file = path / "reuse.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(RecordingError, match=r"reuse.parquet has \d+ bytes instead of \d+"):
        open_recording(path)
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    file.write_bytes(changed)
    recording = open_recording(path)
    with pytest.raises(RecordingError, match=r"reuse.parquet was changed after it was written"):
        recording.reuse()
    with pytest.raises(RecordingError, match=r"reuse.parquet was changed"):
        recording.verify()
    file.unlink()
    with pytest.raises(RecordingError, match=r"incomplete: reuse.parquet is missing"):
        open_recording(path)
    file.mkdir()
    with pytest.raises(RecordingError, match=r"reuse.parquet"):
        open_recording(path).verify()


def test_histograms_that_make_no_sense_are_refused(
    make_recording: MakeRecording, rows: SimpleNamespace
) -> None:
    overlap = [rows.reuse(0, "line", "load", b, 1) for b in ((0, 9), (5, 12))]
    with pytest.raises(RecordingError, match=r"reuse.parquet: bins overlap"):
        open_recording(make_recording({"reuse": overlap})).reuse()
    phases = [rows.phase(0, "start", 3, 9) | {"start_position": 10}]
    recording = open_recording(make_recording({"phases": phases}, name="second"))
    with pytest.raises(RecordingError, match="phase 0 ends before it starts"):
        _ = recording.phases


def test_tables_can_be_replaced_and_the_others_are_read_once(
    make_recording: MakeRecording, rows: SimpleNamespace
) -> None:
    original = open_recording(make_recording())
    phases = original.table("phases")
    changed = original.with_tables(phases=phases.slice(0, 1))
    assert len(changed.phases) == 1
    assert original.table("phases") is phases
    assert changed.table("reuse") is original.table("reuse")
    again = changed.with_tables(footprints=changed.table("footprints").slice(0, 0))
    assert len(again.phases) == 1
    made = [
        again.derived("of reuse", lambda: "again", ("reuse",)),
        original.derived("of reuse", lambda: "original"),
        again.derived("of phases", lambda: "again", ("reuse", "phases")),
        changed.derived("of phases", lambda: "changed"),
        original.derived("of phases", lambda: "original"),
        again.derived("of any", lambda: "again"),
        changed.derived("of any", lambda: "changed"),
    ]
    assert made == [*("again", "again", "again", "again", "original"), *("again", "changed")]
    with pytest.raises(UsageError, match="table reuse is not one that can be replaced"):
        original.with_tables(reuse=phases)


def test_what_is_forgotten_is_made_and_read_again(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording())
    changed = recording.with_tables(footprints=recording.table("footprints").slice(0, 0))
    made = [one.derived("made", object) for one in (recording, changed)]
    phases = recording.table("phases")
    recording.forget()
    again = [one.derived("made", object) for one in (recording, changed)]
    assert not any(old is new for old, new in zip(made, again, strict=True))
    assert recording.table("phases").equals(phases)
    assert recording.table("phases") is not phases
    assert changed.table("footprints").num_rows == 0


def test_columns_are_the_same_where_they_are_read_ahead(make_recording: MakeRecording) -> None:
    folder = make_recording()
    ahead = open_recording(folder)
    read_ahead(ahead, {"reuse": ["count", "access"], "page_visits": ["page"], "phases": ["name"]})
    for table, columns in (("reuse", ["distance_min", "count"]), ("phases", ["name", "phase"])):
        assert ahead.columns(table, columns).equals(open_recording(folder).columns(table, columns))


def test_damage_that_is_met_ahead_is_told_when_it_is_asked_for(
    make_recording: MakeRecording, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_recording()
    file = folder / "reuse.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    damaged = open_recording(folder)
    read_ahead(damaged, {"reuse": ["count"], "phases": ["name"]})
    assert damaged.columns("phases", ["name"]).num_rows
    with pytest.raises(RecordingError, match=r"reuse\.parquet was changed"):
        damaged.columns("reuse", ["count"])
    assert capfd.readouterr().err == ""
