# SPDX-License-Identifier: Apache-2.0
"""Raw system calls: SYSCALL instructions outside the C library, as of an OpenMP library, trap.

A library OS replaces the instruction in its own C library. Elsewhere it raises an exception: an
asynchronous exit, a signal of the host, and the way back, even for calls that need no exit.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import counted
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.system_calls.callers import CallerClasses
from sgxlens.enclave.transition_counts import RAW_SYSCALL
from sgxlens.text import one_line
from sgxlens.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge

_TRAPS = f"traps of {RAW_SYSCALL}"
_OBJECTS_MAX = 3


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Object files whose system calls should be made by the C library."""
    steady, start = (
        [charge for charge in charges if charge.what == _TRAPS]
        for charges in (situation.evaluation.steady, situation.evaluation.startup)
    )
    if not steady and not start:
        return Declined(
            "all system calls are made by the C library, or trap nowhere in"
            f" {situation.runtime.title}"
        )
    objects = _objects(situation)
    if not objects:
        return Declined("it is not known which object files make the system calls that trap")
    patched = (*situation.runtime.patched_objects, *(PurePath(path).name for path in objects))
    after = situation.again(runtime=situation.runtime.model_copy(update={
        "patched_objects": patched
    }))  # fmt: skip
    inference = situation.inference_gain(after.steady)
    startup = situation.startup_gain(after.startup)
    gains = tuple(gain for gain in (inference, startup) if situation.is_worth(gain))
    if not gains:
        names = ", ".join(one_line(PurePath(path).name, 40) for path in objects)
        return Declined(
            f"system calls of {names} trap {format_count(counted(steady).likely)} times in an"
            f" inference, {max(inference.share, 0):.1%} of it"
        )
    names = " and ".join(one_line(PurePath(path).name, 40) for path in objects)
    return (
        Advice(
            title=f"Let the C library make the system calls of {names}",
            finding=(
                f"{names} has SYSCALL instructions of its own: {_times(steady)} in an inference and"
                f" {_times(start)} until the first result they trap, beside the call itself."
            ),
            evidence=(
                Evidence(
                    "traps of system calls in an inference",
                    *(counted(steady), "count", "sgxlens predict --json: exits"),
                ),
                Evidence(
                    "traps of system calls until the first result",
                    *(counted(start), "count", "sgxlens predict --json: startup.inside_items"),
                ),
                *(
                    Evidence(
                        f"system calls of {one_line(path, 80)} in the whole recording",
                        *(Range.exact(count), "count", "table syscalls, by caller"),
                    )
                    for path, count in objects.most_common(_OBJECTS_MAX)
                ),
            ),
            changes="program",
            gains=gains,
            costs=(Cost("start-up", "a library of your own to build, and to update"),),
            steps=tuple(_steps(situation, objects)),
            assumptions=("Threads wait as often as under the tracer, which runs one at a time.",),
        ),
    )


RULE = Rule("raw_syscalls", "system calls of an OpenMP library, which trap", find)


def _times(charges: Sequence[Charge]) -> str:
    return f"{format_count(counted(charges).likely)} times"


def _objects(situation: Situation) -> Counter[str]:
    """Object files whose system calls trap, and how many they make."""
    classes = CallerClasses(situation.runtime.patched_objects)
    table = situation.recording.table("syscalls").select(["process", "caller"])
    counts = table.group_by(["process", "caller"]).aggregate([([], "count_all")])
    return Counter(
        {
            row["caller"]: row["count_all"]
            for row in counts.to_pylist()
            if row["process"] == situation.phase.process
            and row["caller"]
            and classes.is_raw(row["caller"])
        }
    )


def _steps(situation: Situation, objects: Counter[str]) -> list[Step]:
    libraries = [path for path in objects if PurePath(path).name.startswith("libgomp")]
    steps = []
    if libraries and situation.runtime.name.startswith("gramine"):
        mounts = ",\n".join(
            f'  {{ path = "{one_line(path)}",'
            ' uri = "file:{{ gramine.runtimedir() }}/libgomp.so.1" }'
            for path in libraries
        )
        steps.append(
            Step(
                "Build Gramine with its own libgomp (meson setup ... -Dlibgomp=enabled), and mount"
                " it where the program finds the other one.",
                "toml",
                f"fs.mounts = [\n{mounts},\n]\n"
                'sgx.trusted_files = ["file:{{ gramine.runtimedir() }}/libgomp.so.1"]',
            )
        )
    if libraries:
        steps.append(
            Step(
                "Or take Intel's OpenMP library, which calls the C library, in its place:"
                " pip install intel-openmp.",
                "toml",
                'loader.env.LD_PRELOAD = "/FOLDER/libiomp5.so"',
            )
            if situation.runtime.name.startswith("gramine")
            else Step(
                "Take Intel's OpenMP library, which calls the C library, in its place:"
                " pip install intel-openmp, and set it in env.default of Occlum.json.",
                "text",
                '"LD_PRELOAD=/FOLDER/libiomp5.so"',
            )
        )
    others = [path for path in objects if path not in libraries]
    if others:
        names = ", ".join(one_line(path, 80) for path in others[:_OBJECTS_MAX])
        steps.append(
            Step(f"Link {names} dynamically with the C library, and call syscall() there.")
        )
    return steps
