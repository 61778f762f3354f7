# SPDX-License-Identifier: Apache-2.0
"""What the file of a runtime says about memory: the sections ``memory`` and ``work``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sgxlens.enclave.quantities import Constant

#: When pages are added to an enclave; see `Memory.commits`.
Commits = Literal["at_build", "at_map", "at_touch"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SettingNames(_Part):
    """What the user of the runtime calls the sizes to be set; empty: there is no such setting.

    Attributes:
        enclave: size of the whole enclave, a power of two.
        program: size of what the program maps.
        allocated: size of what it maps without a file and may access, and gets with ``brk``.
        threads: number of threads.
        stack: size of stacks.
        heap: size up to which ``brk`` can grow.
    """

    enclave: str = ""
    program: str = ""
    allocated: str = ""
    threads: str = ""
    stack: str = ""
    heap: str = ""


class Memory(_Part):
    """Memory that the runtime reserves, and when.

    Attributes:
        commits: ``at_build``: all pages of the enclave are there before it starts, and stay;
            ``at_map``: pages are added as the program maps memory, with ``MAP_NORESERVE`` as it
            touches them; ``at_touch``: all as it touches them.
        holds_inaccessible: what the program maps without access takes memory, too.
        mremap: ``moves``: it works; ``copies``: it fails, and the C library gets a new block,
            copies the old one and then frees it.
        settings: names of the settings.
        thread_stacks: ``mapped``: the C library maps a stack for each thread that it starts, as
            large as the runtime says (RLIMIT_STACK); ``set``: each thread that is set has one.
        threads_min: the least number of threads that may be set.
        slot_bytes: enclave memory of each thread that is set, whether it runs or not.
        thread_bytes: further memory of each thread that runs.
        own_bytes: images, heap and tables of the runtime itself.
        stack_bytes: a stack, if the program needs no larger one; where ``thread_stacks`` is
            ``set``, `slot_bytes` holds it.
    """

    commits: Commits
    holds_inaccessible: bool = Field(default=True, strict=True)
    mremap: Literal["moves", "copies"]
    thread_stacks: Literal["mapped", "set"] = "mapped"
    settings: SettingNames
    threads_min: int = Field(default=1, strict=True, ge=1, le=1 << 20)
    slot_bytes: Constant
    thread_bytes: Constant
    own_bytes: Constant
    stack_bytes: Constant


class Work(_Part):
    """What the runtime does in place of the kernel, and what a byte or page of it costs.

    Attributes:
        clears: what clears memory, in its whole length: ``map`` (anonymous mappings, and files
            before they are read), ``unmap``, ``discard`` (``madvise`` with ``MADV_DONTNEED``).
        preheats: the runtime reads a word of each page before the program starts.
        clear_byte_ns: a byte cleared.
        copy_byte_ns: a byte copied across the border of the enclave.
        hash_byte_ns: a byte hashed once.
        encrypt_byte_ns: a byte encrypted or decrypted.
        commit_page_ns: a page that is added to the running enclave (EAUG, EACCEPT), beyond the
            asynchronous exit.
    """

    clears: tuple[Literal["map", "unmap", "discard"], ...] = ()
    preheats: bool = Field(default=False, strict=True)
    clear_byte_ns: Constant
    copy_byte_ns: Constant
    hash_byte_ns: Constant
    encrypt_byte_ns: Constant
    commit_page_ns: Constant
