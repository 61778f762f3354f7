# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S108 -- paths of the recorded program
from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import predictable
import sgxlens
from sgxlens import extensions
from sgxlens.configuration.linting.registry import BUILT_IN, GROUP, Check
from sgxlens.enclave.platform import load_platform

MakeRecording = Callable[..., Path]
CLEAN = sorted((Path(__file__).parent / "manifests").iterdir())
AT_FDCWD = -100 & (1 << 64) - 1
OCCLUM = """{
  "resource_limits": { "user_space_size": "512MB", "max_num_of_threads": 32 },
  "process": { "default_stack_size": "4MB" },
  "entry_points": ["/bin"],
  "env": { "default": ["OCCLUM=yes", "MALLOC_ARENA_MAX=1"], "untrusted": ["LANG"] },
  "metadata": { "debuggable": false },
  "feature": { "enable_edmm": false }
}
"""

#: Of each check a fault, planted in a clean manifest: what is replaced by what, and where the
#: finding is by a part of its line (and of the problem where there are several).
FAULTS: list[tuple[str, str, str, str, str]] = [
    ("unknown_key", "python", 'enclave_size = "1G"', 'enclave_siz = "1G"', "enclave_siz ="),
    ("unknown_key", "minimal", "sgx.debug = false", "sgx.max_size = 4", "sgx.max_size"),
    ("unknown_key", "minimal", "sgx.debug = false", "sgx.log_level = 4", "sgx.log_level"),
    ("gone_key", "minimal", "sgx.debug = false", "sgx.thread_num = 4", "sgx.thread_num"),
    ("gone_key", "minimal", "sgx.debug = false", "sgx.require_avx512 = true", "require_avx512"),
    ("gone_key", "encrypted", '"dcap"', '"epid"', "remote_attestation"),
    ("gone_key", "minimal", "entrypoint.uri", "entrypoint", "loader.entrypoint"),
    ("value_type", "minimal", "sgx.debug = false", 'sgx.debug = "false"', "sgx.debug"),
    ("value_type", "python", "max_threads = 8", 'max_threads = "8"', "max_threads"),
    ("value_type", "python", '"1G"', '"1GB"', "enclave_size"),
    ("value_type", "python", '"file:srv/score.py"', '"srv/score.py"', '"srv/score.py",'),
    ("value_type", "edmm", "isvprodid = 7", "isvprodid = 70000", "isvprodid"),
    ("value_type", "edmm", 'mpx = "disabled"', 'mpx = "unspecified"', "mpx"),
    ("value_type", "edmm", "0123456789", "", "sha256"),
    ("entrypoint", "minimal", 'libos.entrypoint = "/app/sum"\n', "", "# A C program"),
    ("entrypoint", "minimal", '"/app/sum"', '"file:/app/sum"', "libos.entrypoint"),
    ("entrypoint", "minimal", '"/app/sum"', '"/application/sum"', "libos.entrypoint"),
    ("entrypoint", "minimal", '"file:build/sum"', '"file:build/add"', "libos.entrypoint"),
    ("entrypoint", "edmm", '"/usr/local/bin/worker"', '"/data/worker"', "entrypoint"),
    ("arguments", "encrypted", "loader.env", 'loader.argv = ["a"]\nloader.env', "argv_src_file"),
    ("arguments", "python", '"python3", "/srv', '"/srv', "argv ="),
    ("arguments", "python", "/srv/score.py", "/tmp/score.py", "argv ="),
    ("c_library", "minimal", '"file:{{ gramine.runtimedir() }}" }', '"file:/x" }', "fs.mounts"),
    ("c_library", "front", '"/lib:', '"/usr{{ arch_libdir }}:/lib:', "LD_LIBRARY_PATH"),
    ("c_library", "minimal", '"file:{{ gramine.runtimedir() }}/"', '"file:x"', "runtimedir() }}"),
    ("value_type", "front", "fs.start_dir = ", 'fs.start_dir = "file:/www" #', "fs.start_dir"),
    ("file_uris", "front", "runtimedir() }}/", "runtimedir() }}", "runtimedir() }}\","),
    ("file_uris", "front", "file:www/log", "file:{{ arch_libdir }}/", "  \"file:{{ arch_lib"),
    ("environment", "python", "{ passthrough = true }", "{ passthrough = false }", "LANG"),
    ("environment", "python", "LANG =", "LD_PRELOAD =", "LD_PRELOAD"),
    ("mounts", "minimal", 'path = "/app"', 'path = "app"', '"app"'),
    ("mounts", "minimal", 'uri = "file:build"', 'uri = "build"', 'uri = "build"'),
    ("mounts", "python", '{ type = "tmpfs", path = "/tmp" }', '{ path = "/tmp" }', '"/tmp"'),
    ("mounts", "python", 'path = "/tmp"', 'path = "/"', 'path = "/"'),
    ("mounts", "encrypted", '"file:sealed/out"', '"file:sealed/"', "file:sealed/"),
    ("mounts", "encrypted", '"file:/var/log/infer/"', '"file:sealed/out"', '  "file:sealed/out",'),
    ("file_uris", "python", '"file:srv/score.py"', '"file:srv/*.py"', "srv/*.py"),
    ("file_uris", "encrypted", '"file:/var/log/infer/"', '"file:x.so"', "x.so"),
    ("file_uris", "encrypted", '"file:/var/log/infer/"', '"file:arguments"', '  "file:arguments",'),
    ("enclave_size", "minimal", '"128M"', '"100M"', "enclave_size"),
    ("max_threads", "python", "max_threads = 8", "max_threads = 2", "max_threads"),
    ("thread_environment", "python", "max_threads = 8", "max_threads = 6", "OMP_NUM_THREADS"),
    ("arena_limit", "python", "MALLOC_ARENA_MAX", "MALLOC_ARENA", "LANG"),
    ("preheat", "edmm", "use_exinfo", "preheat_enclave", "preheat_enclave"),
    ("rpc_threads", "exitless", "thread_num = {{ threads }}", "thread_num = 4", "rpc_thread_num"),
    ("raw_system_calls", "exitless", "bin/server\",", 'libgomp.so.1",', "libgomp"),
    ("statistics", "edmm", "enable_stats = false", "enable_stats = true", "enable_stats"),
    ("statistics", "minimal", "sgx.debug = false", 'sgx.profile.enable = "main"', "sgx.profile"),
    ("debug_enclave", "minimal", "sgx.debug = false", "sgx.debug = true", "sgx.debug"),
    ("log_level", "python", '"error"', '"trace"', "log_level"),
    ("insecure_option", "exitless", "# sgxlens: accept insecure_option\nsgx", "sgx", "rpc_thread"),
    ("insecure_option", "minimal", "sgx.debug = false",
     'sgx.file_check_policy = "allow_all_but_log"', "file_check_policy"),
    ("insecure_option", "encrypted", "fs.start_dir",
     'fs.insecure__keys.default = "00112233445566778899aabbccddeeff"\nfs.start_dir', "insecure__"),
]  # fmt: skip
OCCLUM_FAULTS: list[tuple[str, str, str, str]] = [
    ("occlum_keys", "user_space_size", "user_space_siz", "user_space_siz"),
    ("occlum_keys", '"512MB"', '"512M"', "512M"),
    ("occlum_keys", '"process"', '"processes"', "processes"),
    ("occlum_threads", "32", '"32"', "max_num_of_threads"),
    ("occlum_start", '["/bin"]', '["bin"]', "entry_points"),
    ("occlum_start", "LANG", "LD_PRELOAD", "untrusted"),
    ("occlum_keys", '"feature": {', '"mount": [], "feature": {', "max_num_of_threads"),
    ("debug_enclave", "false }", "true }", "debuggable"),
]  # fmt: skip


