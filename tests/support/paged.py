# SPDX-License-Identifier: Apache-2.0
"""Tables of a recording whose inferences stream more weights than a small EPC holds."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import predictable
from simulated import Extent, Program, Span

WEIGHT_PAGES = 300
FIRST_WEIGHT_PAGE, COPIES_PAGE = 10, 2_000
#: Sizes of EPC that hold some of the weights beside the version arrays, and all of them.
SMALL_EPC, LARGE_EPC = "1400K", "64M"
PHASES = ("start", "load", "warm-up 1", "inference 1", "inference 2")
_WEIGHTS = tuple(
    (1, page * 64, "load") for page in range(FIRST_WEIGHT_PAGE, FIRST_WEIGHT_PAGE + WEIGHT_PAGES)
)
_ACTIVATIONS = tuple((1, line, "store") for line in range(64, 64 + 20))


def program(kind: str = "MatMul", passes: int = 1, copied_page_count: int = 0) -> Program:
    """One operator of type `kind` that reads all weights, a line of each page, in each run.

    It goes through them `passes` times. The load writes so many pages from `COPIES_PAGE` on, too,
    which nothing uses after it.
    """
    copies = range(COPIES_PAGE * 64, (COPIES_PAGE + copied_page_count) * 64, 64)
    spans = [
        Span(0, None, ((1, 0, "load"),)),
        Span(1, None, tuple((1, n, "store") for n in (*copies, *(x for _, x, _ in _WEIGHTS)))),
    ]
    operators: list[str] = []
    for phase in range(2, len(PHASES)):
        spans.append(Span(phase, len(operators), (*_WEIGHTS * passes, *_ACTIVATIONS)))
        operators.append("/dense")
    fields = {
        number: {"type": kind, "output_shapes": "", "source": "onnxruntime_profile"}
        for number in range(len(operators))
    }
    return Program(
        PHASES,
        spans,
        operators,
        (("heap", "unclassified"), ("constant", "weights"), ("produced", "activations")),
        [
            Extent(0, 0, 640),
            Extent(0, COPIES_PAGE * 64, 64 * max(copied_page_count, 1)),
            Extent(1, 640, 64 * WEIGHT_PAGES),
            Extent(2, _ACTIVATIONS[0][1], len(_ACTIVATIONS)),
        ],
        operator_fields=fields,
    )


def tables(kind: str = "MatMul", passes: int = 1, copied_page_count: int = 0) -> dict[str, Any]:
    """The tables of its recording, with native times, as rows that may be changed."""
    return copy.deepcopy(_tables(kind, passes, copied_page_count))


@cache
def _tables(kind: str, passes: int, copied_page_count: int) -> dict[str, Any]:
    seconds = {"start": 0.02, "load": 0.1}
    return {
        **program(kind, passes, copied_page_count).tables(),
        "native_times": [
            predictable.native_row(run, name, seconds.get(name, 0.002))
            for run in range(3)
            for name in PHASES
        ],
        "mappings": [predictable.MAPPING],
    }


def metadata(**fields: Any) -> dict[str, Any]:
    """Fields of ``recording.json`` that go with `tables`."""
    found = predictable.metadata()
    found["settings"]["visit_page_count"] = program().filter_page_count
    return {**found, **fields}
