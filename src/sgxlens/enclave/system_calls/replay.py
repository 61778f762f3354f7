# SPDX-License-Identifier: Apache-2.0
"""Replays the system calls of a recording: which file a descriptor is of, where it stands in it.

What depends on nothing but the recording is found here, once; what depends on the runtime,
`sgxlens.enclave.system_calls.facts` adds.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from sgxlens.enclave import linux
from sgxlens.enclave.files import KnownFile
from sgxlens.enclave.system_calls.recorded import Call, Handle, Row, Threads, recorded_calls
from sgxlens.recording.format import PAGE_BYTES

if TYPE_CHECKING:
    from sgxlens.enclave.system_calls.expressions import Value
    from sgxlens.recording.reader import Recording

#: Base of paths whose working directory is not known.
UNKNOWN_FOLDER = "."
_STANDARD_DESCRIPTORS = 3
_MADVICE = {linux.MADV_DONTNEED: "MADV_DONTNEED"} | dict.fromkeys(
    (0, 1, 2, 3, 8, 12, 14, 15), "MADV_IGNORED"
)
_IOCTLS = {0x541B: "FIONREAD", 0x5421: "FIONBIO"}
_FAMILIES = {1: "unix", 2: "inet", 10: "inet"}
_SOCKET_KINDS = {"unix": "unix_socket", "inet": "network_socket"}
_FUTEX_COMMANDS = {0: "wait", 9: "wait", 1: "wake", 10: "wake", 3: "requeue", 4: "requeue"} | {
    5: "wake_op",
    **dict.fromkeys((6, 7, 8, 11, 12, 13), "pi"),
}
_FUTEX_COMMAND_MASK = 0x7F


@dataclass(frozen=True, eq=False)
class ReplayedCalls:
    """The system calls of a recording, by process and in their order.

    Attributes:
        calls: the calls.
        files: all paths named in them.
        unknown_descriptor_count: calls with a descriptor that nothing recorded opened.
    """

    calls: tuple[Call, ...]
    files: dict[str, KnownFile]
    unknown_descriptor_count: int


def replay_calls(recording: Recording) -> ReplayedCalls:
    """Replays the table ``syscalls`` of a recording; without that table there are no calls.

    Raises:
        RecordingError: the recording is damaged.
    """
    files: dict[str, KnownFile] = {}
    calls: list[Call] = []
    unknown = 0
    left: dict[int, _Inherited] = {}  # by pid, what a process leaves to the one that follows it
    for info in recording.metadata.processes if recording.has_table("syscalls") else ():
        threads = Threads(recording, info.process)
        rows = list(recorded_calls(recording, info.process))
        process = _Process(files, threads, left.get(info.pid), rows)
        for row, call in rows:
            calls.extend(process.replay(row, call))
            if row.name in _FORKING and row.moved and row.moved not in threads.kernel_tids:
                left[row.moved] = process.inherited()
        unknown += process.unknown_count
        left[info.pid] = process.inherited()
    return ReplayedCalls(tuple(calls), files, unknown)


class _Inherited(NamedTuple):
    folder: str
    table: dict[int, Handle]
    shared: list[tuple[int, int]]


class _Process:
    """The descriptors, mappings and working directory of one process."""

    def __init__(
        self,
        files: dict[str, KnownFile],
        threads: Threads,
        before: _Inherited | None,
        rows: list[tuple[Row, Call]],
    ) -> None:
        self._files = files
        self._threads = threads
        self.unknown_count = 0
        self._folder = before.folder if before else UNKNOWN_FOLDER
        self._shared: list[tuple[int, int]] = before.shared if before else []
        self._break = 0
        self._missing: set[str] = set()
        self._table: dict[int, Handle] = {}
        if before is not None:
            self._table = before.table
            return
        # Descriptors are the lowest that are free: below the first one returned, all are taken.
        first = next((r.moved for r, _ in rows if r.name in _OPENING and r.moved), 0)
        console = {n: Handle("console") for n in range(_STANDARD_DESCRIPTORS)}
        inherited = {n: Handle("unknown") for n in range(_STANDARD_DESCRIPTORS, first)}
        self._table = console | inherited

    def inherited(self) -> _Inherited:
        """What a child, or a program executed, starts with."""
        copies: dict[int, Handle] = {}
        table = {
            descriptor: copies.setdefault(id(handle), replace(handle, entries=None))
            for descriptor, handle in self._table.items()
        }
        return _Inherited(self._folder, table, list(self._shared))

    def replay(self, row: Row, call: Call) -> tuple[Call, ...]:
        """Adds to the call what it says of itself; further parts, where it has some."""
        handler = _HANDLERS.get(row.name)
        parts = handler(self, row, call) if handler is not None else None
        return (call, *parts) if parts else (call,)

    # Paths

    def _absolute(self, path: str, descriptor: int | None) -> str:
        base = self._folder
        if descriptor is not None and _signed(descriptor) != linux.AT_FDCWD and path[:1] != "/":
            handle = self._table.get(_signed(descriptor))
            base = handle.file.path if handle and handle.file else UNKNOWN_FOLDER
        joined = posixpath.join(base, path)
        return (
            "/" + posixpath.normpath(joined).lstrip("/")
            if joined[:1] == "/"
            else (UNKNOWN_FOLDER + "/" + posixpath.normpath(joined))
        )

    def _file(self, path: str) -> KnownFile:
        return self._files.setdefault(path, KnownFile(path))

    def _look_up(self, row: Row, call: Call, descriptor: int | None = None) -> KnownFile | None:
        if not row.path:
            return None
        path = self._absolute(row.path, descriptor)
        file = call.path_file = self._file(path)
        call.facts["has_path"] = True
        if call.facts.get("error") in ("ENOENT", "ENOTDIR"):
            call.facts["missing"] = True
            self._missing.add(path)
        else:
            file.exists = True
            if not row.failed:
                self._missing.discard(path)
        return file

    def by_path(self, row: Row, call: Call) -> None:
        file = self._look_up(row, call)
        if row.failed or file is None:
            return
        if row.name == "chdir":
            file.is_directory = True
            self._folder = file.path
        self._changed(row, call, file)

    def by_path_at(self, row: Row, call: Call) -> None:
        file = self._look_up(row, call, row.a[0])
        if file is None:
            call.handle = self._handle(row.a[0])
        elif not row.failed:
            self._changed(row, call, file)

    def _changed(self, row: Row, call: Call, file: KnownFile) -> None:
        if row.name in ("mkdir", "mkdirat", "mknod", "mknodat"):
            file.is_directory = row.name.startswith("mkdir")
            call.facts["creates"] = True
        elif row.name in ("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2"):
            self._missing.add(file.path)
        if row.name in ("truncate", "rename", "renameat", "unlink", "unlinkat"):
            file.is_written = True

    def opened(self, row: Row, call: Call) -> None:
        at = row.name == "openat"
        flags = row.a[2 if at else 1]
        if row.name == "creat":
            flags = linux.O_CREAT | linux.O_TRUNC | 1
        path = None if not row.path else self._absolute(row.path, row.a[0] if at else None)
        was_missing = path in self._missing
        was_there = path in self._files and self._files[path].exists and not was_missing
        file = self._look_up(row, call, row.a[0] if at else None)
        call.facts["path_only"] = bool(flags & linux.O_PATH)
        call.facts["truncates"] = bool(flags & linux.O_TRUNC)
        if row.failed or file is None:
            return
        if flags & linux.O_CREAT and not was_there:
            call.facts["creates"] = True
            if not was_missing and not flags & linux.O_EXCL:
                call.maybe["creates"] = False
        if flags & linux.O_DIRECTORY:
            file.is_directory = True
        if flags & linux.O_ACCMODE or flags & linux.O_TRUNC:
            file.is_written = True
        self._add(row.moved, Handle("file", file, is_path_only=bool(flags & linux.O_PATH)), call)

    # Descriptors

    def _add(self, descriptor: int, handle: Handle, call: Call) -> None:
        self._table[descriptor] = handle
        call.handle = handle

    def _handle(self, descriptor: int) -> Handle:
        found = self._table.get(_signed(descriptor))
        if found is None:
            self.unknown_count += 1
            found = self._table[_signed(descriptor)] = Handle("unknown")
        return found

    def by_descriptor(self, row: Row, call: Call) -> None:
        call.handle = None if row.failed and row.result == -9 else self._handle(row.a[0])  # EBADF

    def closed(self, row: Row, call: Call) -> None:
        if not row.failed:
            self._handle(row.a[0])
            self._close(_signed(row.a[0]), call)

    def _close(self, descriptor: int, call: Call) -> None:
        handle = self._table.pop(descriptor, None)
        if handle is None:
            return
        handle.descriptors -= 1
        call.handle = handle
        call.facts["is_last"] = handle.descriptors == 0
        call.facts["writable"] = handle.is_written
        call.facts["path_only"] = handle.is_path_only

    def closed_range(self, row: Row, call: Call) -> list[Call]:
        if row.failed or row.a[2] & linux.CLOSE_RANGE_CLOEXEC:
            return []
        parts = []
        for descriptor in sorted(n for n in self._table if row.a[0] <= n <= row.a[1]):
            part = Call(
                call.process, call.phase, call.thread, call.position, call.name, call.caller,
                dict(call.facts), is_part=True,
            )  # fmt: skip
            self._close(descriptor, part)
            parts.append(part)
        return parts

    def duplicated(self, row: Row, call: Call) -> None:
        if row.failed:
            return
        handle = self._handle(row.a[0])
        if self._table.get(row.moved) is handle:
            return
        if row.name != "dup":
            self._close(row.moved, call)
        handle.descriptors += 1
        self._table[row.moved] = handle

    def controlled(self, row: Row, call: Call) -> None:
        handle = call.handle = self._handle(row.a[0])
        if row.a[1] in (linux.F_DUPFD, linux.F_DUPFD_CLOEXEC) and not row.failed:
            handle.descriptors += 1
            self._table[row.moved] = handle
        call.facts["command"] = "F_SETFL" if row.a[1] == linux.F_SETFL else "other"
        if row.a[1] == linux.F_SETFL and not row.failed:
            wanted = bool(row.a[2] & linux.O_NONBLOCK)
            call.facts["nonblocking"] = wanted != handle.is_nonblocking
            handle.is_nonblocking = wanted

    def ioctl(self, row: Row, call: Call) -> None:
        self.by_descriptor(row, call)
        call.facts["command"] = _IOCTLS.get(row.a[1] & 0xFFFFFFFF, "other")

    def new_descriptor(self, row: Row, call: Call) -> None:
        if row.failed:
            return
        kind = {"eventfd": "eventfd", "eventfd2": "eventfd"}.get(row.name, "other")
        self._add(row.moved, Handle("epoll" if row.name.startswith("epoll") else kind), call)

    def pair(self, row: Row, call: Call) -> None:
        is_pipe = row.name.startswith("pipe")
        flags = (row.a[1] if row.name == "pipe2" else 0) if is_pipe else row.a[1]
        call.facts["nonblocking"] = bool(flags & linux.O_NONBLOCK)
        if not is_pipe:
            call.facts["family"] = _FAMILIES.get(row.a[0], "other")
        if row.failed:
            return
        for _ in range(2):
            # The kernel takes the lowest that is free; which ones it took is not recorded.
            free = next(n for n in range(len(self._table) + 1) if n not in self._table)
            handle = Handle("pipe" if is_pipe else "unix_socket")
            handle.is_nonblocking = bool(flags & linux.O_NONBLOCK)
            self._add(free, handle, call)

    def socket(self, row: Row, call: Call) -> None:
        family = _FAMILIES.get(row.a[0], "other")
        call.facts["family"] = family
        if not row.failed:
            handle = Handle(_SOCKET_KINDS.get(family, "other"), family=family)
            handle.is_nonblocking = bool(row.a[1] & linux.O_NONBLOCK)
            self._add(row.moved, handle, call)

    def on_socket(self, row: Row, call: Call) -> None:
        self.by_descriptor(row, call)
        if call.handle is None:
            return
        call.facts["family"] = call.handle.family
        call.facts["n"] = row.moved
        if row.name in ("sendmmsg", "recvmmsg"):
            call.facts["messages"] = row.moved
        if row.name in ("accept", "accept4") and not row.failed:
            self._table[row.moved] = Handle(call.handle.kind, family=call.handle.family)

    # Data

    def transferred(self, row: Row, call: Call) -> None:
        self.by_descriptor(row, call)
        handle = call.handle
        facts = call.facts
        facts["n"] = row.moved
        is_vector = row.name in ("readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2")
        facts["asked"] = row.moved if is_vector else row.a[2]
        if is_vector:
            facts["iovecs"] = row.a[2]
        if handle is None:
            return
        is_positioned = row.name.startswith("p")
        offset = row.a[3] if is_positioned else handle.offset
        facts["offset"] = offset
        if not is_positioned:
            handle.offset += row.moved
        if row.name in _WRITES:
            handle.is_written = True
            if handle.file is not None:
                handle.file.is_written = True
        elif handle.file is not None and not row.failed:
            handle.file.note_read(offset, 0 if is_vector else row.a[2], row.moved)

    def sought(self, row: Row, call: Call) -> None:
        handle = call.handle = self._handle(row.a[0])
        if row.failed:
            return
        handle.offset = row.moved
        if row.a[2] == linux.SEEK_END and row.a[1] == 0 and handle.file is not None:
            handle.file.size_bytes = row.moved

    def sent_file(self, row: Row, call: Call) -> None:
        handle = call.handle = self._handle(row.a[1])
        call.facts["n"] = row.moved
        call.facts["offset"] = handle.offset
        if row.a[2] == 0:
            handle.offset += row.moved

    def listed(self, row: Row, call: Call) -> None:
        handle = call.handle = self._handle(row.a[0])
        if handle.file is not None:
            handle.file.is_directory = True
        if row.failed:
            return
        if handle.entries is None:
            handle.entries = call
            call.facts["is_first_use"] = True
        first = handle.entries.facts
        first["directory_bytes"] = int(first.get("directory_bytes", 0)) + row.moved

    # Memory

    def mapped(self, row: Row, call: Call) -> None:
        address, length, protection, flags = row.moved, row.a[1], row.a[2], row.a[3]
        facts = call.facts
        facts["anonymous"] = bool(flags & linux.MAP_ANONYMOUS)
        facts["shared"] = is_shared = flags & linux.MAP_TYPE in linux.MAP_SHARED_TYPES
        facts["readable"] = bool(protection & linux.PROT_READ)
        facts["writable"] = bool(protection & linux.PROT_WRITE)
        facts["no_reserve"] = bool(flags & linux.MAP_NORESERVE)
        facts["offset"], facts["asked"] = row.a[5], length
        set_length(facts, length)
        if row.failed or flags & linux.MAP_ANONYMOUS:
            return
        handle = call.handle = self._handle(row.a[4])
        self._unmap(address, length)
        if handle.file is not None:
            handle.file.note_read(row.a[5], 0, 1)
            if is_shared and protection & linux.PROT_WRITE:
                handle.file.is_written = True
                self._shared.append((address, address + whole_pages(length)))

    def unmapped(self, row: Row, call: Call) -> None:
        set_length(call.facts, row.a[1])
        if row.failed:
            return
        end = row.a[0] + whole_pages(row.a[1])
        call.facts["shared_bytes"] = sum(
            max(min(high, end) - max(low, row.a[0]), 0) for low, high in self._shared
        )
        if row.name == "munmap":
            self._unmap(row.a[0], row.a[1])

    def _unmap(self, address: int, length: int) -> None:
        end = address + whole_pages(length)
        kept = []
        for low, high in self._shared:
            kept += [(a, b) for a, b in ((low, min(high, address)), (max(low, end), high)) if a < b]
        self._shared = kept

    def range_of_memory(self, row: Row, call: Call) -> None:
        set_length(call.facts, row.a[2] if row.name == "mremap" else row.a[1])
        if row.name == "mprotect":
            call.facts["readable"] = bool(row.a[2] & linux.PROT_READ)
            call.facts["writable"] = bool(row.a[2] & linux.PROT_WRITE)
        elif row.name == "madvise":
            call.facts["command"] = _MADVICE.get(row.a[2] & 0xFFFFFFFF, "other")

    def moved_break(self, row: Row, call: Call) -> None:
        if self._break:
            set_length(call.facts, max(row.moved - self._break, 0))
        self._break = row.moved or self._break

    # Threads and processes

    def futex(self, row: Row, call: Call) -> None:
        operation = _FUTEX_COMMANDS.get(row.a[1] & _FUTEX_COMMAND_MASK, "other")
        call.facts["operation"] = operation
        if operation in ("wake", "wake_op"):
            call.facts["woken"] = row.moved
        elif operation == "requeue":
            call.facts["woken"] = min(row.moved, row.a[2] & 0xFFFFFFFF)

    def cloned(self, row: Row, call: Call) -> None:
        call.facts["is_thread"] = row.moved in self._threads.kernel_tids
        self.about_threads(row, call)

    def about_threads(self, row: Row, call: Call) -> None:
        call.facts["other_threads"] = self._threads.others_at(row.position)

    def waited(self, row: Row, call: Call) -> None:
        call.facts["waits"] = not row.a[2 if row.name == "wait4" else 3] & linux.WNOHANG

    def changed_folder(self, row: Row, call: Call) -> None:
        handle = call.handle = self._handle(row.a[0])
        if not row.failed and handle.file is not None:
            handle.file.is_directory = True
            self._folder = handle.file.path


def _signed(descriptor: int) -> int:
    """A descriptor, of which the kernel takes the lower half of the register."""
    low = descriptor & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


def whole_pages(length: int) -> int:
    """A length in bytes, up to whole pages."""
    return -(-length // PAGE_BYTES) * PAGE_BYTES


def set_length(facts: dict[str, Value], length: int) -> None:
    """Adds to the facts of a call that so many bytes of memory are concerned."""
    facts["length"] = whole_pages(length)
    facts["pages"] = whole_pages(length) // PAGE_BYTES


#: Calls of which the facts depend on what threads there are.
ABOUT_THREADS = ("clone", "clone3", "exit", "exit_group")
_FORKING = ("fork", "vfork", "clone", "clone3")
_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")
#: Calls that return a descriptor.
_OPENING = (
    "open", "openat", "creat", "socket", "eventfd", "eventfd2", "epoll_create", "epoll_create1",
    "timerfd_create", "signalfd", "signalfd4", "memfd_create", "inotify_init", "inotify_init1",
)  # fmt: skip
_PATH_CALLS = """
    stat lstat access statfs getxattr lgetxattr listxattr llistxattr readlink chdir chown chroot
    execve mkdir rmdir unlink rename chmod truncate mknod lchown link symlink utime utimes