def opened(path: str, flags: int = 0, caller: str = "/lib/libc.so.6", **fields: Any) -> Any:
    """A call that opens a file while the model is loaded."""
    (row, *_) = predictable.syscalls(1)
    return {
        **row, "phase": 1, "position": 10, "arg0": AT_FDCWD, "arg2": flags, "name": "openat",
        "number": 257, "path": path, "result": 3, "caller": caller, **fields,
    }  # fmt: skip


def call(name: str, number: int, **fields: Any) -> Any:
    return {**opened(""), "path": None, "arg0": 0, "name": name, "number": number, **fields}


def manifest(kind: str) -> Path:
    return next(path for path in CLEAN if path.name.startswith(f"{kind}."))


def planted(tmp_path: Path, kind: str, old: str, new: str) -> Path:
    text = manifest(kind).read_text(encoding="utf-8")
    assert text.count(old) >= 1, old
    path = tmp_path / manifest(kind).name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def found(report: sgxlens.LintReport) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {}
    for one in report.found:
        assert one.finding.problem
        assert one.finding.consequence.endswith((".", ")"))
        assert one.finding.remedy.endswith((".", "?"))
        lines.setdefault(one.check, []).append(one.finding.line)
    assert not report.broken
    return lines


@pytest.mark.parametrize("path", CLEAN, ids=lambda path: path.name)
def test_in_clean_manifests_nothing_is_found(path: Path) -> None:
    report = sgxlens.lint(path)
    assert found(report) == {}
    assert report.accepted == (2 if path.name.startswith("exitless") else 0)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0]}-{fault[3]}")
