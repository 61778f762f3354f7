# SPDX-License-Identifier: Apache-2.0
"""Thread pools that are told of more threads than the enclave has, or of none at all."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POOLS = re.compile(r"(?:libgomp|libiomp5|libomp|libopenblas|libmkl_rt|libscipy_openblas)\b.*")
_OWN = 3


def find(subject: Subject) -> Iterator[Finding]:
    """A number of threads above ``sgx.max_threads``, or none where a library would take all."""
    slots = subject.integer("sgx.max_threads")
    for name in _VARIABLES:
        value = subject.environment(name)
        if value and value.isdecimal() and slots is not None and not subject.is_dynamic:
            count = int(value[:9])
            if count > 1 and count + _OWN > slots:
                yield subject.found(
                    "error",
                    f"loader.env.{name}",
                    f"{name} = {count}, and sgx.max_threads = {slots} holds {_OWN} of Gramine, too",
                    "Making the last threads fails, and most programs then stop.",
                    "Give more slots, or fewer threads.",
                    f"sgx.max_threads = {count + _OWN}",
                )
    observed = subject.observed
    if observed is None or any(subject.environment(name) is not None for name in _VARIABLES):
        return
    pools = [p for p in observed.program.files if _POOLS.fullmatch(PurePosixPath(p).name)]
    if pools:
        yield subject.found(
            "warning",
            "loader.env.OMP_NUM_THREADS",
            f"{PurePosixPath(pools[0]).name} is not told how many threads to take",
            "It takes as many as the host has processors, which may be more than sgx.max_threads"
            " and than is good: in an enclave, waiting for each other costs transitions.",
            f"Say it; {observed.threads} worked at once in the recording.",
            f'loader.env.OMP_NUM_THREADS = "{observed.threads}"',
        )


CHECK = Check("thread_environment", "thread pools and the threads there are", ("gramine",), find)
