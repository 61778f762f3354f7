# SPDX-License-Identifier: Apache-2.0
"""Options that Gramine itself calls insecure, or that switch its protection off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.reading.document import key_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject

_MEANING = {
    "insecure__use_cmdline_argv": (
        "The host chooses the arguments of the program.",
        "Give them in loader.argv.",
    ),
    "insecure__use_host_env": (
        "The host chooses all variables of the program, LD_PRELOAD among them.",
        "Give each variable in loader.env.",
    ),
    "insecure__disable_aslr": (
        "Faults of the program are easier to use.",
        "Turn it off but to debug.",
    ),
    "insecure__allow_eventfd": (
        "eventfds are the host's, which may wake the program at any time and choose their values.",
        "Keep it off unless the program needs eventfds, and does not trust their values.",
    ),
    "insecure__rpc_thread_num": (
        "OCALLs use shared memory in ways open to CVE-2022-21233 and CVE-2022-21166.",
        "Keep it off unless the time that it saves is worth that.",
    ),
    "insecure__allow_memfaults_without_exinfo": (
        "The host may report faults that did not happen.",
        "Keep it off where the processor reports faults itself.",
    ),
    "insecure__keys": (
        "Who can read the manifest has the keys of the encrypted files.",
        "Have keys sent after attestation, or use _sgx_mrenclave or _sgx_mrsigner.",
    ),
}
_POLICY = "sgx.file_check_policy"


def find(subject: Subject) -> Iterator[Finding]:
    """Each of them that is on."""
    seen = set()
    for place, value in subject.document.leaves():
        name = next((str(part) for part in place if str(part).startswith("insecure__")), None)
        if name is None or value in (False, 0, {}, []) or name in seen:
            continue
        seen.add(name)
        consequence, remedy = _MEANING.get(name, ("Gramine marks it insecure.", "Keep it off."))
        switch = place[: place.index(name) + 1]
        yield subject.found("warning", switch, f"{key_name(switch)} is on", consequence, remedy)
    if subject.document.get(_POLICY) == "allow_all_but_log":
        yield subject.found(
            "warning",
            _POLICY,
            'files that are not listed are allowed: "allow_all_but_log"',
            "The host can give the program any file in place of those it looks for, code included.",
            "Use it to find out which files are needed, then list them.",
            f'{_POLICY} = "strict"',
        )


CHECK = Check("insecure_option", "options that are insecure", ("gramine",), find)
