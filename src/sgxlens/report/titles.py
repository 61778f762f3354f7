# SPDX-License-Identifier: Apache-2.0
"""What causes, sources and policies are called in reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sgxlens.enclave.charges import Cause
from sgxlens.enclave.epc import EpcPolicy

CAUSE_TITLES: Final[dict[Cause, str]] = {
    "compute": "slower instructions",
    "transitions": "leaving and entering",
    "encryption": "memory encryption",
    "paging": "EPC paging",
    "runtime": "the runtime's own work",
}
#: By `sgxlens.attribution.facts.SOURCE_KINDS`.
SOURCE_TITLES: Final[dict[str, str]] = {
    "same_operator": "the same operator",
    "earlier_operator": "an earlier operator of this phase",
    "outside_operators": "this phase, in no operator",
    "previous_inference": "a previous inference",
    "warm_up": "a warm-up",
    "load": "the load of the model",
    "other_phase": "another phase",
    "cold": "nowhere: cold",
}
POLICY_TITLES: Final[dict[EpcPolicy, str]] = {
    "linux": "Linux's driver",
    "out_of_tree": "Intel's out-of-tree driver",
    "lru": "least recently used leaves",
    "fifo": "longest there leaves",
    "second_chance": "second chance",
    "mru": "most recently used leaves",
    "pinned": "most used pages pinned",
    "optimum": "optimum (Belady)",
}


@dataclass(frozen=True)
class Titles:
    """All of them."""

    causes: dict[Cause, str]
    sources: dict[str, str]
    policies: dict[EpcPolicy, str]


TITLES: Final = Titles(CAUSE_TITLES, SOURCE_TITLES, POLICY_TITLES)
