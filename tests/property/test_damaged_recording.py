# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to a recording's bytes, it is refused or it says the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sgxlens.errors import RecordingError
from sgxlens.recording import metadata as metadata_module
from sgxlens.recording.reader import Recording, open_recording

MakeRecording = Callable[..., Path]

# Each example writes its damage over the same folder and takes it back, so one fixture serves all.
FUZZ = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    kind = draw(st.sampled_from(["flip", "cut", "insert", "zero", "swap"]))
    where = draw(st.floats(0, 1, exclude_max=True))
    length = draw(st.integers(1, 16))
    value = draw(st.integers(1, 255))

    def apply(content: bytes) -> bytes:
        at = int(where * len(content))
        if kind == "flip":
            return content[:at] + bytes([content[at] ^ value]) + content[at + 1 :]
        if kind == "cut":
            return content[:at]
        if kind == "insert":
            return content[:at] + bytes([value]) * length + content[at:]
        if kind == "zero":
            return content[:at] + bytes(length) + content[at + length :]
        return content[at:] + content[:at]

    return apply


def content_of(recording: Recording) -> tuple[object, dict[str, pa.Table]]:
    recording.verify()
    tables = {name: recording.table(name) for name in recording.metadata.tables}
    return recording.metadata, tables


def read_damaged(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    before = content_of(open_recording(path))
    file = path / name
    original = file.read_bytes()
    try:
        file.write_bytes(change(original))
        try:
            after = content_of(open_recording(path))
        except RecordingError as error:
            assert "\n" not in error.message  # noqa: PT017
            return
        assert after == before
    finally:
        file.write_bytes(original)


@FUZZ
@given(change=damage())
def test_damaged_metadata(make_recording: MakeRecording, change: Callable[[bytes], bytes]) -> None:
    path = make_recording(force=True)
    read_damaged(path, "recording.json", change)


@FUZZ
@given(change=damage(), name=st.sampled_from(["phases", "reuse", "footprints"]))
def test_damaged_tables(
    make_recording: MakeRecording, change: Callable[[bytes], bytes], name: str
) -> None:
    path = make_recording(force=True)
    read_damaged(path, f"{name}.parquet", change)


def column_renamed(content: bytes) -> bytes:
    return content.replace(b"granularity", b"granularitz")


@FUZZ
@given(change=damage(), name=st.sampled_from(["phases", "reuse", "footprints"]))
@example(change=column_renamed, name="reuse")
def test_tables_damaged_by_someone_who_mends_the_checksums(
    make_recording: MakeRecording, change: Callable[[bytes], bytes], name: str, tmp_path: Path
) -> None:
    """Such a table may say anything, but what it says has the right form, or is refused."""
    path = tmp_path / "forged"
    shutil.rmtree(path, ignore_errors=True)
    make_recording(name="forged")
    file = path / f"{name}.parquet"
    file.write_bytes(change(file.read_bytes()))
    content = json.loads((path / "recording.json").read_text())
    content["tables"][name] |= {
        "size_bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    del content["checksum"]
    content["checksum"] = metadata_module._checksum(content)
    (path / "recording.json").write_text(json.dumps(content))
    try:
        recording = open_recording(path)
        recording.verify()
        _ = recording.phases, recording.reuse(), recording.footprint_blocks()
    except RecordingError as error:
        assert "\n" not in error.message  # noqa: PT017