def test_a_planted_fault_is_found_in_its_line(
    tmp_path: Path, fault: tuple[str, str, str, str, str]
) -> None:
    check, kind, old, new, where = fault
    path = planted(tmp_path, kind, old, new)
    lines = path.read_text(encoding="utf-8").splitlines()
    at = [n for n, line in enumerate(lines, 1) if where in line]
    reported = found(sgxlens.lint(path))
    assert set(reported.get(check, ())) & set(at), (reported, at)


@pytest.mark.parametrize(("check", "old", "new", "where"), OCCLUM_FAULTS)
def test_a_planted_fault_in_occlum_json_is_found(
    tmp_path: Path, check: str, old: str, new: str, where: str
) -> None:
    path = tmp_path / "Occlum.json"
    path.write_text(OCCLUM, encoding="utf-8")
    assert found(sgxlens.lint(path)) == {}
    text = OCCLUM.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    (line,) = [n for n, row in enumerate(text.splitlines(), 1) if where in row]
    assert line in found(sgxlens.lint(path))[check]


def test_a_script_must_be_trusted(tmp_path: Path) -> None:
    path = tmp_path / "app.manifest.template"
    text = manifest("minimal").read_text(encoding="utf-8")
    text = text.replace("/app/sum", "/usr/bin/python3").replace("file:build/sum", "file:/usr/bin/")
    text += 'loader.argv = ["python3", "-u", "/app/sum.py", "/app/out"]\n'
    mount = '{ path = "/usr", uri = "file:/usr" },\n  { path = "/app"'
    text = text.replace('{ path = "/app"', mount)
    for wanted, changed in (
        (["/app/sum.py, which python3 shall run, is neither trusted nor allowed"], text),
        ([], text.replace("file:/usr/bin/", 'file:/usr/bin/", "file:build/sum.py')),
        ([], text.replace('"-u"', '"-m"')),
        ([], text.replace('"python3", "-u"', '"python3", "{{ options }}"')),
    ):
        # Keys of the top come before the tables.
        lines = changed.splitlines()
        path.write_text("\n".join([lines[-1], *lines[:-1]]), encoding="utf-8")
        assert problems(sgxlens.lint(path), "arguments") == wanted


def test_every_check_is_planted_here() -> None:
    of_recordings = {
        "unlisted_files", "written_files", "epc_size", "stack_size", "disallowed_calls",
        "child_processes", "cpu_features", "occlum_sizes", "dynamic_memory",
    }  # fmt: skip
    planted_here = {fault[0] for fault in (*FAULTS, *OCCLUM_FAULTS)}
    assert planted_here | of_recordings == set(BUILT_IN)


@pytest.fixture
def recording(make_recording: MakeRecording) -> Path:
    calls = [
        opened("/usr/bin/python3"),
        opened("/opt/net/model.onnx"),
        opened("/usr/lib/x86_64-linux-gnu/libz.so.1"),
        opened("/usr/lib/libgomp.so.1"),
        opened("/srv/results.txt", 0o102),
        opened("/var/tmp/scratch", 0o102),
        call("eventfd2", 290),
        call("fork", 57),
        *[call("futex", 202, caller="/usr/lib/libgomp.so.1", phase=4, position=900)] * 5,
    ]
    return make_recording({**predictable.tables(), "syscalls": calls}, **predictable.metadata())


def problems(report: sgxlens.LintReport, check: str) -> list[str]:
    return [one.finding.problem for one in report.found if one.check == check]


