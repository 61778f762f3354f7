# SPDX-License-Identifier: Apache-2.0
"""What to change so that a program gets faster inside an enclave, by how much, and how.

It is not called ``advise`` since `sgxlens.advise` is the function.
"""

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Gain, Step
from sgxlens.advice.advise import Advisory, advise
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import Situation

__all__ = [
    "Advice",
    "Advisory",
    "Cost",
    "Declined",
    "Evidence",
    "Gain",
    "Modification",
    "Rule",
    "Situation",
    "Step",
    "advise",
]
