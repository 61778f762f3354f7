# SPDX-License-Identifier: Apache-2.0
"""What changed between recordings: before and after a change, two models, two batch sizes.

It is not called ``compare`` since `sgxlens.compare` is the function.
"""

from sgxlens.comparison.compare import compare
from sgxlens.comparison.model import Comparison

__all__ = ["Comparison", "compare"]
