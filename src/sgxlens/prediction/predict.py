# SPDX-License-Identifier: Apache-2.0
"""`predict`: from a recording, a platform and a runtime to times inside an enclave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sgxlens.enclave.files import FileKinds
from sgxlens.enclave.platform import Platform, load_platform
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.errors import UsageError
from sgxlens.prediction.evaluation import Evaluation
from sgxlens.prediction.inputs import chosen_phase, native_basis, opened, thread_count
from sgxlens.prediction.native import NativeTimes
from sgxlens.prediction.paging import OVERHEADS_PERCENT, Enclaves
from sgxlens.prediction.sizing import sizing
from sgxlens.recording.format import PAGE_BYTES
from sgxlens.units import parse_size

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from sgxlens.enclave.epc import EpcPolicy
    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.reader import Phase, Recording

DEFAULT_RUNTIME: Final = "gramine"


@dataclass(frozen=True)
class Settings:
    """What is asked for beside the recording, the platform and the runtime; as for `predict`."""

    epc: int | str | None = None
    llc: int | str | None = None
    threads: int | None = None
    enclave_size: int | str | None = None
    replicas: int = 1
    policy: EpcPolicy | None = None
    overheads_percent: Sequence[float] = OVERHEADS_PERCENT
    trusted: Sequence[str] = ()
    allowed: Sequence[str] = ()
    encrypted: Sequence[str] = ()


def predict(
    recording: Recording | str | os.PathLike[str],
    platform: Platform | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str] = DEFAULT_RUNTIME,
    *,
    phase: int | str | None = None,
    epc: int | str | None = None,
    llc: int | str | None = None,
    threads: int | None = None,
    native_seconds: float | None = None,
    enclave_size: int | str | None = None,
    replicas: int = 1,
    policy: EpcPolicy | None = None,
    overheads_percent: Sequence[float] = OVERHEADS_PERCENT,
    trusted: Sequence[str] = (),
    allowed: Sequence[str] = (),
    encrypted: Sequence[str] = (),
) -> Prediction:
    """What a recorded program would cost inside an enclave.

    Every count comes from the recording, every constant from the platform and the runtime; nothing
    is extrapolated from a smaller model or another input.

    Args:
        recording: the recording, or its folder.
        platform: the platform, its name (see `sgxlens platforms`) or the file that describes it.
        runtime: the runtime, its name or the file that describes it.
        phase: index or name of the phase that counts as the steady inference; None: the last
            inference, else the longest phase after the start.
        epc: size of the EPC that enclaves can use, in bytes or as in ``"64M"``; None: the
            platform's.
        llc: size of the last-level cache, as `epc`.
        threads: threads that work at once; None: as recorded.
        native_seconds: native time of the steady inference on the machine that counts; None: as
            recorded. With it, only that phase is predicted: the recorded times of the others are
            of another machine.
        enclave_size: size of the enclave, as `epc`; None: the least that is enough.
        replicas: enclaves of this program that run at once and share the EPC.
        policy: which pages leave the EPC, see `sgxlens.enclave.epc`; None: as the platform's driver
            does it.
        overheads_percent: overheads of paging that the EPC is told for.
        trusted: patterns of absolute paths of files that the manifest hashes, as for
            `sgxlens.enclave.files.FileKinds`.
        allowed: the same of files that are used on the host as they are.
        encrypted: the same of files that the runtime seals. Files that no pattern is of are what
            the runtime takes them for.

    Raises:
        UsageError: an argument makes no sense, or contradicts another or the recording.
        RecordingError: the recording is damaged, or lacks what a prediction needs.
    """
    settings = Settings(
        epc=epc,
        llc=llc,
        threads=threads,
        enclave_size=enclave_size,
        replicas=replicas,
        policy=policy,
        overheads_percent=overheads_percent,
        trusted=trusted,
        allowed=allowed,
        encrypted=encrypted,
    )
    found = evaluate(
        recording, platform, runtime, settings, phase=phase, native_seconds=native_seconds
    )
    return found.prediction


def evaluate(
    recording: Recording | str | os.PathLike[str],
    platform: Platform | str | os.PathLike[str],
    runtime: Runtime | str | os.PathLike[str],
    settings: Settings,
    *,
    phase: Phase | int | str | None = None,
    native_seconds: float | None = None,
) -> Evaluation:
    """A prediction, as of `predict`, and the charges that it is made of.

    The charges of the steady inference are found at once, the rest when it is asked for.

    Raises:
        UsageError: an argument makes no sense, or contradicts another or the recording.
        RecordingError: the recording is damaged, or lacks what a prediction needs.
    """
    source = opened(recording)
    place = _platform(platform, settings.epc, settings.llc)
    inside = runtime if isinstance(runtime, Runtime) else load_runtime(runtime)
    if native_seconds is not None and not 0 < native_seconds < float("inf"):
        raise UsageError(f"a native time of {native_seconds} s: give one of more than nothing")
    steady = chosen_phase(source, phase)
    natives = NativeTimes(source, steady, native_seconds)
    native_basis(source, natives, steady)
    count = thread_count(
        source, steady, settings.threads, native_is_given=native_seconds is not None
    )
    size = sizing(source, steady, inside, count, _size(settings.enclave_size))
    return Evaluation(
        recording=source,
        platform=place,
        runtime=inside,
        steady=steady,
        natives=natives,
        sizing=size,
        enclaves=Enclaves(
            # What the runtime itself uses all the time is little, and not known: see `limits`.
            fixed_page_count=0,
            committed_page_count=-(-size.added_page_bytes // PAGE_BYTES),
            threads=count,
            replicas=settings.replicas,
            policy=settings.policy,
        ),
        files=FileKinds(
            tuple(settings.trusted), tuple(settings.allowed), tuple(settings.encrypted)
        ),
        overheads_percent=settings.overheads_percent,
    )


def _platform(
    platform: Platform | str | os.PathLike[str], epc: int | str | None, llc: int | str | None
) -> Platform:
    found = platform if isinstance(platform, Platform) else load_platform(platform)
    return found.overridden(epc_bytes=_size(epc), llc_bytes=_size(llc))


def _size(size: int | str | None) -> int | None:
    return parse_size(size) if isinstance(size, str) else size
