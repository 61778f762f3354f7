# SPDX-License-Identifier: Apache-2.0
"""`manifest`: from a recording to the configuration of a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.configuration.gramine import gramine_manifest
from sgxlens.configuration.occlum import occlum_fragment
from sgxlens.configuration.program import need_tables, recorded_program
from sgxlens.enclave.files import FileKinds
from sgxlens.enclave.memory import memory_needs
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.errors import UsageError
from sgxlens.prediction.inputs import chosen_phase, thread_count
from sgxlens.recording.reader import Recording, open_recording

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


@dataclass(frozen=True)
class Manifest:
    """Configuration of a runtime.

    Attributes:
        text: the content of the file.
        reasons: why values are what they are, where the file has no comments; a line each.
    """

    text: str
    reasons: tuple[str, ...]


def manifest(
    recording: Recording | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str] = "gramine",
    *,
    threads: int | None = None,
    trusted: Sequence[str] = (),
    allowed: Sequence[str] = (),
    encrypted: Sequence[str] = (),
) -> Manifest:
    """The configuration of a runtime for a recorded program.

    Args:
        recording: the recording, or its folder.
        runtime: Gramine, Occlum or a variant: its name or the file that describes it.
        threads: threads that work at once; None: as recorded.
        trusted: patterns of absolute paths of files, as for `sgxlens.predict`; and so are these:
        allowed: files that are used on the host as they are.
        encrypted: files that the runtime seals.

    Raises:
        UsageError: an argument makes no sense, or the runtime has no such file.
        RecordingError: the recording is damaged, or lacks system calls or mappings.
    """
    source = recording if isinstance(recording, Recording) else open_recording(recording)
    inside = runtime if isinstance(runtime, Runtime) else load_runtime(runtime)
    family = inside.name.partition("-")[0]
    if family not in ("gramine", "occlum"):
        raise UsageError(
            f"no configuration is known for {inside.title}: give gramine, occlum or a variant"
        )
    need_tables(source)
    phase = chosen_phase(source, None)
    count = thread_count(source, phase, threads, native_is_given=True)
    needs = memory_needs(source, inside, threads=count, process=phase.process)
    kinds = FileKinds(tuple(trusted), tuple(allowed), tuple(encrypted))
    program = recorded_program(source, phase.process, inside, kinds)
    if family == "occlum":
        return Manifest(*occlum_fragment(program, needs, inside, threads=count))
    text = gramine_manifest(program, needs, inside, threads=count, source=str(source.path))
    return Manifest(text, ())
