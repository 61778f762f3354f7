# SPDX-License-Identifier: Apache-2.0
"""What causes, sources, policies and the parts of advice are called in reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sgxlens.advice.advice import Change
from sgxlens.comparison.direction import Direction
from sgxlens.enclave.charges import CAUSE_TITLES, Cause
from sgxlens.enclave.epc import EpcPolicy

#: By `sgxlens.attribution.facts.SOURCE_KINDS`.
SOURCE_TITLES: Final[dict[str, str]] = {
    "same_operator": "the same operator",
    "earlier_operator": "an earlier operator",
    "outside_operators": "this phase, no operator",
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
#: By what a gain is of, see `sgxlens.advice.advice.Gain`.
GAIN_TITLES: Final = {
    "inference": "an inference",
    "sample": "a sample",
    "startup": "the start",
    "memory": "the enclave's memory",
}
CHANGE_TITLES: Final[dict[Change, str]] = {
    "program": "the program or its configuration",
    "model": "the model: its outputs deviate",
    "machine": "the machine or its kernel",
}
#: What is certain of a difference, see `sgxlens.comparison.direction.Direction`.
DIRECTION_TITLES: Final[dict[Direction, str]] = {
    "more": "more",
    "less": "less",
    "same": "same",
    "uncertain": "unsure",
}
#: By `sgxlens.comparison.model.SizeChange.name`.
SIZE_TITLES: Final = {
    "line_footprint": "lines touched",
    "page_footprint": "pages touched",
    "line_working_set": "largest working set of lines",
    "page_working_set": "largest working set of pages",
    "resident": "natively resident, at its most",
    "committed": "mapped, all of which the enclave holds",
    "total": "all that the enclave must hold",
    "enclave": "size of the enclave",
    "epc_fitting": "EPC without page loads",
    "epc_cliff": "the cliff: EPC below which a tenth of the pages is loaded",
}
#: Sizes that must not be less, and are rounded up.
NEEDED_SIZES: Final = ("epc_fitting", "epc_cliff")
NO_ADVICE: Final = (
    "Nothing is worth changing: no rule found a change that likely saves 2 % or more."
)
#: As `sgxlens.advice.advise` ranks it.
ADVICE_ORDER: Final = (
    "First what makes an inference faster, then the start, then what saves memory; of each, first"
    " what changes only the program or its configuration, then the model, then the machine."
)


@dataclass(frozen=True)
class Titles:
    """All of them; ``no_advice`` is said where there is none, ``advice_order`` where there is."""

    causes: dict[Cause, str]
    sources: dict[str, str]
    policies: dict[EpcPolicy, str]
    gains: dict[str, str]
    changes: dict[Change, str]
    no_advice: str
    advice_order: str


TITLES: Final = Titles(
    CAUSE_TITLES,
    SOURCE_TITLES,
    POLICY_TITLES,
    GAIN_TITLES,
    CHANGE_TITLES,
    NO_ADVICE,
    ADVICE_ORDER,
)


@dataclass(frozen=True)
class ComparisonTitles:
    """Those of a comparison."""

    causes: dict[Cause, str]
    sources: dict[str, str]
    sizes: dict[str, str]
    needed_sizes: tuple[str, ...]
    directions: dict[Direction, str]


COMPARISON_TITLES: Final = ComparisonTitles(
    CAUSE_TITLES, SOURCE_TITLES, SIZE_TITLES, NEEDED_SIZES, DIRECTION_TITLES
)