def test_a_recording_says_what_the_manifest_lacks(tmp_path: Path, recording: Path) -> None:
    path = tmp_path / "app.manifest.template"
    text = manifest("python").read_text(encoding="utf-8")
    for old, new in (
        ('"1G"', '"32M"'), ('stack.size = "2M"', "brk.max_size = '1M'"), ("max_threads = 8", ""),
        ('  "file:/usr{{ arch_libdir }}/",\n', ""), ("disallow_subprocesses = true", ""),
        ('OMP_NUM_THREADS = "4"\n', ""), ("{%- for folder in python", "{%- for folder in [] #"),
    ):  # fmt: skip
        text = text.replace(old, new)
    text = text.replace("[] #.get_sys_path('/usr/bin/python3')", "[]")
    text = text.replace('"file:srv/score.py"', '"file:/srv/results.txt", "file:/usr/lib/libz"')
    text = text.replace('uri = "file:srv"', 'uri = "file:/srv"').replace(', "--quiet"]', "]")
    path.write_text(text, encoding="utf-8")
    report = sgxlens.lint(path, recording=recording)
    assert not report.broken
    (size,) = problems(report, "enclave_size")
    assert size.startswith("32M is less than the recorded program needs: ")
    unlisted = problems(report, "unlisted_files")
    assert any("are below no mount: /opt/net/model.onnx" in text for text in unlisted), unlisted
    assert any("neither trusted, allowed nor encrypted: /usr/lib/libgomp" in t for t in unlisted)
    written = problems(report, "written_files")
    assert any("/srv/results.txt is trusted, and" in text for text in written)
    assert any("makes files in /var/tmp" in text for text in written)
    assert problems(report, "disallowed_calls") == [
        "the recorded program calls eventfd2, which sys.insecure__allow_eventfd would allow"
    ]
    (raw,) = problems(report, "raw_system_calls")
    assert raw.startswith("libgomp.so.1 made 5 of 5 system calls by itself")
    assert "starts other processes" in problems(report, "child_processes")[0]
    assert "libgomp.so.1 is not told how many" in problems(report, "thread_environment")[0]
    # Below the merged /usr, what is trusted as /lib is found at /usr/lib.
    assert "libz.so.1" not in " ".join(unlisted)


def test_many_files_are_suggested_by_folder(tmp_path: Path, make_recording: MakeRecording) -> None:
    paths = [f"/opt/net/{n % 3}/{n}/part" for n in range(40)] + ["/opt/net/config"]
    tables = {**predictable.tables(), "syscalls": [opened(path) for path in paths]}
    recording = make_recording(tables, **predictable.metadata())
    mounts = '{ path = "/opt", uri = "file:/opt" }, { path = "/usr", uri = "file:/usr" }'
    path = planted(tmp_path, "minimal", '{ path = "/app", uri = "file:build" }', mounts)
    (snippet,) = [
        one.finding.snippet
        for one in sgxlens.lint(path, recording=recording).found
        if one.check == "unlisted_files"
    ]
    files = ("opt/net/0/", "opt/net/1/", "opt/net/2/", "opt/net/config", "usr/bin/python3")
    assert snippet.splitlines() == [f'"file:/{name}",' for name in files]


def test_an_inference_above_the_epc_is_counted(recording: Path) -> None:
    place = load_platform("xeon-e-2288g").overridden(epc_bytes=2 * 4096)
    report = sgxlens.lint(manifest("minimal"), recording=recording, platform=place)
    (one,) = [f.finding for f in report.found if f.check == "epc_size"]
    assert "an inference of the recorded program uses" in one.problem
    assert re.search(r"^\d+ pages? and more are swapped .* at least \d.* (us|ms)", one.consequence)


def test_a_preloaded_libgomp_does_not_trap(tmp_path: Path, recording: Path) -> None:
    new = 'loader.env.LD_PRELOAD = "/lib/libgomp.so.1"\nsgx.debug'
    path = planted(tmp_path, "minimal", "sgx.debug", new)
    assert problems(sgxlens.lint(path, recording=recording), "raw_system_calls") == []
    # It is no allocator.
    assert problems(sgxlens.lint(path), "arena_limit") == []
    threads = planted(tmp_path, "minimal", "sgx.debug", f"sgx.max_threads = 9\n{new}")
    assert len(problems(sgxlens.lint(threads), "arena_limit")) == 1


def test_a_stack_that_was_used_must_be_given(tmp_path: Path, make_recording: MakeRecording) -> None:
    stack = {**predictable.MAPPING, "kind": "stack", "size_bytes": 1 << 20, "address": 1 << 40}
    tables = {**predictable.tables(), "mappings": [predictable.MAPPING, stack]}
    path = make_recording(tables, **predictable.metadata())
    report = sgxlens.lint(manifest("minimal"), recording=path)
    (text,) = problems(report, "stack_size")
    assert text == "stacks have 256 KiB, and a thread of the recorded program used 1 MiB"
    wider = planted(tmp_path, "minimal", "sgx.debug", 'sys.stack.size = "1M"\nsgx.debug')
    assert problems(sgxlens.lint(wider, recording=path), "stack_size") == []


