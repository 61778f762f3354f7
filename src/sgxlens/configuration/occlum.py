# SPDX-License-Identifier: Apache-2.0
"""The parts of Occlum.json that follow from a recording.

Keys are those of Occlum 0.31 (occlum/occlum@690d5dbf: docs/readthedocs/docs/source/
occlum_configuration.md). JSON has no comments: the reasons stand beside it.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgxlens.configuration.program import Program
    from sgxlens.enclave.memory import MemoryNeeds
    from sgxlens.enclave.runtime import Runtime

_MEBIBYTE = 1 << 20


def occlum_fragment(
    program: Program, needs: MemoryNeeds, runtime: Runtime, *, threads: int
) -> tuple[str, tuple[str, ...]]:
    """The fragment, and why each value is what it is: a line each.

    Args:
        program: the program.
        needs: what it needs in the runtime.
        runtime: Occlum, or a variant of it.
        threads: threads that work at once.
    """
    content: dict[str, Any] = {"resource_limits": {}, "process": {}}
    reasons = []
    for setting in needs.settings:
        section, _, name = setting.name.partition(".")
        value: Any = setting.value
        if setting.unit == "bytes":
            # Occlum takes MB for 2^20 bytes.
            value = f"{-(-setting.value // _MEBIBYTE)}MB"
        content.setdefault(section, {})[name] = value
        reasons.append(f"{setting.name} = {value}: {setting.reason}")
    environment = {"OCCLUM": "yes", "OMP_NUM_THREADS": str(threads)}
    reasons.append(f"OMP_NUM_THREADS={threads}: threads that worked at once")
    if needs.live_thread_count > 1:
        environment["MALLOC_ARENA_MAX"] = "1"
        reasons.append("MALLOC_ARENA_MAX=1: each arena of malloc maps 64 MiB, which are held")
    for name, value in program.variables.items():
        environment[name] = value
        reasons.append(f"{name}={value}: as set when it was recorded")
    content["env"] = {"default": [f"{name}={value}" for name, value in environment.items()]}
    is_dynamic = runtime.memory.commits != "at_build"
    content["feature"] = {"enable_edmm": is_dynamic}
    reasons.append(
        "feature.enable_edmm: " + ("pages are added when touched" if is_dynamic else "as predicted")
    )
    content["entry_points"] = [str(PurePosixPath(program.path).parent)]
    reasons.append("entry_points: where the program lies; nothing else can be started")
    image = len(program.files.keys() - program.written)
    reasons.append(f"image: {image} files that it opened and only read must be in it (copy_bom)")
    if program.written:
        reasons.append(f"written, and sealed by Occlum: {', '.join(sorted(program.written))}")
    return json.dumps({key: value for key, value in content.items() if value}, indent=2) + "\n", (
        *reasons,
    )
