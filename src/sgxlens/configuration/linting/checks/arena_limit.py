# SPDX-License-Identifier: Apache-2.0
"""No limit of malloc's arenas in a program with several threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

#: glibc's HEAP_MAX_SIZE, of which twice as much is mapped at first to align it.
_ARENA_BYTES = 64 << 20
#: With the slots that Gramine gives without being asked, a program has one thread.
_ONE_THREAD_SLOTS = 4
_NAME = "MALLOC_ARENA_MAX"


def find(subject: Subject) -> Iterator[Finding]:
    """``MALLOC_ARENA_MAX`` missing where threads have arenas of their own."""
    document = subject.document
    is_occlum = document.family == "occlum"
    if _is_limited(subject) or (subject.is_dynamic and not is_occlum):
        return
    if subject.observed is not None:
        threads = subject.observed.needs.live_thread_count
        whose = f"the recorded program has {threads} threads at a time"
    else:
        slots = document.get("resource_limits.max_num_of_threads") if is_occlum else (
            subject.integer("sgx.max_threads")
        )  # fmt: skip
        threads = (slots if isinstance(slots, int) else 0) - _ONE_THREAD_SLOTS + 1
        whose = f"there is room for {threads} threads of the program"
        if is_occlum:
            return  # its limit is of all processes, and says little
    if threads > 1:
        held = format_bytes((threads - 1) * _ARENA_BYTES)
        yield subject.found(
            "warning" if subject.observed is not None else "note",
            "env.default" if is_occlum else f"loader.env.{_NAME}",
            f"{_NAME} is not set, and {whose}",
            f"glibc gives threads arenas of their own: up to {held} that the enclave holds and"
            " clears, of which little is used; twice as much while each is made.",
            "Let all threads share one arena.",
            f'"{_NAME}=1"' if is_occlum else f'loader.env.{_NAME} = "1"',
        )


def _is_limited(subject: Subject) -> bool:
    if subject.document.family == "occlum":
        given = subject.document.get("env.default")
        texts = [str(item) for item in given] if isinstance(given, list) else []
        return any(text.startswith(f"{_NAME}=") or _is_allocator(text) for text in texts)
    if any(subject.environment(name) is not None for name in (_NAME, "GLIBC_TUNABLES")):
        return True
    preloaded = subject.environment("LD_PRELOAD")
    return preloaded is not None and (not preloaded or _is_allocator(preloaded))


def _is_allocator(text: str) -> bool:
    """Whether another malloc is brought in: jemalloc, tcmalloc, mimalloc."""
    return "malloc.so" in text or "tcmalloc" in text


CHECK = Check("arena_limit", "no limit of malloc's arenas", ("gramine", "occlum"), find)
