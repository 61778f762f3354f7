# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S108 -- paths of the recorded program
from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
import pytest

import predictable
import sgxlens
from sgxlens.configuration.linting.keys import visited
from sgxlens.configuration.program import mounted_folders
from sgxlens.configuration.reading.read import parsed_document
from sgxlens.configuration.reading.template import plain
from sgxlens.configuration.values import size_text, toml_string

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MakeRecording = Callable[..., Path]
GRAMINE = PurePosixPath("/usr/lib/x86_64-linux-gnu/gramine")
AT_FDCWD = -100 & (1 << 64) - 1
READ, WRITE = 0, 0o102


def opened(path: str, flags: int = READ, result: int = 3, **fields: Any) -> dict[str, Any]:
    """A call that opens a file while the model is loaded."""
    (row, *_) = predictable.syscalls(1)
    call = {"name": "openat", "number": 257, "path": path, "result": result}
    return {**row, "phase": 1, "position": 10, "arg0": AT_FDCWD, "arg2": flags, **call, **fields}


CALLS = [
    opened("/opt/net/model.onnx"),
    opened("/opt/net/missing.onnx", result=-2),
    opened("/lib/x86_64-linux-gnu/libc.so.6"),
    opened("/lib/x86_64-linux-gnu/libz.so.1"),
    opened("/tmp/venv/lib/module.py"),
    opened("/tmp/scratch", WRITE),
    opened("/var/log/net.log", WRITE),
    opened("/tmp/sgxlens-abc/profile.json", WRITE),
    opened('/opt/{{ evil }} "{% x %}" \x7f.bin'),
    {**opened(""), "name": "eventfd2", "number": 290, "path": None, "arg0": 0},
]


@pytest.fixture
def path(make_recording: MakeRecording) -> Path:
    tables = {**predictable.tables(), "syscalls": CALLS}
    return make_recording(tables, **predictable.metadata())


def parsed(path: Path, runtime: str = "gramine", **settings: Any) -> dict[str, Any]:
    """A manifest for Gramine, which must be as ``gramine-manifest`` takes it.

    That renders it by Jinja, where a variable that is not known is an error, and looks at keys and
    types; what it does not say of them, `sgxlens.lint` does.
    """
    text = sgxlens.manifest(path, runtime, **settings).text
    environment = jinja2.Environment(  # noqa: S701 - as Gramine's: it makes no HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    rendered = environment.from_string(text).render(
        gramine={"libos": GRAMINE / "libsysdb.so", "runtimedir": lambda: GRAMINE / "runtime/glibc"},
        arch_libdir="/lib/x86_64-linux-gnu",
    )
    document = parsed_document("gramine", rendered, plain(rendered), "app.manifest")
    for one in visited(document):
        assert one.key is not None, one
        assert not one.wanted, one
        assert one.key.problem(one.value) is None, one
    assert {"fs", "libos", "loader", "sgx"} <= document.values.keys()
    return document.values


def test_sizes_are_those_that_were_predicted(path: Path) -> None:
    found = parsed(path)
    sizing = sgxlens.predict(path, "xeon-e-2288g").sizing
    assert found["sgx"]["enclave_size"] == size_text(sizing.enclave_bytes)
    size = int(found["sgx"]["enclave_size"].removesuffix("M"))
    assert size & (size - 1) == 0
    assert found["sgx"]["max_threads"] == sizing.max_threads >= 4
    assert found["sgx"]["debug"] is False


def test_files_are_listed_by_what_is_done_with_them(path: Path) -> None:
    found = parsed(path)
    trusted = found["sgx"]["trusted_files"]
    assert trusted[:2] == [f"file:{GRAMINE}/libsysdb.so", f"file:{GRAMINE}/runtime/glibc/"]
    assert "file:/opt/net/model.onnx" in trusted
    assert 'file:/opt/{{ evil }} "{% x %}" \x7f.bin' in trusted
    assert "file:/usr/bin/python3" in trusted
    # The C library is Gramine's own, and what is not there cannot be hashed.
    assert not [uri for uri in trusted if "libc.so" in uri or "missing" in uri]
    assert found["sgx"]["allowed_files"] == ["file:/var/log/net.log"]
    mounts = [(mount.get("type"), mount["path"]) for mount in found["fs"]["mounts"]]
    assert mounts.index(("tmpfs", "/tmp")) < mounts.index((None, "/tmp/venv"))
    assert (None, "/opt") in mounts
    assert "sgxlens-abc" not in sgxlens.manifest(path).text
    assert found["sys"]["insecure__allow_eventfd"] is True


def test_the_user_says_what_files_are(path: Path) -> None:
    found = parsed(path, encrypted=("/opt/net/**",), allowed=("/tmp/venv/**",))
    assert {"type": "encrypted", "path": "/opt/net/model.onnx"}.items() <= next(
        mount for mount in found["fs"]["mounts"] if mount.get("type") == "encrypted"
    ).items()
    assert "file:/tmp/venv/lib/module.py" in found["sgx"]["allowed_files"]