def test_stacks_that_nobody_uses_make_an_enclave_larger(
    tmp_path: Path, make_recording: MakeRecording
) -> None:
    stack = {**predictable.MAPPING, "kind": "stack", "size_bytes": 1 << 17, "address": 1 << 40}
    tables = {**predictable.tables(), "mappings": [predictable.MAPPING, stack]}
    path = make_recording(tables, **predictable.metadata())

    def of(line: str) -> list[str]:
        wider = planted(tmp_path, "minimal", "sgx.debug", f"{line}\nsgx.debug")
        return problems(sgxlens.lint(wider, recording=path), "stack_size")

    (text,) = of('sys.stack.size = "128M"')
    assert text.startswith("each thread has a stack of 128 MiB, and of the 1 that were")
    # The enclave is of the same size with it.
    assert of('sys.stack.size = "1M"') == []
    assert of('sgx.edmm_enable = true\nsys.stack.size = "128M"') == [text]
    assert of('sgx.edmm_enable = true\nsys.stack.size = "1M"') == []


def test_a_platform_says_what_its_processor_and_epc_lack(tmp_path: Path) -> None:
    old = sgxlens.lint(manifest("exitless"), platform="xeon-e-2288g")
    assert set(found(old)) == {"epc_size", "preheat", "cpu_features"}
    assert "AVX-512 is required, and Intel Xeon E-2288G does not have it" in problems(
        old, "cpu_features"
    )
    new = sgxlens.lint(manifest("minimal"), platform="xeon-gold-6326")
    assert problems(new, "cpu_features") == [
        "AVX-512 is not requested, and Intel Xeon Gold 6326 has it"
    ]
    without = sgxlens.lint(manifest("edmm"), platform="xeon-e-2288g")
    assert found(without) == {"dynamic_memory": [32]}
    off = planted(tmp_path, "edmm", 'avx512 = "unspecified"', 'avx512 = "disabled"')
    (one,) = sgxlens.lint(off, platform="xeon-gold-6326").found
    assert (one.check, one.finding.severity) == ("cpu_features", "warning")


@pytest.mark.parametrize("runtime", ["gramine", "gramine-edmm", "gramine-exitless", "occlum"])
def test_written_manifests_are_clean(tmp_path: Path, recording: Path, runtime: str) -> None:
    path = tmp_path / "written"
    path.write_text(sgxlens.manifest(recording, runtime).text, encoding="utf-8")
    report = sgxlens.lint(path, recording=recording)
    # That it starts processes and that its libgomp traps no manifest can help.
    assert set(found(report)) <= {"child_processes", "raw_system_calls"}


def test_a_written_fragment_that_is_made_smaller_is_found(tmp_path: Path, recording: Path) -> None:
    text = sgxlens.manifest(recording, "occlum").text
    path = tmp_path / "Occlum.json"
    path.write_text(text.replace('_size": "', '_size": "1MB", "x": "', 1), encoding="utf-8")
    assert "occlum_sizes" in found(sgxlens.lint(path, recording=recording))


def test_checks_are_left_out_by_name(tmp_path: Path) -> None:
    path = planted(tmp_path, "minimal", '"128M"', '"100M"')
    assert sgxlens.lint(path, ignore=["enclave_size"]).found == ()
    with pytest.raises(sgxlens.UsageError, match="no check is called 'size': there are unknown"):
        sgxlens.lint(path, ignore=["size"])


def test_a_check_that_fails_does_not_silence_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Any) -> Any:
        raise ValueError("no such thing")

    mine = Check("mine", "nothing", ("gramine",), fails)
    points = [
        EntryPoint("mine", "mine:CHECK", GROUP),
        EntryPoint("gone", "no_such_module:CHECK", GROUP),
    ]
    monkeypatch.setattr(extensions, "entry_points", lambda **_: points)
    monkeypatch.setattr(
        EntryPoint, "load", lambda self: mine if self.name == "mine" else __import__("no_such")
    )
    report = sgxlens.lint(planted(tmp_path, "minimal", '"128M"', '"100M"'))
    assert [one.check for one in report.found] == ["enclave_size"]
    assert {one.name for one in report.broken} == {"mine", "gone"}
    assert "ValueError: no such thing" in {one.problem for one in report.broken}


def test_a_runtime_of_another_family_is_refused() -> None:
    with pytest.raises(sgxlens.UsageError, match="is of gramine, not of occlum"):
        sgxlens.lint(manifest("minimal"), runtime="occlum")
