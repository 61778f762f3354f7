# SPDX-License-Identifier: Apache-2.0
"""What the names of phases say: ``inference``, ``Inference 2``, ``warm-up 1``."""

from __future__ import annotations

import re

# The native core has the same rule, for bytes.
_INFERENCE = re.compile(r"inference(?![a-z])", re.IGNORECASE | re.ASCII)
_WARM_UP = re.compile(r"warm-?up(?![a-z])", re.IGNORECASE | re.ASCII)


def is_inference(name: str) -> bool:
    """Whether a phase is an inference; all inferences are repetitions of one another."""
    return _INFERENCE.match(name) is not None


def is_warm_up(name: str) -> bool:
    """Whether a phase runs the model before the inferences that count."""
    return _WARM_UP.match(name) is not None
