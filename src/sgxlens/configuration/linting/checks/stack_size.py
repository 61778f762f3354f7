# SPDX-License-Identifier: Apache-2.0
"""Stacks that are smaller than what was used, or so large that the enclave must be larger.

Every thread has a stack of this size: Gramine gives it as the limit that the C library takes
(gramineproject/gramine@ff71d7af: libos/src/libos_init.c, init_stack()).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.values import size_text
from sgxlens.enclave.memory import memory_needs, power_of_two
from sgxlens.enclave.stacks import stack_bytes
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.observed import Observed
    from sgxlens.configuration.linting.subject import Subject

KEY = "sys.stack.size"
#: What is saved where pages are added as memory is mapped, as a share, to be worth a word.
_WORTH_SHARE = 0.1


def find(subject: Subject) -> Iterator[Finding]:
    """Stacks that the recorded program would overflow, or of which it uses next to nothing."""
    size = subject.size_bytes(KEY)
    observed = subject.observed
    if observed is None or size is None:
        return
    used = observed.needs.deepest_stack_bytes
    if size < used:
        enough = stack_bytes(observed.recording, observed.phase.process, subject.runtime.memory)
        yield subject.found(
            "error",
            KEY,
            f"stacks have {format_bytes(size)}, and a thread of the recorded program used"
            f" {format_bytes(used)}",
            "It writes below its stack: the program stops with SIGSEGV.",
            "Give what it used, and some to spare.",
            f'{KEY} = "{size_text(enough)}"',
        )
    elif used and subject.document.get(KEY) is not None:
        yield from _too_large(subject, observed, size)


def _too_large(subject: Subject, observed: Observed, size: int) -> Iterator[Finding]:
    memory = subject.runtime.memory
    enough = stack_bytes(observed.recording, observed.phase.process, memory)
    if size <= enough:
        return
    then = memory_needs(
        observed.recording,
        subject.runtime,
        threads=observed.threads,
        process=observed.phase.process,
    ).total_bytes.high
    now = observed.needs.total_bytes.high
    if memory.commits == "at_build":
        is_worth = power_of_two(then) < power_of_two(now)
        after = f"An enclave of {format_bytes(power_of_two(then))} would be enough for it, and it"
        after += f" takes one of {format_bytes(power_of_two(now))}."
    else:
        is_worth = now - then >= _WORTH_SHARE * now
        after = f"{format_bytes(now - then)} are added to the enclave that nobody uses."
    if is_worth:
        yield subject.found(
            "note",
            KEY,
            f"each thread has a stack of {format_bytes(size)}, and of the"
            f" {observed.needs.live_thread_count} that were recorded none used more than"
            f" {format_bytes(observed.needs.deepest_stack_bytes)}",
            after,
            "Give less, unless other inputs need more.",
            f'{KEY} = "{size_text(enough)}"',
        )


CHECK = Check("stack_size", "stacks that are too small, or far too large", ("gramine",), find)
