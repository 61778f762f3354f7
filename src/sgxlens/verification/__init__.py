# SPDX-License-Identifier: Apache-2.0
"""Applies advice to copies of a program, records them, and holds gains against predictions."""

from sgxlens.verification.transformations import transformation, transformation_names
from sgxlens.verification.verifying import Variant, make_variants, verify

__all__ = ["Variant", "make_variants", "transformation", "transformation_names", "verify"]