def test_the_program_is_started_as_recorded(path: Path) -> None:
    found = parsed(path)
    assert found["libos"]["entrypoint"] == "/usr/bin/python3"
    assert found["loader"]["argv"] == ["python3", "model.py"]
    assert found["loader"]["entrypoint"] == {"uri": f"file:{GRAMINE}/libsysdb.so"}


def test_every_value_has_its_reason(path: Path) -> None:
    lines = sgxlens.manifest(path).text.splitlines()
    for key in ("sgx.enclave_size", "sgx.max_threads", "sgx.debug", "loader.env.OMP_NUM_THREADS"):
        (line,) = [line for line in lines if line.startswith(key)]
        assert re.search(r" # \w+", line), line


def test_variables_that_were_set_are_set(make_recording: MakeRecording) -> None:
    set_ones = {"OMP_NUM_THREADS": "3", "a.b": '"', "SGXLENS_MARK_PHASES": "1"}
    target = {"kind": "command", "program": "/usr/bin/python3", "environment": set_ones}
    made = make_recording(
        {**predictable.tables(), "syscalls": CALLS}, **predictable.metadata(), target=target
    )
    environment = parsed(made)["loader"]["env"]
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["a.b"] == '"'
    assert "SGXLENS_MARK_PHASES" not in environment
    occlum = json.loads(sgxlens.manifest(made, "occlum").text)["env"]["default"]
    assert "OMP_NUM_THREADS=3" in occlum


def test_of_a_model_the_script_is_to_be_given(make_recording: MakeRecording) -> None:
    fields = {**predictable.metadata(), "target": {"kind": "onnx", "model": "/m.onnx"}}
    path = make_recording({**predictable.tables(), "syscalls": CALLS}, **fields)
    assert parsed(path)["loader"]["argv"] == ["python3", "/PATH/TO/SCRIPT.py"]


def test_variants_of_gramine(path: Path) -> None:
    dynamic = parsed(path, "gramine-edmm")["sgx"]
    assert dynamic["edmm_enable"] is True
    assert dynamic["max_threads"] >= 4
    assert "enclave_size" not in dynamic
    assert parsed(path, "gramine-exitless")["sgx"]["insecure__rpc_thread_num"] >= 1


@pytest.mark.parametrize(("runtime", "is_dynamic"), [("occlum", False), ("occlum-edmm", True)])
def test_occlum_gets_json_and_reasons_beside_it(path: Path, runtime: str, is_dynamic: bool) -> None:
    found = sgxlens.manifest(path, runtime)
    content = json.loads(found.text)
    limits = content["resource_limits"]
    assert limits.keys() <= {"user_space_size", "user_space_max_size", "max_num_of_threads"}
    size = limits["user_space_max_size" if is_dynamic else "user_space_size"]
    assert int(size.removesuffix("MB")) >= 64
    assert content["feature"] == {"enable_edmm": is_dynamic}
    assert content["entry_points"] == ["/usr/bin"]
    assert "OMP_NUM_THREADS=1" in content["env"]["default"]
    assert any(reason.startswith("resource_limits.user_space") for reason in found.reasons)
    assert any("/var/log/net.log" in reason for reason in found.reasons)


def test_what_makes_no_sense_is_refused(path: Path, make_recording: MakeRecording) -> None:
    with pytest.raises(sgxlens.UsageError, match="no configuration is known for"):
        sgxlens.manifest(path, "sdk")
    with pytest.raises(sgxlens.UsageError, match="no runtime is called 'graphene'"):
        sgxlens.manifest(path, "graphene")
    without = predictable.tables()
    del without["syscalls"]
    other = make_recording(without, "other", **predictable.metadata())
    with pytest.raises(sgxlens.RecordingError, match="has no table syscalls"):
        sgxlens.manifest(other)


@pytest.mark.parametrize("text", ['a "quoted" \\ path', "{{ x }}{% y %}{# z #}", "\n\x00\x7f", "ü"])
def test_any_text_comes_out_of_toml_as_it_was(text: str) -> None:
    line = toml_string(text)
    assert tomllib.loads(f"key = {line}") == {"key": text}
    assert not re.search(r"\{[{%#]", line)


def test_folders_are_mounted_no_deeper_than_they_must() -> None:
    paths = ["/usr/lib/a", "/usr/bin/b", "/tmp/x/y/z", "/tmp/file", "/top"]
    assert mounted_folders(paths) == ["/tmp/file", "/tmp/x", "/top", "/usr"]


def test_sizes_are_written_in_the_largest_unit() -> None:
    assert [size_text(n) for n in (1 << 30, 3 << 20, 5 << 10, 7)] == ["1G", "3M", "5K", "7"]
