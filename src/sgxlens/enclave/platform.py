# SPDX-License-Identifier: Apache-2.0
"""Platforms: a processor with its memory encryption, the driver of its EPC, and what each costs.

A platform is a TOML file; ``docs/platforms.md`` says how to write and calibrate one.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from sgxlens.enclave.data_files import data_names, load_data, whole_number_keys
from sgxlens.enclave.quantities import Constant
from sgxlens.errors import UsageError
from sgxlens.recording.format import LINE_BYTES, PAGE_BYTES
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

_FOLDER = "platforms"
#: The largest EPC of each generation. SGX1: PRMRR of 512 MiB at most; the integrity tree of its
#: encryption engine covers no more. Scalable SGX: 512 GiB a socket, 8 sockets.
_EPC_BYTES_MAX = {"sgx1": 512 << 20, "sgx2": 4 << 40}
_LLC_BYTES_MAX = 4 << 30


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Epc(_Part):
    """The enclave page cache.

    Attributes:
        usable_bytes: what enclaves can use of it, without the metadata of the hardware.
        driver: who evicts from it: the kernel's own driver (``linux``, from 5.11 on) or Intel's
            older ``out_of_tree`` one.
        is_settable: whether its size is chosen: in the BIOS, or with the size of a virtual machine.
    """

    usable_bytes: Constant
    driver: Literal["linux", "out_of_tree"]
    is_settable: bool = Field(strict=True)


class Cache(_Part):
    """The last-level cache.

    Attributes:
        llc_bytes: bytes that one process finds in it; where it is not inclusive, a range up to
            itself and the level above together.
        llc_ways: lines of one set.
    """

    llc_bytes: Constant
    llc_ways: int = Field(strict=True, ge=1, le=4096)

    @model_validator(mode="after")
    def _is_possible(self) -> Cache:
        _check_llc(self.llc_bytes.low, self.llc_ways)
        _check_llc(self.llc_bytes.high, self.llc_ways)
        return self


class ByThreads(RootModel[dict[int, Constant]]):
    """A constant that depends on how many threads work at once, as a table of it."""

    model_config = ConfigDict(frozen=True)

    root: Annotated[dict[int, Constant], BeforeValidator(whole_number_keys), Field(min_length=1)]

    @property
    def thread_counts(self) -> tuple[int, ...]:
        """The numbers of threads that the table has, ascending."""
        return tuple(sorted(self.root))

    def at(self, threads: int) -> Constant:
        """The constant for a number of threads, linear between two that the table has.

        Raises:
            UsageError: the table does not reach so far.
        """
        if threads in self.root:
            return self.root[threads]
        counts = self.thread_counts
        name = self.root[counts[0]].name.rpartition(".")[0]
        if not counts[0] <= threads <= counts[-1]:
            raise UsageError(
                f"{name} is known from {counts[0]} to {counts[-1]} threads, not for {threads}:"
                " give fewer threads (of all replicas together), or a platform file with more"
            )
        above = bisect_left(counts, threads)
        a, b = counts[above - 1], counts[above]
        weight = (threads - a) / (b - a)
        first, second = self.root[a], self.root[b]

        def between(low: float, high: float) -> float:
            return low + weight * (high - low)

        sources = (first.source, second.source)
        return Constant(
            low=between(first.low, second.low),
            likely=between(first.likely, second.likely),
            high=between(first.high, second.high),
            source="; ".join(dict.fromkeys(sources)),
            rule=f"linear between {a} and {b} threads",
            calibrated_on=tuple(dict.fromkeys((*first.calibrated_on, *second.calibrated_on))),
            name=f"{name}.{threads}",
        )


class Encryption(_Part):
    """What a line costs that enters the last-level cache from the EPC, or leaves it.

    Attributes:
        sequential_ns: by threads: a line beside others that are used with it, beyond what it costs
            natively. Threads share the memory: it is the time between two lines of all of them.
        random_ns: a line alone, beyond what it costs natively.
    """

    sequential_ns: ByThreads
    random_ns: Constant


class Compute(_Part):
    """What the program's own instructions cost more inside, and what they would cost.

    Attributes:
        slowdown: nanoseconds added for each native nanosecond.
        aes_gcm_byte_ns: a byte that one thread decrypts and authenticates with AES-GCM, by the
            processor's instructions for it and from its cache; None: not known.
    """

    slowdown: Constant
    aes_gcm_byte_ns: Constant | None = None


class Transitions(_Part):
    """What leaving and entering an enclave costs.

    Attributes:
        ecall_ns: an ECALL that does work: EENTER, EEXIT, and fetching again what they flush: TLBs
            and first-level caches.
        ocall_ns: an OCALL: EEXIT, an empty function outside, EENTER.
        switchless_ocall_ns: the same handed to another thread, without leaving.
        aex_ns: an asynchronous exit (interrupt, fault) and ERESUME, the kernel included.
        exception_ns: delivery of a trap to the runtime inside: AEX, signal, EENTER, EEXIT,
            return from the signal, ERESUME.
        timer_hz: interrupts a second that a busy thread sees.
        parallel_region_ns: by threads: start and join of one parallel region of an operator.
    """

    ecall_ns: Constant
    ocall_ns: Constant
    switchless_ocall_ns: Constant
    aex_ns: Constant
    exception_ns: Constant
    timer_hz: Constant
    parallel_region_ns: ByThreads


class Paging(_Part):
    """What a page costs that is not in the EPC.

    Attributes:
        page_swap_ns: by threads: one load (fault, AEX and ERESUME, ELDU, kernel) and the matching
            eviction (EWB), without the encryption of its lines when they are used. Threads wait for
            each other: it is the time between two swaps of all threads together.
    """

    page_swap_ns: ByThreads

    def page_swap(self, threads: int, replicas: int = 1) -> Constant:
        """The constant where `replicas` enclaves page with so many threads each.

        Raises:
            UsageError: it is not known for so many threads together.
        """
        try:
            return self.page_swap_ns.at(threads * replicas)
        except UsageError as error:
            if replicas == 1:
                raise
            many = f"{replicas} replicas with {threads} thread{'s' if threads > 1 else ''} each"
            raise UsageError(f"{many}: {error.message}") from error


class Startup(_Part):
    """What building an enclave costs.

    Attributes:
        add_page_ns: a page added and measured (EADD, EEXTEND).
        add_page_evicting_ns: the same when another has to be evicted for it.
    """

    add_page_ns: Constant
    add_page_evicting_ns: Constant


class Traps(_Part):
    """Instructions that an enclave may not execute.

    Attributes:
        rdtsc: whether RDTSC and RDTSCP are among them: ``traps`` on SGX1, ``native`` on SGX2.
    """

    rdtsc: Literal["traps", "native"]


class Platform(_Part):
    """A platform.

    Attributes:
        name: its short name.
        title: its name for people.
        generation: ``sgx1``: encryption with an integrity tree, no dynamic memory; ``sgx2``:
            scalable SGX, TME-MK without a tree, dynamic memory.
        description: which machine it is, and what its constants rest on.
        cpu_features: extensions of its instruction set that an enclave may be given; none: not
            known.
        notes: what one must keep in mind with predictions for it.
        epc, cache, encryption, compute, transitions, paging, startup, traps: see there.
    """

    name: str = Field(min_length=1, max_length=60)
    title: str = Field(min_length=1, max_length=200)
    generation: Literal["sgx1", "sgx2"]
    description: str
    cpu_features: tuple[Literal["avx", "avx512", "amx"], ...] = ()
    notes: tuple[str, ...] = ()
    epc: Epc
    cache: Cache
    encryption: Encryption
    compute: Compute
    transitions: Transitions
    paging: Paging
    startup: Startup
    traps: Traps

    @model_validator(mode="after")
    def _is_possible(self) -> Platform:
        for size in (self.epc.usable_bytes.low, self.epc.usable_bytes.high):
            _check_epc(size, self.generation)
        return self

    def overridden(self, epc_bytes: int | None = None, llc_bytes: int | None = None) -> Platform:
        """This platform with another EPC or last-level cache; None: leave it.

        An EPC that cannot be set on the real machine may be overridden, too; a note says so.

        Raises:
            UsageError: no processor of this generation has such an EPC or cache.
        """
        changes: dict[str, object] = {}
        notes = list(self.notes)
        if epc_bytes is not None:
            _check_override("EPC", lambda: _check_epc(epc_bytes, self.generation))
            usable = _given(epc_bytes, self.epc.usable_bytes.name)
            changes["epc"] = self.epc.model_copy(update={"usable_bytes": usable})
            if not self.epc.is_settable and not (
                self.epc.usable_bytes.low <= epc_bytes <= self.epc.usable_bytes.high
            ):
                notes.append(
                    f"an EPC of {format_bytes(epc_bytes)} was asked for: {self.title} has"
                    f" {format_bytes(self.epc.usable_bytes.likely)}, which cannot be set"
                )
        if llc_bytes is not None:
            _check_override("LLC", lambda: _check_llc(llc_bytes, self.cache.llc_ways))
            llc = _given(llc_bytes, self.cache.llc_bytes.name)
            changes["cache"] = self.cache.model_copy(update={"llc_bytes": llc})
            if not self.cache.llc_bytes.low <= llc_bytes <= self.cache.llc_bytes.high:
                notes.append(
                    f"a last-level cache of {format_bytes(llc_bytes)} was asked for: {self.title}"
                    f" has {format_bytes(self.cache.llc_bytes.likely)}"
                )
        return self.model_copy(update={**changes, "notes": tuple(notes)})


def platform_names() -> tuple[str, ...]:
    """Names of the platforms that come with sgxlens, sorted."""
    return data_names(_FOLDER)


def load_platform(name_or_path: str | os.PathLike[str]) -> Platform:
    """A platform that comes with sgxlens, by its name, or one of the user, by its file.

    Raises:
        UsageError: there is no such platform or file, or the file is wrong; the message names the
            field.
    """
    return load_data(Platform, _FOLDER, name_or_path)


def _given(size_bytes: int, name: str) -> Constant:
    return Constant(
        low=size_bytes, likely=size_bytes, high=size_bytes, source="given by the user", name=name
    )


def _check_override(what: str, check: Callable[[], None]) -> None:
    try:
        check()
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from error


def _check_epc(size_bytes: float, generation: str) -> None:
    largest = _EPC_BYTES_MAX[generation]
    if size_bytes < PAGE_BYTES:
        raise ValueError("an EPC holds at least one page of 4 KiB")
    if size_bytes > largest:
        raise ValueError(
            f"{format_bytes(size_bytes)} are more than any {generation.upper()} processor has"
            f" ({format_bytes(largest)})"
        )


def _check_llc(size_bytes: float, ways: int) -> None:
    if size_bytes < ways * LINE_BYTES:
        raise ValueError(
            f"{format_bytes(size_bytes)} are too little: a cache with {ways} ways has at least one"
            f" set of {ways} lines of {LINE_BYTES} bytes"
        )
    if size_bytes > _LLC_BYTES_MAX:
        raise ValueError(f"no processor has a last-level cache of {format_bytes(size_bytes)}")
