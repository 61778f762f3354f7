# SPDX-License-Identifier: Apache-2.0
"""Numbers that Linux has on x86-64, under its own names.

From fcntl(2), open(2), mmap(2), madvise(2), close_range(2), lseek(2) and wait4(2).
"""

from __future__ import annotations

AT_FDCWD = -100
O_ACCMODE, O_CREAT, O_EXCL, O_TRUNC = 0o3, 0o100, 0o200, 0o1000
O_NONBLOCK, O_DIRECTORY, O_PATH = 0o4000, 0o200000, 0o10000000
F_DUPFD, F_SETFL, F_DUPFD_CLOEXEC = 0, 4, 1030
#: ``MAP_SHARED`` and ``MAP_SHARED_VALIDATE``, of the bits in ``MAP_TYPE``.
MAP_SHARED_TYPES, MAP_TYPE = (1, 3), 0xF
MAP_ANONYMOUS, MAP_NORESERVE = 0x20, 0x4000
MADV_DONTNEED = 4
PROT_READ, PROT_WRITE = 1, 2
CLOSE_RANGE_CLOEXEC = 4
SEEK_END = 2
WNOHANG = 1
