# SPDX-License-Identifier: Apache-2.0
"""`lint`: what is wrong with a configuration file of a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgxlens.configuration import gramine_keys, occlum_keys
from sgxlens.configuration.linting.finding import SEVERITIES, Finding, Severity
from sgxlens.configuration.linting.observed import observe
from sgxlens.configuration.linting.registry import (
    BrokenCheck,
    Check,
    chosen_checks,
)
from sgxlens.configuration.linting.subject import EDMM_KEYS, Subject
from sgxlens.configuration.reading.document import Document, Family
from sgxlens.configuration.reading.read import read_document
from sgxlens.enclave.platform import Platform, load_platform
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.errors import UsageError
from sgxlens.extensions import problem_of
from sgxlens.recording.reader import Recording, open_recording

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Found:
    """A finding, and the check that it is from."""

    check: str
    finding: Finding


@dataclass(frozen=True)
class LintReport:
    """What is wrong with a configuration file.

    Attributes:
        path: the file.
        family: the runtime that it is of.
        runtime: name of the variant that it was looked at as.
        recording, platform: what it was compared with; None: with none.
        found: the findings, by line and then the worst first.
        accepted: how many more a comment in the file accepts.
        unknown: variables of the template that are not known; values with them were not checked.
        broken: checks that could not be made.
    """

    path: str
    family: Family
    runtime: str
    recording: str | None
    platform: str | None
    found: tuple[Found, ...]
    accepted: int
    unknown: tuple[str, ...]
    broken: tuple[BrokenCheck, ...]

    def count(self, severity: Severity) -> int:
        """How many findings are of a severity."""
        return sum(one.finding.severity == severity for one in self.found)


def lint(
    path: str | os.PathLike[str],
    *,
    recording: Recording | str | os.PathLike[str] | None = None,
    platform: Platform | str | os.PathLike[str] | None = None,
    runtime: Runtime | str | os.PathLike[str] | None = None,
    variables: Mapping[str, str | bool] | None = None,
    ignore: Sequence[str] = (),
) -> LintReport:
    """What is wrong with a configuration file of a runtime, beyond what its schema says.

    Args:
        path: a manifest of Gramine or its template (TOML, with Jinja), or an Occlum.json.
        recording: of the program that it is for, or its folder: compares sizes, threads and files.
        platform: where it shall run, its name or the file that describes it.
        runtime: as for `sgxlens.predict`; None: Gramine or Occlum, with EDMM as the file says.
        variables: of a template, as ``gramine-manifest -D`` takes them.
        ignore: names of checks that are not made.

    Raises:
        UsageError: the file cannot be read or is none of these, or an argument makes no sense.
        RecordingError: the recording is damaged, or lacks system calls or mappings.
    """
    wanted, broken = chosen_checks(ignore)
    document = read_document(path, variables)
    inside = _runtime(document, runtime)
    place = platform
    if place is not None and not isinstance(place, Platform):
        place = load_platform(place)
    source = recording
    if source is not None and not isinstance(source, Recording):
        source = open_recording(source)
    stack_bytes = _stack_size_bytes(document, inside)
    subject = Subject(
        document=document,
        runtime=inside,
        platform=place,
        observed=None if source is None else observe(source, inside, stack_bytes),
    )
    return checked(subject, wanted, broken)


def _stack_size_bytes(document: Document, runtime: Runtime) -> int | None:
    """What a file sets for stacks; None: nothing that is known."""
    value = document.get(runtime.memory.settings.stack)
    parse = gramine_keys if document.family == "gramine" else occlum_keys
    return parse.parse_size(value) if isinstance(value, str) else None


def checked(
    subject: Subject, wanted: Sequence[Check], broken: Sequence[BrokenCheck] = ()
) -> LintReport:
    """What checks find; of one that raises, what it raised."""
    found: list[Found] = []
    failed = list(broken)
    accepted = 0
    document = subject.document
    for check in wanted:
        if document.family not in check.families:
            continue
        try:
            findings = list(check.find(subject))
        except Exception as error:  # noqa: BLE001 - one check must not silence the others
            failed.append(BrokenCheck(check.name, problem_of(error)))
            continue
        for finding in findings:
            if check.name in document.accepted.get(finding.line, frozenset()):
                accepted += 1
            else:
                found.append(Found(check.name, finding))
    found.sort(key=lambda one: (one.finding.line, SEVERITIES.index(one.finding.severity)))
    return LintReport(
        path=document.path,
        family=document.family,
        runtime=subject.runtime.name,
        recording=None if subject.observed is None else str(subject.observed.recording.path),
        platform=None if subject.platform is None else subject.platform.name,
        found=tuple(found),
        accepted=accepted,
        unknown=document.rendered.unknown,
        broken=tuple(failed),
    )


def _runtime(document: Document, asked: Runtime | str | os.PathLike[str] | None) -> Runtime:
    if asked is not None:
        runtime = asked if isinstance(asked, Runtime) else load_runtime(asked)
        if runtime.name.partition("-")[0] != document.family:
            raise UsageError(
                f"{document.path} is of {document.family}, not of {runtime.name}: leave --runtime"
                " out, or give a variant of that"
            )
        return runtime
    is_dynamic = document.is_true(EDMM_KEYS[document.family])
    return load_runtime(document.family + ("-edmm" if is_dynamic else ""))
