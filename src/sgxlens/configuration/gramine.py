# SPDX-License-Identifier: Apache-2.0
"""Gramine's manifest, as a template for ``gramine-manifest``.

Keys and values are those of Gramine 1.9 (gramineproject/gramine@ff71d7af: Documentation/
manifest-syntax.rst, python/graminelibos/manifest_check.py).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.program import mounted_folders
from sgxlens.configuration.values import size_text, toml_string
from sgxlens.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.program import Program
    from sgxlens.enclave.memory import MemoryNeeds
    from sgxlens.enclave.runtime import Runtime

#: Mounted for the C library and what lies beside it.
_LIBRARY_FOLDERS = ("/lib", "/lib64")
#: For `sgxlens.configuration.linting`: what is said above the line need not be said again.
_ACCEPTED = "# sgxlens: accept insecure_option"
#: What TOML takes for a key without quotes.
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_EVENTFD = frozenset({"eventfd", "eventfd2"})


def gramine_manifest(
    program: Program, needs: MemoryNeeds, runtime: Runtime, *, threads: int, source: str
) -> str:
    """The template.

    Args:
        program: the program.
        needs: what it needs in the runtime.
        runtime: Gramine, or a variant of it.
        threads: threads that work at once.
        source: where it is from, for the first line.
    """
    sections = (
        _start(program),
        _environment(program, needs, threads),
        _sizes(needs, runtime),
        _mounts(program),
        _files(program),
    )
    head = (
        f"# Gramine 1.9, sized from {one_line(source, 200)} by sgxlens: read it before you use it."
    )
    return "\n".join([head, *(line for section in sections for line in ("", *section))]) + "\n"


def _start(program: Program) -> Iterator[str]:
    yield 'loader.entrypoint.uri = "file:{{ gramine.libos }}"'
    yield f"libos.entrypoint = {toml_string(program.path)}"
    yield 'loader.log_level = "error" # other levels may leak data'
    if program.arguments is None:
        yield "# sgxlens ran the model itself: give the script that runs it in deployment."
        arguments: tuple[str, ...] = (PurePosixPath(program.path).name, "/PATH/TO/SCRIPT.py")
    else:
        yield "# As recorded. Arguments from the host would not be trusted."
        arguments = program.arguments
    yield f"loader.argv = [{', '.join(map(toml_string, arguments))}]"


def _environment(program: Program, needs: MemoryNeeds, threads: int) -> Iterator[str]:
    yield "# No variable of the host reaches the program but those given here."
    folders = _library_folders(program)
    path = "/lib:{{ arch_libdir }}:/usr{{ arch_libdir }}"
    if folders:
        yield f"# Libraries that it opened in other folders: {one_line(', '.join(folders), 300)}"
    yield f'loader.env.LD_LIBRARY_PATH = "{path}" # Gramine\'s C library first'
    yield 'loader.env.PATH = "/usr/local/bin:/usr/bin:/bin"'
    given = program.variables
    if "OMP_NUM_THREADS" not in given:
        yield f'loader.env.OMP_NUM_THREADS = "{threads}" # threads that worked at once'
    if needs.live_thread_count > 1 and "MALLOC_ARENA_MAX" not in given:
        yield "# Each arena of malloc maps 64 MiB, which are held, and cleared first."
        yield 'loader.env.MALLOC_ARENA_MAX = "1"'
    if "python" in PurePosixPath(program.path).name and "PYTHONDONTWRITEBYTECODE" not in given:
        yield 'loader.env.PYTHONDONTWRITEBYTECODE = "1" # trusted folders cannot be written'
    for name, value in given.items():
        key = name if _BARE_KEY.fullmatch(name) else toml_string(name)
        yield f"loader.env.{key} = {toml_string(value)} # as set when it was recorded"


def _library_folders(program: Program) -> list[str]:
    folders = {
        str(PurePosixPath(path).parent)
        for path in program.files
        if ".so" in PurePosixPath(path).name
    }
    return sorted(f for f in folders if f.endswith((".libs", "/lib")) and f not in _LIBRARY_FOLDERS)


def _sizes(needs: MemoryNeeds, runtime: Runtime) -> Iterator[str]:
    if runtime.memory.commits == "at_build":
        yield "sgx.edmm_enable = false"
    else:
        yield "# Pages are added as the program maps memory: no size, SGX2 and Linux 6.0."
        yield "sgx.edmm_enable = true"
    for setting in needs.settings:
        value = f'"{size_text(setting.value)}"' if setting.unit == "bytes" else str(setting.value)
        yield f"{setting.name} = {value} # {one_line(setting.reason)}"
    if runtime.memory.commits != "at_build":
        yield f"sgx.max_threads = {needs.max_threads} # made at the start; more as they are needed"
    if runtime.switchless:
        yield "# As many threads outside as work inside; insecure: CVE-2022-21233, CVE-2022-21166."
        yield f"sgx.insecure__rpc_thread_num = {needs.max_threads} {_ACCEPTED}"
    yield "sgx.debug = false # true only to debug: the host can read the enclave then"


def _mounts(program: Program) -> Iterator[str]:
    used = program.own_files
    if _EVENTFD & program.calls:
        yield "# It makes eventfds, which rely on the host: insecure if it trusts their values."
        yield f"sys.insecure__allow_eventfd = true {_ACCEPTED}"
    yield "fs.mounts = ["
    yield '  { path = "/lib", uri = "file:{{ gramine.runtimedir() }}" }, # its C library'
    yield '  { path = "{{ arch_libdir }}", uri = "file:{{ arch_libdir }}" },'
    # In this order: a mount hides what was mounted below it before.
    for folder, example in program.temporary.items():
        why = f"it makes files there, as {one_line(example, 60)}"
        yield f'  {{ type = "tmpfs", path = {toml_string(folder)} }}, # {why}'
    for folder in mounted_folders([path for path, kind in used.items() if kind != "encrypted"]):
        if folder not in _LIBRARY_FOLDERS:
            name = toml_string(folder)
            yield f"  {{ path = {name}, uri = {toml_string('file:' + folder)} }},"
    for path, kind in used.items():
        if kind == "encrypted":
            uri = toml_string("file:" + path)
            yield f'  {{ type = "encrypted", path = {toml_string(path)}, uri = {uri} }},'
    yield "]"


def _files(program: Program) -> Iterator[str]:
    used = program.own_files
    trusted = [path for path, kind in used.items() if kind == "trusted"]
    yield f"# Hashed when it is signed: the {len(trusted)} files that it opened and only read."
    if program.ours:
        yield f"# Left out: {program.ours} files that it opened only because it was recorded."
    yield "sgx.trusted_files = ["
    yield '  "file:{{ gramine.libos }}",'
    yield '  "file:{{ gramine.runtimedir() }}/", # the C library, in place of the host\'s'
    for path in trusted:
        yield f"  {toml_string('file:' + path)},"
    yield "]"
    allowed = [path for path, kind in used.items() if kind == "allowed"]
    if allowed:
        yield ""
        yield "# Written: the host can read and change them. Seal those that matter (encrypted)."
        yield "sgx.allowed_files = ["
        for path in allowed:
            yield f"  {toml_string('file:' + path)},"
        yield "]"
