# SPDX-License-Identifier: Apache-2.0
"""Runtimes that differ in how they hold memory."""

from __future__ import annotations

from typing import Any

from sgxlens.enclave.runtime import Runtime, load_runtime


def runtime_with(commits: str, mremap: str, **memory: Any) -> Runtime:
    """Gramine, with another way to hold memory."""
    runtime = load_runtime("gramine")
    changes = {"commits": commits, "mremap": mremap, **memory}
    return runtime.model_copy(update={"memory": runtime.memory.model_copy(update=changes)})
