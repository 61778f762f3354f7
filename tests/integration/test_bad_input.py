# SPDX-License-Identifier: Apache-2.0
"""What can go wrong is told in one line with status 2, and nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import SGXLENS, Done, is_running, orphaned_folders, processes_with, run, wait_until
from recordings import needs_tracer

PATTERN = "sgxlens: error: "
MakeRecording = Callable[..., Path]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, so that messages are short and whatever is written is seen."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _refused(done: Done) -> str:
    """The message of a command that must have failed as all do."""
    assert done.status == 2, done
    assert done.output == b""
    lines = done.errors.splitlines()
    assert len(lines) == 1, done.errors
    assert lines[0].startswith(PATTERN)
    message = lines[0].removeprefix(PATTERN)
    for ugly in ("Traceback", "Error(", "errno", "None", "b'"):
        assert ugly not in message
    return message


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def _elf(bits: int, machine: int) -> bytes:
    identification = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    return identification + struct.pack("<HH", 2, machine) + bytes(100)


def _make(here: Path) -> None:
    """The files that the cases below name."""
    _write(here / "text.onnx", b"This is no model.\n")
    _write(here / "empty.onnx", b"")
    _write(here / "cut.onnx", bytes([8, 7, 58, 200, 1]) + b"x" * 50)
    _write(here / "syntax.py", b"def :\n")
    _write(here / "plain", b"echo x\n")
    _write(here / "no-program", b"just text\n", 0o755)
    _write(here / "windows", b"#!/bin/sh\r\necho\n", 0o755)
    _write(here / "no-interpreter", b"#!/nonexistent/sh\n", 0o755)
    _write(here / "elf32", _elf(32, 3), 0o755)
    _write(here / "elf-arm", _elf(64, 183), 0o755)
    shutil.copy("/bin/true", here / "setuid")
    (here / "setuid").chmod(0o4755)
    (here / "folder").mkdir()
    (here / "taken").mkdir()
    _write(here / "taken/precious", b"mine")
    _write(here / "file", b"mine")


RECORD = [
    ("missing.onnx", "missing.onnx does not exist"),
    ("text.onnx", "text.onnx is not an ONNX model"),
    ("empty.onnx", "empty.onnx is empty, not an ONNX model"),
    ("cut.onnx", "cut.onnx is not an ONNX model, or is cut short"),
    ("--input missing.npz MODEL", "missing.npz"),
    ("--input text.onnx MODEL", "text.onnx"),
    ("--dim n MODEL", "NAME=VALUE"),
    ("--dim wrong=2 MODEL", "wrong"),
    ("--batch 0 MODEL", "--batch"),
    ("--runs x MODEL", "--runs"),
    ("--batch 2 -- true", "--batch: for a model only, which true is not"),
    ("missing.py", "missing.py does not exist"),
    ("syntax.py", "syntax.py is not valid Python"),
    ("-- missing-command", "no command 'missing-command' in PATH"),
    ("-- plain", "run it as ./plain"),
    ("-- ./plain", "plain is not executable: chmod +x"),
    ("-- ./folder", "folder is a folder"),
    ("-- ./no-program", "neither an ELF program nor a script"),
    ("-- ./windows", "Windows line ends"),
    ("-- ./no-interpreter", "/nonexistent/sh"),
    ("-- ./elf32", "32-bit x86 program: only x86-64 is traced"),
    ("-- ./elf-arm", "AArch64: only x86-64 is traced"),
    ("-- ./setuid", "setuid, which no tracer may run"),
    ("-o taken -- true", "taken exists"),
    ("-o taken --force -- true", "taken is not replaced: it is not a recording"),
    ("-o file -- true", "file exists"),
    ("-o no/such/folder -- true", "does not exist"),
    ("-o file/x -- true", "file/x"),
    ("-o / -- true", "/"),
    ("--isa avx512 -- true", "avx512"),
    ("--sampling-rate 2 -- true", "sampling rate"),
    ("--sampling-rate nan -- true", "sampling rate"),
    ("--no-such-option -- true", "--no-such-option"),
    ("", "Missing argument"),
    ("--", "Missing argument"),
]


@pytest.mark.parametrize(("line", "expected"), RECORD)
def test_record_refuses(
    here: Path, line: str, expected: str, make_model: Callable[[], Path]
) -> None:
    _make(here)
    words = line.split()
    if "MODEL" in words:
        words[words.index("MODEL")] = str(make_model())
    before = _everything(here)
    message = _refused(run(SGXLENS, "record", *words))
    assert expected in message
    assert _everything(here) == before


def _everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a model of one node, whose first dimension is dynamic."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def make(operator: str = "Relu", domain: str = "") -> Path:
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [helper.make_node(operator, ["x"], ["y"], domain=domain)],
            "graph",
            [helper.make_tensor_value_info("x", kind, ["rows", 4])],
            [helper.make_tensor_value_info("y", kind, None)],
        )
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("my.own", 1)]
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), str(path))
        return path

    return make


def test_a_dynamic_dimension_must_be_given(here: Path, make_model: Callable[[], Path]) -> None:
    message = _refused(run(SGXLENS, "record", make_model()))
    assert "rows" in message
    assert "--dim" in message
    assert not _everything(here)


def test_an_unknown_operator_is_named(here: Path, make_model: Callable[..., Path]) -> None:
    model = make_model("Frobnicate", "my.own")
    message = _refused(run(SGXLENS, "record", "--dim", "rows=2", model))
    assert "Frobnicate" in message
    assert not _everything(here)


def _damaged(folder: Path, how: str) -> Path:
    file = folder / "recording.json"
    if how == "incomplete":
        file.unlink()
    elif how == "newer":
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "schema_version": 99}))
    elif how == "garbage":
        file.write_bytes(b"\xff\x00{")
    elif how == "cut":
        table = folder / "reuse.parquet"
        table.write_bytes(table.read_bytes()[:-10])
    elif how == "flipped":
        table = folder / "reuse.parquet"
        content = bytearray(table.read_bytes())
        content[len(content) // 2] ^= 1
        table.write_bytes(content)
    elif how == "without a table":
        (folder / "reuse.parquet").unlink()
    return folder


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("incomplete", "not a complete recording"),
        ("newer", "made by a newer sgxlens"),
        ("garbage", "corrupted"),
        ("cut", "corrupted"),
        ("flipped", "corrupted"),
        ("without a table", "incomplete"),
    ],
)
@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_damaged_recording_is_refused(
    here: Path, make_recording: MakeRecording, command: str, how: str, expected: str
) -> None:
    folder = _damaged(make_recording(), how)
    options = ["-o", "replayed"] if command == "replay" else []
    message = _refused(run(SGXLENS, command, *options, folder))
    # A recording that kept no accesses has nothing to replay, whatever its tables hold.
    assert expected in message or (command == "replay" and "kept no accesses" in message)
    assert not _everything(here)


@pytest.mark.parametrize("words", [["missing"], ["."], ["/etc/passwd"], [], ["a", "b"]])
@pytest.mark.parametrize("command", ["show", "replay"])
def test_what_is_no_recording_is_refused(here: Path, command: str, words: list[str]) -> None:
    _refused(run(SGXLENS, command, *words))
    assert not _everything(here)


def test_an_unknown_command_is_refused(here: Path) -> None:
    assert "recrod" in _refused(run(SGXLENS, "recrod", "x"))


# ---- no space ----


def _on_small_disk(here: Path, size: str, *command: str | Path) -> Done:
    """Run `command` where the folder `disk` is a file system of that size; list it at the end."""
    script = (
        f"mount -t tmpfs -o size={size} tmpfs disk || exit 77; "
        '"$@"; status=$?; ls -A disk; exit $status'
    )
    (here / "disk").mkdir()
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    done = run(*namespace, "sh", "-c", script, "sh", *command)
    if done.status == 77 or (done.status == 1 and "unshare" in done.errors):
        pytest.skip("a file system cannot be mounted here")
    return done


@needs_tracer
def test_no_space_for_the_tables(here: Path) -> None:
    message = _refused(_on_small_disk(here, "8k", SGXLENS, "record", "-o", "disk/r", "--", "true"))
    assert "No space left" in message
    assert "choose an output on another disk" in message


@needs_tracer
def test_no_space_for_the_accesses(here: Path, behaviours: Path) -> None:
    start = time.time()
    # The program would never end by itself.
    done = _on_small_disk(
        here,
        "400k",
        *(SGXLENS, "record", "--keep-accesses", "-o", "disk/r", "--", behaviours, "wanders"),
        here,
    )
    message = _refused(done)
    assert "No space left" in message
    wait_until(
        lambda: not [pid for pid in processes_with(str(here)) if is_running(pid)],
        "the program had ended",
    )
    wait_until(lambda: not orphaned_folders(start), "the folder of the session was cleared away")


@needs_tracer
def test_no_space_for_the_ring(here: Path) -> None:
    # A limit on the size of files holds in shared memory, too.
    done = run("sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", SGXLENS, "record", "--", "true")
    message = _refused(done)
    assert "ulimit -f" in message
    assert not _everything(here)
