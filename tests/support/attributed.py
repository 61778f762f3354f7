# SPDX-License-Identifier: Apache-2.0
"""Tables of a recording with attribution: a small network of two operators, run three times."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from simulated import Extent, Program, Span

PHASES = ("start", "load", "warm-up 1", "inference 1", "inference 2")
CONV, GEMM = "/features/Conv", "/classifier/Gemm"
#: Lines of the weights of the two operators, of what the first hands to the second, of the rest.
CONV_WEIGHTS, GEMM_WEIGHTS = range(64, 64 + 70), range(192, 192 + 130)
ACTIVATIONS, RUNTIME = range(384, 384 + 20), range(448, 448 + 5)


def program(bin_width: int = 1) -> Program:
    """The network; its last phase has two threads in the second operator."""
    weights = (*CONV_WEIGHTS, *GEMM_WEIGHTS)
    spans = [
        Span(0, None, tuple((1, line, "load") for line in RUNTIME)),
        Span(1, None, tuple((1, line, "store") for line in weights)),
    ]
    operators: list[str] = []
    for phase in range(2, len(PHASES)):
        second_thread = 2 if phase == len(PHASES) - 1 else 1
        number = len(operators)
        operators += [CONV, GEMM]
        spans += [
            Span(
                phase,
                number,
                (
                    *((1, line, "load") for line in CONV_WEIGHTS),
                    *((1, line, "store") for line in ACTIVATIONS),
                    *((1, line, "load") for line in CONV_WEIGHTS),
                ),
            ),
            Span(phase, None, tuple((1, line, "load") for line in RUNTIME)),
            Span(
                phase,
                number + 1,
                (
                    *((1, line, "load") for line in GEMM_WEIGHTS),
                    *((second_thread, line, "load") for line in ACTIVATIONS),
                ),
            ),
        ]
    fields = {
        number: {
            "type": "Conv" if number % 2 == 0 else "Gemm",
            "output_shapes": '[{"float":[1,64,56,56]}]' if number % 2 == 0 else "",
            "parameter_bytes": 70 * 64 if number % 2 == 0 else 130 * 64,
            "source": "onnxruntime_profile",
        }
        for number in range(len(operators))
    }
    return Program(
        PHASES,
        spans,
        operators,
        (("heap", "unclassified"), ("constant", "weights"), ("produced", "activations")),
        [
            Extent(0, 0, 512),
            Extent(1, CONV_WEIGHTS[0], len(CONV_WEIGHTS)),
            Extent(1, GEMM_WEIGHTS[0], len(GEMM_WEIGHTS)),
            Extent(2, ACTIVATIONS[0], len(ACTIVATIONS)),
        ],
        bin_width=bin_width,
        operator_fields=fields,
    )


def tables(bin_width: int = 1) -> dict[str, list[dict[str, Any]]]:
    """The tables of its recording, as rows that may be changed."""
    return copy.deepcopy(_tables(bin_width))


@cache  # counting one by one takes a while
def _tables(bin_width: int) -> dict[str, list[dict[str, Any]]]:
    return program(bin_width).tables()