"""
_PATH_AT_CALLS = """
    newfstatat faccessat faccessat2 statx readlinkat fchownat mkdirat mknodat unlinkat renameat
    renameat2 fchmodat utimensat execveat
"""
_DESCRIPTOR_CALLS = """
    fstat fstatfs ftruncate fchmod fchown fsync fdatasync fallocate fadvise64 fgetxattr flistxattr
    flock epoll_wait epoll_pwait epoll_ctl
"""
_SOCKET_CALLS = """
    connect accept accept4 bind listen shutdown sendto sendmsg recvfrom recvmsg sendmmsg recvmmsg
    setsockopt getsockopt getsockname getpeername
"""
_NEW_DESCRIPTOR_CALLS = " ".join(n for n in _OPENING if n[:4] not in ("open", "crea", "sock"))
_TRANSFERS = "read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2"
_BY_NAMES: tuple[tuple[Callable[[_Process, Row, Call], list[Call] | None], str], ...] = (
    (_Process.opened, "open openat creat"),
    (_Process.by_path, _PATH_CALLS),
    (_Process.by_path_at, _PATH_AT_CALLS),
    (_Process.by_descriptor, _DESCRIPTOR_CALLS),
    (_Process.closed, "close"),
    (_Process.closed_range, "close_range"),
    (_Process.duplicated, "dup dup2 dup3"),
    (_Process.controlled, "fcntl"),
    (_Process.ioctl, "ioctl"),
    (_Process.new_descriptor, _NEW_DESCRIPTOR_CALLS),
    (_Process.pair, "pipe pipe2 socketpair"),
    (_Process.socket, "socket"),
    (_Process.on_socket, _SOCKET_CALLS),
    (_Process.transferred, _TRANSFERS),
    (_Process.sought, "lseek"),
    (_Process.sent_file, "sendfile"),
    (_Process.listed, "getdents getdents64"),
    (_Process.mapped, "mmap"),
    (_Process.unmapped, "munmap msync"),
    (_Process.range_of_memory, "mprotect madvise mremap mincore mlock"),
    (_Process.moved_break, "brk"),
    (_Process.futex, "futex"),
    (_Process.cloned, "clone clone3"),
    (_Process.about_threads, "exit exit_group"),
    (_Process.waited, "wait4 waitid"),
    (_Process.changed_folder, "fchdir"),
)
_HANDLERS = {name: handler for handler, names in _BY_NAMES for name in names.split()}
