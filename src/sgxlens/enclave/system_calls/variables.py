# SPDX-License-Identifier: Apache-2.0
"""The facts of one system call or event that the rules of a runtime may ask for."""

from __future__ import annotations

from typing import Literal, get_args

from sgxlens.enclave.system_calls.expressions import Variable

#: What a file is to a runtime. ``trusted``: read only, checked against a hash in the manifest.
#: ``allowed``: host file, neither hashed nor encrypted. ``encrypted``: sealed by the runtime.
#: ``refused``: none of these, so that the runtime does not open it. ``tmpfs``: kept inside.
#: ``pseudo``: /proc, /sys and /dev as the runtime makes them.
FileKind = Literal["trusted", "allowed", "encrypted", "refused", "tmpfs", "pseudo"]
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)
#: What else a descriptor may be. ``console``: standard input, output and error, and terminals.
#: ``other``: timers, signals, memory files. ``unknown``: nothing recorded says how it was opened.
#: ``none``: the call has no descriptor or path.
DESCRIPTOR_KINDS = (
    *FILE_KINDS,
    "directory",
    "console",
    "pipe",
    "unix_socket",
    "network_socket",
    "eventfd",
    "epoll",
    "other",
    "unknown",
    "none",
)
CALLERS = ("libc", "loader", "libgomp", "other", "unknown")
#: Of ``futex``; the variants with a bit set are like those without.
FUTEX_OPERATIONS = ("wait", "wake", "requeue", "wake_op", "pi", "other", "none")
#: Commands of ``fcntl``, ``ioctl`` and ``madvise`` that a runtime may treat differently.
COMMANDS = ("F_SETFL", "FIONREAD", "FIONBIO", "MADV_DONTNEED", "MADV_IGNORED", "other", "none")
FAMILIES = ("inet", "unix", "other", "none")

VARIABLES: dict[str, Variable] = {
    "caller": Variable("text", "which object file made the call", CALLERS),
    "result": Variable("number", "its result; 0: it did not return"),
    "failed": Variable("flag", "it failed"),
    "error": Variable("text", "name of the error, as in ENOENT; empty: it did not fail"),
    "kind": Variable("text", "what its descriptor or path is", DESCRIPTOR_KINDS),
    "asked": Variable("number", "bytes asked for"),
    "n": Variable("number", "bytes moved; of a file mapping: bytes of the file in it"),
    "offset": Variable("number", "where in the file it starts (bytes)"),
    "size": Variable("number", "size of the file (bytes)"),
    "length": Variable("number", "length of the range of memory (bytes, whole pages)"),
    "pages": Variable("number", "length of the range of memory (pages)"),
    "past_end": Variable("flag", "the mapping reaches past the end of the file, rounded to pages"),
    "anonymous": Variable("flag", "the mapping is of no file"),
    "shared": Variable("flag", "the mapping is shared"),
    "readable": Variable("flag", "the mapping may be read (mmap, mprotect)"),
    "writable": Variable(
        "flag", "the mapping may be written (mmap, mprotect); of close: the handle was written to"
    ),
    "no_reserve": Variable("flag", "the mapping has MAP_NORESERVE"),
    "shared_bytes": Variable(
        "number", "bytes of shared writable file mappings in the range (munmap, msync)"
    ),
    "has_path": Variable("flag", "it was given a path that is not empty"),
    "missing": Variable("flag", "its path is not there, on a file system of the host"),
    "new_components": Variable(
        "number",
        "existing components of its path, on a file system of the host, that the process looks up"
        " for the first time; the file itself among them",
    ),
    "first_lookup": Variable("flag", "its path names a file that was not looked up before"),
    "creates": Variable("flag", "it makes the file"),
    "truncates": Variable("flag", "it opens with O_TRUNC"),
    "path_only": Variable("flag", "it opens with O_PATH"),
    "nonblocking": Variable("flag", "it asks for descriptors with O_NONBLOCK"),
    "other_handles": Variable("number", "other open handles of the same file"),
    "is_last": Variable("flag", "it closes the last descriptor of its handle"),
    "is_first_use": Variable(
        "flag",
        "it is the first such call on its handle; of event cpuid: the first of its leaf (and"
        " subleaf) in the process",
    ),
    "directory_bytes": Variable("number", "size of all entries of the directory (bytes)"),
    "new_entries": Variable("number", "its entries that were not looked up before"),
    "largest_before": Variable(
        "number", "most bytes that its thread moved before in one call of allowed file or network"
    ),
    "iovecs": Variable("number", "pieces of memory that it reads or writes"),
    "messages": Variable("number", "messages sent or received"),
    "operation": Variable("text", "of futex: what it does", FUTEX_OPERATIONS),
    "woken": Variable("number", "threads that it wakes"),
    "command": Variable("text", "of fcntl, ioctl, madvise: what it asks for", COMMANDS),
    "family": Variable("text", "of sockets: the address family", FAMILIES),
    "is_thread": Variable("flag", "of clone: it makes a thread, not a process"),
    "waits": Variable("flag", "it may wait: no WNOHANG"),
    "other_threads": Variable("number", "other threads of the process that live"),
    "rdtsc_traps": Variable("flag", "the platform lets RDTSC trap"),
    "leaf": Variable("number", "of event cpuid: the leaf (EAX)"),
    "segments": Variable("number", "of event program_load: segments of the file that are mapped"),
    "segment_bytes": Variable("number", "of event program_load: bytes of these segments"),
    "segment_chunks": Variable(
        "number", "of event program_load: aligned chunks of 16 KiB that each segment takes, summed"
    ),
}

#: What is no system call, and may yet leave the enclave. ``raw_syscall``: a system call by an
#: instruction that the runtime has not replaced, beside what the call costs. ``signal``: delivery
#: to a handler. ``program_load``: an object that is there before the first instruction: the
#: program and its loader. Rules of events ask for the same variables.
EVENTS = ("cpuid", "rdtsc", "rdtscp", "raw_syscall", "signal", "program_load")


def markdown_variables() -> str:
    """The variables as a table for the documentation."""
    rows = ["| variable | type | meaning |", "|---|---|---|"]
    for name, variable in VARIABLES.items():
        values = ", ".join(f"`{value}`" for value in variable.values)
        meaning = f"{variable.meaning}: {values}" if values else variable.meaning
        rows.append(f"| `{name}` | {variable.type} | {meaning} |")
    return "\n".join(rows)
