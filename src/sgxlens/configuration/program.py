# SPDX-License-Identifier: Apache-2.0
"""What a runtime must be told of a recorded program: its files, its threads, how it is started."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, cast, get_args

from sgxlens.enclave.files import Classifier, Disk
from sgxlens.enclave.mappings.events import is_tracer_file
from sgxlens.enclave.system_calls.replay import replay_calls
from sgxlens.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgxlens.enclave.files import FileKinds
    from sgxlens.enclave.runtime import Runtime
    from sgxlens.recording.reader import Recording

#: Parts of the C library, which Gramine brings patched, and what finds them natively.
_C_LIBRARY = re.compile(
    r"(?:ld-linux[^/]*|lib(?:c|m|dl|pthread|rt|util|resolv|anl|nsl|nss_[a-z]+)\.so\.\d+"
    r"|ld\.so\.(?:cache|preload))"
)
#: Tables that a configuration follows from.
_TABLES = ("syscalls", "mappings")
FileKind = Literal["trusted", "allowed", "encrypted"]
_OPENING = frozenset({"open", "openat", "creat", "execve"})
#: Folders for files that live as long as the program.
_TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/")  # noqa: S108 - of the program, not of ours
#: What only the recording needs: of a model, the runner and what it reads and writes.
_OURS = re.compile(r".*/sgxlens-[^/]*(?:/.*)?|.*/(?:site-packages|src)/sgxlens/.*")
#: Targets that sgxlens itself runs; of the others, the command is the program.
_RUN_BY_US = frozenset({"onnx", "torch"})


@dataclass(frozen=True)
class Program:
    """A recorded program.

    Attributes:
        path: the first program of the process.
        arguments: its arguments, itself first; None: sgxlens ran the model, and a deployment starts
            otherwise.
        files: files that it opened, by path, with what the runtime takes them for.
        written: those of them that it writes.
        temporary: folders for files that it made and that live as long as itself, with an example.
        ours: how many further files it opened only because sgxlens recorded it.
        calls: names of the system calls that it made.
        variables: of its environment, that were set for the recording; those for sgxlens left out.
    """

    path: str
    arguments: tuple[str, ...] | None
    files: dict[str, FileKind]
    written: frozenset[str]
    temporary: dict[str, str]
    ours: int
    calls: frozenset[str]
    variables: Mapping[str, str]

    @property
    def own_files(self) -> dict[str, FileKind]:
        """Its files but those of the C library, in whose place a runtime may have its own."""
        return {
            path: kind
            for path, kind in self.files.items()
            if not _C_LIBRARY.fullmatch(PurePosixPath(path).name)
        }


def need_tables(recording: Recording) -> None:
    """Refuses a recording without the tables that a configuration follows from.

    Raises:
        RecordingError: it lacks one.
    """
    for table in _TABLES:
        if not recording.has_table(table):
            raise RecordingError(
                f"{recording.path} has no table {table}, from which a configuration follows: record"
                " it again with this version of sgxlens"
            )


def recorded_program(
    recording: Recording, process: int, runtime: Runtime, kinds: FileKinds
) -> Program:
    """What is recorded of the program of a process.

    Args:
        recording: the recording.
        process: the process.
        runtime: says what files are by default.
        kinds: what the user says of files.

    Raises:
        RecordingError: the recording is damaged.
    """
    metadata = recording.metadata
    info = next(one for one in metadata.processes if one.process == process)
    disk = Disk(metadata.created, look=kinds.look_on_disk)
    classifier = Classifier(kinds, runtime.files, disk)
    files: dict[str, FileKind] = {}
    temporary: dict[str, str] = {}
    ours: set[str] = set()
    written: set[str] = set()
    names = set()
    for call in replay_calls(recording).calls:
        if call.process != process:
            continue
        names.add(call.name)
        file = call.path_file
        if call.name not in _OPENING or file is None or call.facts.get("failed"):
            continue
        if _OURS.fullmatch(file.path) or is_tracer_file(file.path):
            ours.add(file.path)
            continue
        kind = classifier.kind(file)
        if (
            file.is_written
            and file.path.startswith(_TEMPORARY)
            and kinds.kind_of(file.path) is None
        ):
            folder = next(one for one in _TEMPORARY if file.path.startswith(one)).rstrip("/")
            temporary.setdefault(folder, file.path)
        elif kind in get_args(FileKind):
            files[file.path] = cast("FileKind", kind)
            written |= {file.path} if file.is_written else set()
    if info.program.startswith("/"):
        files.setdefault(info.program, "trusted")
    run_by_us = metadata.target.kind in _RUN_BY_US
    return Program(
        path=info.program,
        arguments=None if run_by_us else (*metadata.command,),
        files=dict(sorted(files.items())),
        written=frozenset(written),
        temporary=dict(sorted(temporary.items())),
        ours=len(ours),
        calls=frozenset(names),
        variables={
            name: value
            for name, value in sorted(metadata.target.model_dump().get("environment", {}).items())
            if not name.startswith("SGXLENS_")
        },
    )


def mounted_folders(paths: list[str]) -> list[str]:
    """The folders to mount so that all `paths` are there: the first below the root, of each.

    Below folders of temporary files it is the second one.
    """
    found = set()
    for path in paths:
        parts = PurePosixPath(path).parts[1:-1]
        folder = f"/{parts[0]}" if parts else path
        if f"{folder}/" in _TEMPORARY:
            folder = "/".join(("", *parts[:2])) if len(parts) > 1 else path
        found.add(folder)
    return sorted(found)
