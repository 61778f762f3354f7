# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sgxlens.errors import RecordingError
from sgxlens.recording import writer as writer_module
from sgxlens.recording.reader import open_recording
from sgxlens.recording.schemas import TABLES
from sgxlens.recording.writer import RecordingWriter

MakeRecording = Callable[..., Path]


def hidden(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name.startswith(".")]


def write_all(writer: RecordingWriter, rows: SimpleNamespace) -> None:
    for name, table in rows.default_tables().items():
        writer.write_table(name, rows.columns(name, table))


def test_a_finished_recording_is_in_place_and_nothing_else(
    make_recording: MakeRecording, tmp_path: Path
) -> None:
    path = make_recording()
    assert path == tmp_path / "recording"
    assert list(tmp_path.iterdir()) == [path]
    open_recording(path).verify()


def test_nothing_is_at_the_path_before_finish_and_nothing_left_after_abort(
    tmp_path: Path, rows: SimpleNamespace
) -> None:
    with RecordingWriter(tmp_path / "r") as writer:
        write_all(writer, rows)
        assert not (tmp_path / "r").exists()
        writer.accesses_path(0).write_bytes(b"stream")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_path_is_refused(tmp_path: Path) -> None:
    for kind in ("file", "folder", "link"):
        path = tmp_path / kind
        if kind == "file":
            path.write_text("mine")
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("nowhere")
        with pytest.raises(RecordingError, match="exists: choose another output or give --force"):
            RecordingWriter(path)
    assert hidden(tmp_path) == []


def test_force_replaces_a_recording(make_recording: MakeRecording, tmp_path: Path) -> None:
    make_recording(elapsed_seconds=1.0)
    path = make_recording(elapsed_seconds=2.0, force=True)
    assert open_recording(path).metadata.elapsed_seconds == 2.0
    assert list(tmp_path.iterdir()) == [path]


def test_force_replaces_where_the_file_system_cannot_exchange(
    make_recording: MakeRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_renameat2", lambda *_: False)
    make_recording(elapsed_seconds=1.0)
    path = make_recording(elapsed_seconds=2.0, force=True)
    assert open_recording(path).metadata.elapsed_seconds == 2.0
    assert list(tmp_path.iterdir()) == [path]


def test_force_keeps_the_old_recording_until_the_new_one_is_whole(
    make_recording: MakeRecording, tmp_path: Path, rows: SimpleNamespace
) -> None:
    path = make_recording(elapsed_seconds=1.0)
    with RecordingWriter(path, force=True) as writer:
        write_all(writer, rows)
    assert open_recording(path).metadata.elapsed_seconds == 1.0
    assert list(tmp_path.iterdir()) == [path]


def test_force_never_deletes_what_is_no_recording(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recording.json").write_text('{"schema": "something else"}')
    for name in ("photos", "file", "link", "other"):
        with pytest.raises(RecordingError, match="is not replaced"):
            RecordingWriter(tmp_path / name, force=True)
    assert (folder / "cat.jpg").read_bytes() == b"cat"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("name", ["notes.txt", "accesses/notes.txt"])
def test_force_never_deletes_a_users_file_in_a_recording(
    make_recording: MakeRecording, name: str
) -> None:
    path = make_recording()
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text("mine")
    with pytest.raises(RecordingError, match=f"holds '{name}', which sgxlens did not write"):
        RecordingWriter(path, force=True)
    assert (path / name).read_text() == "mine"


def test_force_replaces_a_damaged_recording(make_recording: MakeRecording) -> None:
    path = make_recording()
    (path / "reuse.parquet").unlink()
    open_recording(make_recording(force=True)).verify()


@pytest.mark.parametrize("force", [False, True])
def test_a_path_taken_meanwhile_loses_neither(
    tmp_path: Path, rows: SimpleNamespace, metadata: dict[str, Any], force: bool
) -> None:
    path = tmp_path / "r"
    with RecordingWriter(path, force=force) as writer:
        write_all(writer, rows)
        path.mkdir()
        (path / "cat.jpg").write_bytes(b"cat")
        with pytest.raises(RecordingError, match="the new recording is kept in") as caught:
            writer.finish(metadata)
    assert (path / "cat.jpg").read_bytes() == b"cat"
    kept = Path(caught.value.message.rsplit(" ", 1)[1])
    open_recording(kept).verify()
    assert hidden(tmp_path) == []


def test_a_missing_or_readonly_parent_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="the folder that should hold it does not exist"):
        RecordingWriter(tmp_path / "no" / "r")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="Not a directory"):
        RecordingWriter(tmp_path / "file" / "r")
    with pytest.raises(RecordingError, match="cannot be the name"):
        RecordingWriter(tmp_path / "..")
    with pytest.raises(RecordingError, match="cannot be the name"):
        RecordingWriter(tmp_path / "a\0b")
    with pytest.raises(RecordingError, match="File name too long"):
        RecordingWriter(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RecordingError, match="Permission denied"):
        RecordingWriter(tmp_path / "r")


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, rows: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_full(_self: Path, _mode: str) -> Any:
        return open("/dev/full", "wb")

    with RecordingWriter(tmp_path / "r") as writer:
        monkeypatch.setattr(Path, "open", open_full)
        with pytest.raises(RecordingError, match="No space left on device: free some") as caught:
            write_all(writer, rows)
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    small_disk: Path, rows: SimpleNamespace, metadata: dict[str, Any]
) -> None:
    with RecordingWriter(small_disk / "r") as writer:
        write_all(writer, rows)
        with pytest.raises(RecordingError, match="No space left on device"):
            writer.finish(metadata | {"notes": ["x" * 20_000]})
    assert list(small_disk.iterdir()) == []


def test_a_kill_leaves_no_recording(tmp_path: Path) -> None:
    program = f"""
import os, signal
from sgxlens.recording.writer import RecordingWriter
writer = RecordingWriter({str(tmp_path / "r")!r})
writer.write_table("signals", dict(process=[], thread=[], position=[], signal=[], name=[]))
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", program], check=False)
    assert result.returncode == -9
    assert not (tmp_path / "r").exists()
    (left,) = tmp_path.iterdir()
    with pytest.raises(RecordingError, match="not a complete recording"):
        open_recording(left)


def test_finish_wants_the_required_tables_and_right_metadata(
    tmp_path: Path, rows: SimpleNamespace, metadata: dict[str, Any]
) -> None:
    with RecordingWriter(tmp_path / "r") as writer:
        with pytest.raises(ValueError, match="tables not written: phases, reuse, footprints"):
            writer.finish(metadata)
        write_all(writer, rows)
        with pytest.raises(ValueError, match=r"outcome.status"):
            writer.finish(metadata | {"outcome": metadata["outcome"] | {"status": "gone"}})
        with pytest.raises(ValueError, match="colour"):
            writer.finish(metadata | {"colour": "red"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": [-1]}, "signal: .*negative"),
        ({"signal": [1.5]}, "signal: integers expected"),
        ({"signal": np.array([1.0])}, "signal: integers expected, not float64"),
        ({"signal": np.array([1 << 40])}, "signal: .*not in range"),
        ({"signal": [None]}, "signal: null is not allowed"),
        ({"name": [3]}, "name: text expected, not int"),
        ({"name": ["a", "b"]}, "columns differ in length"),
        ({"colour": [1]}, "unknown columns"),
    ],
)
def test_wrong_columns_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"process": [0], "thread": [1], "position": [2], "signal": [15], "name": ["SIGTERM"]}
    with RecordingWriter(tmp_path / "r") as writer:
        with pytest.raises(ValueError, match=message):
            writer.write_table("signals", good | change)
        writer.write_table("signals", good)
        with pytest.raises(ValueError, match="written already"):
            writer.write_table("signals", good)
        with pytest.raises(ValueError, match="no table is called"):
            writer.write_table("colours", good)


def test_values_outside_the_vocabulary_are_refused(tmp_path: Path, rows: SimpleNamespace) -> None:
    bad = rows.columns("reuse", [rows.reuse(0, "word", "load", (0, 0), 1)])
    with (
        RecordingWriter(tmp_path / "r") as writer,
        pytest.raises(ValueError, match=r"reuse\.granularity: unknown values \['word'\]"),
    ):
        writer.write_table("reuse", bad)


def test_names_that_are_no_utf8_are_kept_readable(
    make_recording: MakeRecording, rows: SimpleNamespace
) -> None:
    phases = [rows.phase(0, b"caf\xe9".decode("utf-8", "surrogateescape"), 0, 1)]
    path = make_recording({"phases": phases}, command=["/tmp/\udcff"])  # noqa: S108
    recording = open_recording(path)
    assert recording.phases[0].name == "caf\\xe9"
    assert recording.metadata.command == ["/tmp/\\xff"]  # noqa: S108


def test_columns_are_encoded_as_declared(tmp_path: Path) -> None:
    count = 50_000
    number = np.arange(count, dtype=np.uint64)
    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {
        "process": number * 0,
        "context": number // 1000,
        "position": number * 1000 + rng.integers(0, 1000, count).astype(np.uint64),
        "page": rng.integers(1 << 30, 1 << 35, count),
        "access": ["load", "store"] * (count // 2),
        "written": [False, True] * (count // 2),
        "ended": rng.integers(1, 1 << 20, count),
        "idle": rng.integers(1, 1 << 20, count),
    }
    with RecordingWriter(tmp_path / "r") as writer:
        writer.write_table("page_visits", columns)
        path = writer.folder / TABLES["page_visits"].file_name
        group = pq.ParquetFile(path).metadata.row_group(0)
        table = pq.read_table(path)
    sizes = {}
    for index, column in enumerate(TABLES["page_visits"].columns):
        chunk = group.column(index)
        expected = column.encoding or ("PLAIN" if column.name == "written" else "RLE_DICTIONARY")
        assert expected in chunk.encodings, column.name
        assert ("RLE_DICTIONARY" in chunk.encodings) == (expected == "RLE_DICTIONARY"), column.name
        sizes[column.name] = chunk.total_compressed_size / count
    # Steps below 2,000 instead of numbers up to 50,000,000.
    assert sizes["position"] < 2
    assert table["position"].to_numpy().tolist() == columns["position"].tolist()


def test_coded_columns_are_read_as_their_values(tmp_path: Path) -> None:
    """Texts and numbers may be given as numbers of a dictionary; null stays null."""
    bins = pa.array([1, None, 0, 1], type=pa.uint16())
    columns = {
        "process": np.zeros(4, dtype=np.uint32),
        "phase": np.zeros(4, dtype=np.uint32),
        "granularity": pa.DictionaryArray.from_arrays(pa.array([0, 0, 1, 1]), ["line", "page"]),
        "access": pa.DictionaryArray.from_arrays(pa.array([0, 0, 0, 0]), ["load"]),
        "distance_min": pa.DictionaryArray.from_arrays(bins, pa.array([0, 1 << 63], pa.uint64())),
        # Of another type than the column.
        "distance_max": pa.DictionaryArray.from_arrays(bins, pa.array([7, 9], pa.int8())),
        "count": np.ones(4, dtype=np.uint64),
    }
    with RecordingWriter(tmp_path / "r") as writer:
        writer.write_table("reuse", columns)
        table = pq.read_table(writer.folder / "reuse.parquet")
        assert table.schema.equals(TABLES["reuse"].schema)
        assert table["granularity"].to_pylist() == ["line", "line", "page", "page"]
        assert table["distance_min"].to_pylist() == [1 << 63, None, 0, 1 << 63]
        assert table["distance_max"].to_pylist() == [9, None, 7, 9]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("access", ["load", "look"], "unknown values .'look'."),
        ("access", ["load", None], "null is not allowed"),
    ],
)
def test_coded_values_that_do_not_belong_are_refused(
    tmp_path: Path, column: str, values: list[str | None], message: str
) -> None:
    count = len(values)
    columns = {
        "process": np.zeros(count, dtype=np.uint32),
        "phase": np.zeros(count, dtype=np.uint32),
        "granularity": ["line"] * count,
        "access": ["load"] * count,
        "distance_min": np.zeros(count, dtype=np.uint64),
        "distance_max": np.zeros(count, dtype=np.uint64),
        "count": np.ones(count, dtype=np.uint64),
        column: pa.DictionaryArray.from_arrays(pa.array(range(count)), values),
    }
    with (
        RecordingWriter(tmp_path / "r") as writer,
        pytest.raises(ValueError, match=f"reuse.{column}: {message}"),
    ):
        writer.write_table("reuse", columns)
